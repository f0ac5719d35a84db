"""``assistant wake record``: ten tries at the microphone, and the threshold that would have heard them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from assistant import wiring
from assistant.adapters.openwakeword_models import wake_phrase, wake_word_name
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.wake_history import read_history, tries
from assistant.cli.common import complain, run_async, say
from assistant.config import Config
from assistant.config.sections import AudioInput
from assistant.core.wake_attempts import NEAR_MISS, TryCounter, propose_threshold, what_if
from assistant.errors import EXIT_FAILURE, EXIT_OK, DeviceError
from assistant.types import AudioFrame


def main(config: Config, device: str | None, tries: int) -> int:
    """Hear tries at the first wake word of the config. The microphone may be a recording (``wav:FILE``)."""
    chosen = config.audio.input if device is None else config.audio.input.model_copy(update={"device": device})
    peaks = run_async(_record(config, chosen, tries))
    return _report(config, peaks)


async def _record(config: Config, chosen: AudioInput, tries: int) -> list[float]:
    word = config.wake.words[0]
    name = wake_word_name(word.model)
    only = config.model_copy(update={"wake": config.wake.model_copy(update={"words": (word,), "idle_gate": False})})
    detector = await asyncio.to_thread(wiring.wake_words, only)
    vad, counter = WebRtcVad(config.vad.aggressiveness), TryCounter()
    peaks: list[float] = []
    say(f'Say "{wake_phrase(word.model)}", then pause for a second; {tries} times, as you would in daily life:')
    say("near and far, loud and soft, with the tap running. Ctrl-C ends it early, without a proposal.")
    async for frame in _frames(chosen):
        scores = detector.process(frame.pcm)
        peak = counter.feed(frame.start, frame.end, vad.is_speech(frame.pcm), scores[name] if scores else None)
        if peak is not None:
            _note(peaks, peak, word.threshold)
        if len(peaks) == tries:
            return peaks
    if (peak := counter.flush()) is not None:
        _note(peaks, peak, word.threshold)
    return peaks


def _note(peaks: list[float], peak: float, threshold: float) -> None:
    peaks.append(peak)
    verdict = "heard" if peak >= threshold else "near miss" if peak >= NEAR_MISS else "not understood"
    say(f"{len(peaks):3}  {peak:5.2f}  {verdict}")


async def _frames(chosen: AudioInput) -> AsyncIterator[AudioFrame]:
    """The frames of a microphone until it ends. Raises DeviceError. A recording is heard as fast as possible."""
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[AudioFrame | DeviceError | None] = asyncio.Queue()

    def put(item: AudioFrame | DeviceError | None) -> None:
        loop.call_soon_threadsafe(frames.put_nowait, item)

    microphone = wiring.microphone(chosen, loop, paced=False)
    await asyncio.to_thread(microphone.start, put, put)
    try:
        while isinstance(item := await frames.get(), AudioFrame):
            yield item
        if item is not None:
            raise item
    finally:
        microphone.stop()


def _report(config: Config, peaks: list[float]) -> int:
    proposal = propose_threshold(peaks)
    if proposal is None:
        complain(
            "assistant wake record: no try scored at all: check the microphone (assistant devices), or say the wake"
            f' word as "{wake_phrase(config.wake.words[0].model)}"'
        )
        return EXIT_FAILURE
    word = config.wake.words[0]
    say(f"proposed threshold: {proposal.threshold:g} (now {word.threshold:g}); it hears {proposal.heard} of the tries")
    name = wake_word_name(word.model)
    entries = [entry for entry in read_history(config.state_folder) if entry.word == name]
    past = tries(entries, wiring.verifier_thresholds(config))
    if past:
        change = what_if(past, proposal.threshold)
        say(f"in the wake history it would have woken {change.added} times more and {change.lost} times less")
    say(f"to use it: wake: {{words: [{{model: {word.model}, threshold: {proposal.threshold:g}}}]}}")
    return EXIT_OK

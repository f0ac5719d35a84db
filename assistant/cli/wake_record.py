"""``assistant wake record``: ten tries at the microphone, and the threshold that would have heard them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Final

from assistant import wiring
from assistant.adapters.openwakeword_models import wake_phrase, wake_word_name
from assistant.adapters.webrtc_vad import WebRtcVad
from assistant.audio.wake_history import read_history
from assistant.audio.wake_history import tries as past_tries
from assistant.audio.wav import wav_header
from assistant.cli.common import complain, run_async, say
from assistant.config import Config, WakeWord
from assistant.config.sections import AudioInput
from assistant.core.wake_attempts import NEAR_MISS, TryCounter, propose_threshold, what_if
from assistant.errors import EXIT_FAILURE, EXIT_OK, DeviceError, HearthError
from assistant.types import FRAME_MS, MIC_RATE, AudioFrame

_LONGEST_MS: Final = 8000
"""Of a recording that is kept: a try, and the pause before it."""


def main(config: Config, device: str | None, tries: int, keep: Path | None) -> int:
    """Hear tries at the first wake word of the config. The microphone may be a recording (``wav:FILE``).

    keep: a folder for a recording of each try.
    """
    chosen = config.audio.input if device is None else config.audio.input.model_copy(update={"device": device})
    peaks = run_async(_record(config, chosen, tries, keep))
    return _report(config, peaks)


async def _record(config: Config, chosen: AudioInput, tries: int, keep: Path | None) -> list[float]:
    word = config.wake.words[0]
    name = wake_word_name(word.model)
    only = config.model_copy(update={"wake": config.wake.model_copy(update={"words": (word,), "idle_gate": False})})
    detector = await asyncio.to_thread(wiring.wake_words, only)
    vad, counter = WebRtcVad(config.vad.aggressiveness), TryCounter()
    made = _Tries(word, keep)
    say(f'Say "{wake_phrase(word.model)}", then pause for a second; {tries} times, as you would in daily life:')
    say("near and far, loud and soft, with the tap running. Ctrl-C ends it early, without a proposal.")
    async for frame in _frames(chosen):
        scores = detector.process(frame.pcm)
        peak = counter.feed(frame.start, frame.end, vad.is_speech(frame.pcm), scores[name] if scores else None)
        made.hear(frame.pcm)
        if peak is not None:
            made.end(peak)
        if len(made.peaks) == tries:
            return made.peaks
    if (peak := counter.flush()) is not None:
        made.end(peak)
    return made.peaks


class _Tries:
    """Tells of each try, and keeps a recording of it where a folder is given: ``FOLDER/WORD-001.wav`` and so on."""

    def __init__(self, word: WakeWord, folder: Path | None) -> None:
        self.peaks: list[float] = []
        self._word = word
        self._folder = folder
        self._heard: deque[bytes] = deque(maxlen=_LONGEST_MS // FRAME_MS)  # since the try before

    def hear(self, pcm: bytes) -> None:
        self._heard.append(pcm)

    def end(self, peak: float) -> None:
        """A try is over. Raises HearthError if its recording cannot be kept."""
        self.peaks.append(peak)
        verdict = "heard" if peak >= self._word.threshold else "near miss" if peak >= NEAR_MISS else "not understood"
        say(f"{len(self.peaks):3}  {peak:5.2f}  {verdict}")
        pcm = b"".join(self._heard)
        self._heard.clear()
        if self._folder is not None:
            self._keep(self._folder, wav_header(MIC_RATE, len(pcm)) + pcm)

    def _keep(self, folder: Path, wav: bytes) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number in count(1):  # never over an older one
                with contextlib.suppress(FileExistsError):
                    with (folder / f"{wake_word_name(self._word.model)}-{number:03}.wav").open("xb") as file:
                        file.write(wav)
                    return
        except OSError as error:
            raise HearthError(f"{folder}: recordings cannot be kept here ({error.strerror})") from error


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
    past = past_tries(entries, wiring.verifier_thresholds(config))
    if past:
        change = what_if(past, proposal.threshold)
        say(f"in the wake history it would have woken {change.added} times more and {change.lost} times less")
    say(f"to use it: wake: {{words: [{{model: {word.model}, threshold: {proposal.threshold:g}}}]}}")
    return EXIT_OK

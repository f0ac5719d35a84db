"""The input buffer with real turn detection and a recogniser that only counts what it is given."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.core.completeness import Patience
from assistant.local import audio_input
from assistant.local.audio_input import AudioInput, SpeechStarted, SpeechStopped
from assistant.local.checks import EventError
from assistant.local.grammar import Grammar
from assistant.local.recognizer import Transcript
from assistant.local.turn_detection import DetectionSettings
from tests.speech import concat, noise, say, silence

VAD = DetectionSettings(3, 0.75, 300, Patience(500, 500, 500), True, True)


class Recorder:
    """A recogniser whose transcript is the number of samples it heard."""

    def __init__(self) -> None:
        self.utterances: list[Recording] = []

    async def set_grammar(self, grammar: Grammar) -> None: ...

    def begin(self) -> Recording:
        self.utterances.append(Recording())
        return self.utterances[-1]

    async def close(self) -> None: ...


class Recording:
    def __init__(self) -> None:
        self.pcm = b""
        self.abandoned = False

    def feed(self, pcm: bytes) -> None:
        assert len(pcm) % 2 == 0
        self.pcm += pcm

    def abandon(self) -> None:
        self.abandoned = True

    async def so_far(self) -> str:
        return str(len(self.pcm) // 2)

    def finish(self) -> Awaitable[Transcript]:
        async def result() -> Transcript:
            return Transcript(str(len(self.pcm) // 2), rejected=False)

        return result()


def samples_heard(transcript: Awaitable[Transcript]) -> int:
    async def wait() -> int:
        return int((await transcript).text)

    return asyncio.run(wait())


def tone(seconds: float) -> bytes:
    time = np.arange(round(24_000 * seconds)) / 24_000
    return (np.sin(2 * np.pi * 300 * time) * 8000).astype("<i2").tobytes()


@given(st.lists(st.integers(1, 9_999), min_size=1, max_size=12))
def test_the_recogniser_hears_all_of_a_manual_turn_however_it_is_cut(cuts: list[int]) -> None:
    pcm = tone(1.0)
    edges = sorted({min(cut * 7, len(pcm)) for cut in cuts} | {0, len(pcm)})
    recorder = Recorder()
    audio = AudioInput(recorder)
    for start, end in itertools.pairwise(edges):
        assert audio.append(pcm[start:end]) == []
    segment = audio.commit()
    assert segment.pcm == pcm
    assert abs(samples_heard(segment.transcript) - 16_000) <= 1
    assert audio.buffered_ms == 0


def test_the_recogniser_hears_audio_while_it_arrives() -> None:
    recorder = Recorder()
    audio = AudioInput(recorder)
    audio.append(tone(0.5))
    assert len(recorder.utterances[0].pcm) > 0.4 * 32_000
    audio.clear()
    assert recorder.utterances[0].abandoned


def test_less_than_100_ms_cannot_be_committed() -> None:
    audio = AudioInput(Recorder())
    with pytest.raises(EventError, match=r"only has 0\.00ms of audio") as caught:
        audio.commit()
    assert caught.value.code == "input_audio_buffer_commit_empty"
    audio.append(tone(0.099))
    with pytest.raises(EventError, match=r"only has 99\.00ms"):
        audio.commit()
    audio.append(tone(0.001))
    assert audio.buffered_ms == 100
    assert asyncio.run(_close(audio)) == 4800


async def _close(audio: AudioInput) -> int:
    segment = audio.commit()
    await segment.transcript
    return len(segment.pcm)


def test_a_full_buffer_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_input, "MAX_BUFFER_BYTES", 48_000)
    audio = AudioInput(Recorder())
    audio.append(tone(0.9))
    with pytest.raises(EventError) as caught:
        audio.append(tone(0.2))
    assert caught.value.code == "input_audio_buffer_full"
    assert audio.buffered_ms == 900
    audio.clear()
    audio.append(tone(0.9))


def in_quiet(*speech: str) -> bytes:
    parts = [part for text in speech for part in (silence(1.0, 24_000), say(text, rate=24_000))]
    padded = concat(*parts, silence(1.0, 24_000))
    return (padded + noise(len(padded) / 24_000, -60.0, 1, 24_000)).tobytes()


@pytest.mark.parametrize("chunk", [960, 4801, 10**9])
def test_server_vad_finds_the_turns(chunk: int) -> None:
    pcm = in_quiet("turn on the kitchen light", "what time is it")
    recorder = Recorder()
    audio = AudioInput(recorder)
    audio.configure(VAD)
    events = [event for start in range(0, len(pcm), chunk) for event in audio.append(pcm[start : start + chunk])]
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped] * 2
    for started, stopped in zip(events[::2], events[1::2], strict=True):
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        length_ms = stopped.audio_end_ms - started.audio_start_ms
        assert 1_000 < length_ms < 3_500
        assert abs(len(stopped.segment.pcm) / 48 - length_ms) <= 1
        assert abs(samples_heard(stopped.segment.transcript) / 16 - length_ms) < 60
        begin = started.audio_start_ms * 48
        assert stopped.segment.pcm == pcm[begin : begin + len(stopped.segment.pcm)]
    first = events[0]
    assert isinstance(first, SpeechStarted)
    assert 500 <= first.audio_start_ms <= 1_000  # the second of quiet, less 300 ms of padding


def test_quiet_does_not_fill_the_buffer() -> None:
    audio = AudioInput(Recorder())
    audio.configure(VAD)
    for _ in range(20):
        audio.append(bytes(48_000))
    assert audio.buffered_ms <= 6_000


def test_turn_detection_can_be_changed_in_the_middle() -> None:
    pcm = in_quiet("turn on the kitchen light")
    recorder = Recorder()
    audio = AudioInput(recorder)
    audio.configure(VAD)
    audio.append(pcm[: len(pcm) // 2])
    audio.configure(None)
    audio.append(pcm[len(pcm) // 2 :])
    segment = audio.commit()
    assert pcm.endswith(segment.pcm)
    assert abs(samples_heard(segment.transcript) - len(segment.pcm) / 3) < 60
    audio.configure(VAD)
    events = audio.append(pcm)
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    started, stopped = events
    assert isinstance(started, SpeechStarted)
    assert started.audio_start_ms > len(pcm) / 48  # time goes on
    assert isinstance(stopped, SpeechStopped)
    samples_heard(stopped.segment.transcript)

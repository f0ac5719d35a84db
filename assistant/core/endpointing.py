"""Endpointing: when the user has started to speak, and when the user has finished.

Everything is measured in audio time, as sample indices at 16 kHz. Frames that never came (a gap in the indices) are
time without speech.

A wake word is found up to 350 ms after the phrase has ended, or well before it has died away (measured), and people
either pause after it or go on in the same breath. Cutting at the hit would lose the first words of the one and send the
end of the phrase with the other. So speech is followed as *runs*, also while nothing is expected: a run is speech
without a pause of ``run_gap_ms`` or more. An utterance takes its run as a whole, and of the run before it nothing::

    hey jarvis   |     turn on the light          a pause: the uplink begins ``pre_roll_ms`` before "turn"
                 since
    hey jarvis tu|rn on the light                 one breath: the uplink begins before "hey"
                 since
    alex|a             turn on the light          an early hit: the uplink begins before "alexa"
        since

The last kind looks at first like a whole utterance, and the pause like its end. It is common: most people's "alexa"
goes on for more than 200 ms after the hit. So a run that began before ``since`` and is not longer than a wake phrase
has ``wake_pause_ms`` to be continued.

Where somebody knows what was said (``completeness``), each pause may be judged, and is longer or shorter for it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from assistant.core.completeness import ASK_AFTER_MS, Completeness, Patience
from assistant.types import FRAME_MS, FRAME_SAMPLES, MIC_RATE, ms_to_samples

HISTORY_MS: Final = 5000
"""How far back frames and runs are remembered. No start asks for audio older than this before its decision."""


class Expect(Enum):
    """What endpointing listens for."""

    NOTHING = "nothing"  # speech is followed, but nothing is decided
    UTTERANCE = "utterance"  # after a wake word
    FOLLOW_UP = "follow_up"  # after an answer: nothing from before `since` is taken, for it is the answer's echo
    BARGE_IN = "barge_in"  # while the assistant speaks: quicker to start


@dataclass(frozen=True, slots=True)
class EndpointingSettings:
    """Durations in milliseconds. What is counted in frames (20 ms) is rounded up to whole ones.

    start_ms, start_window_ms: an utterance starts when that much of the last so much was speech.
    barge_in_ms, barge_in_window_ms: the same for a barge-in.
    end_silence_ms: an utterance ends after this long without speech (the hangover).
    complete_silence_ms: takes its place, if shorter, after a whole request.
    unfinished_silence_ms: takes its place, if longer, after the beginning of one.
    max_utterance_ms: longest utterance, counted from ``SpeechStart.sample``.
    pre_roll_ms: audio taken from before the run, since a VAD is late on soft sounds.
    max_pre_roll_ms: an utterance never begins earlier than this before ``since``, however long its run is.
    run_gap_ms: silence that ends a run.
    wake_phrase_ms: an utterance whose run began before ``since``, and that is shorter than this, may be a wake phrase
        alone. A phrase of two words with a command of three or more is longer (1440 ms at least, in synthetic speech).
        With a pause of 0.6 to 1 s after 52 recordings of "alexa", the command was cut off 16 times without this rule
        and 7 times with it; at VAD aggressiveness 3, 27 and 2 times.
    wake_pause_ms: takes the place of ``end_silence_ms`` for such an utterance, if longer. 0 turns this off.
    """

    start_ms: int = 200
    start_window_ms: int = 300
    barge_in_ms: int = 80
    barge_in_window_ms: int = 120
    end_silence_ms: int = 500
    complete_silence_ms: int = 300
    unfinished_silence_ms: int = 1500
    max_utterance_ms: int = 20_000
    pre_roll_ms: int = 300
    max_pre_roll_ms: int = 2000
    run_gap_ms: int = 200
    wake_phrase_ms: int = 1200
    wake_pause_ms: int = 1500

    @property
    def patience(self) -> Patience:
        """How long to wait for more, by what was said."""
        end_ms = self.end_silence_ms
        return Patience(min(self.complete_silence_ms, end_ms), end_ms, max(self.unfinished_silence_ms, end_ms))

    def __post_init__(self) -> None:
        for name in ("start_ms", "barge_in_ms", "end_silence_ms", "complete_silence_ms", "run_gap_ms"):
            if getattr(self, name) < FRAME_MS:
                raise ValueError(f"{name} must be at least one frame ({FRAME_MS} ms)")
        if self.start_window_ms < self.start_ms or self.barge_in_window_ms < self.barge_in_ms:
            raise ValueError("a window must be at least as long as the speech that is asked for within it")
        if not 0 <= self.pre_roll_ms <= self.max_pre_roll_ms:
            raise ValueError("pre_roll_ms must be between 0 and max_pre_roll_ms")
        if self.max_utterance_ms <= self.end_silence_ms:
            raise ValueError("max_utterance_ms must be longer than end_silence_ms")


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The user speaks.

    sample: where the uplink begins, pre-roll included.
    decided_at: one past the last sample of the frame that decided it.
    """

    sample: int
    decided_at: int


@dataclass(frozen=True, slots=True)
class SpeechStop:
    """The user has finished, or has spoken for too long.

    sample: where the uplink ends. It is ``decided_at``, or earlier when frames were lost or a judgement came late.
    last_voiced: one past the last sample of speech that counted.
    decided_at: one past the last sample of the frame that decided it.
    """

    sample: int
    last_voiced: int
    decided_at: int
    reason: Literal["silence", "max_length"]


Decision: TypeAlias = SpeechStart | SpeechStop


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame as it is remembered, with the run that it belongs to (if it is speech)."""

    start: int
    speech: bool
    lone: bool  # speech, but the frame before it was not
    run_start: int
    run_before_end: int  # one past the previous run; no pre-roll reaches behind it

    @property
    def end(self) -> int:
        return self.start + FRAME_SAMPLES


@dataclass(slots=True)
class _Utterance:
    start: SpeechStart
    last_voiced: int
    run_start: int
    holds_wake_word: bool  # as far as one can know: its run began before ``since``
    found: Completeness = Completeness.OPEN  # of what was said until ``last_voiced``


class Endpointer:
    """Turns one VAD flag per frame into starts and stops. One thread at a time.

    Starts and stops alternate, and after a stop nothing is expected until :meth:`expect` is called again. What has
    been part of one utterance is never counted for, or sent with, the next one.

    While an utterance is open, a single voiced frame with none beside it does not count as speech: VADs have such
    blips in noise, and each would put off the end. Two in a row do.
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._settings = settings
        self._patience = settings.patience
        self._ask_after = ms_to_samples(ASK_AFTER_MS, MIC_RATE)
        self._wake_phrase = ms_to_samples(settings.wake_phrase_ms, MIC_RATE)
        self._wake_pause = ms_to_samples(settings.wake_pause_ms, MIC_RATE)
        self._max_utterance = ms_to_samples(settings.max_utterance_ms, MIC_RATE)
        self._run_gap = ms_to_samples(settings.run_gap_ms, MIC_RATE)
        # An utterance must not be used up by audio from before its decision, however short it is allowed to be.
        self._reach = min(ms_to_samples(HISTORY_MS, MIC_RATE), self._max_utterance // 2)
        self._history: deque[_Frame] = deque(maxlen=HISTORY_MS // FRAME_MS)
        self._decisions: deque[Decision] = deque(maxlen=2)  # decided, but not told yet: a start and its stop at most
        self.reset()

    @property
    def in_speech(self) -> bool:
        """Whether a start has been told and its stop has not."""
        return self._in_speech

    @property
    def pause(self) -> int | None:
        """The pause that the speaker makes now, if somebody should judge it: :attr:`SpeechStop.last_voiced` as it would
        be. None outside of an utterance and before the pause has lasted ``ASK_AFTER_MS``."""
        utterance = self._utterance
        if utterance is None or not self._in_speech or not self._patience.asks:
            return None
        return utterance.last_voiced if self._history[-1].end - utterance.last_voiced >= self._ask_after else None

    def judge(self, pause: int, found: Completeness) -> None:
        """Say what was said before a pause. It counts from the next frame on, and for this pause only: once there is
        more speech, it is not heeded."""
        if self._utterance is not None and self._utterance.last_voiced == pause:
            self._utterance.found = found

    def reset(self) -> None:
        """Forget all audio and expect nothing: for a stream that begins anew, with indices of its own."""
        self._history.clear()
        self._run_end: int | None = None  # one past the last voiced frame
        self._spent: int | None = None  # where the last utterance ended
        self._expect_afresh(Expect.NOTHING, 0)

    def expect(self, mode: Expect, since: int) -> None:
        """Listen for ``mode`` from sample ``since`` on (ignored for NOTHING).

        ``since`` may lie ahead, or back in the last 5 seconds: frames that have been heard since then count as if this
        had been called in time, and what they decide is told by the next calls of :meth:`hear`.

        An open utterance is abandoned without a stop, since the caller no longer wants it. To repeat what is expected
        already (same mode, same sample) changes nothing. Between a start and its stop no call is needed.
        """
        if mode is self._mode and since == self._since:
            return
        self._expect_afresh(mode, since)
        for frame in self._history:
            self._decide(frame)

    def hear(self, start: int, speech: bool) -> Decision | None:
        """Take the flag of the 20 ms frame that begins at sample ``start``; call it for every frame.

        Raises ValueError if the frame overlaps or precedes the one before: see :meth:`reset`.
        """
        frame = self._remember(start, speech)
        self._decide(frame)
        if not self._decisions:
            return None
        decision = self._decisions.popleft()
        self._in_speech = isinstance(decision, SpeechStart)
        if isinstance(decision, SpeechStop):
            self._spent = decision.sample
            self._expect_afresh(Expect.NOTHING, decision.sample)
        return decision

    def _expect_afresh(self, mode: Expect, since: int) -> None:
        self._mode = mode
        self._since = since
        self._counted: deque[int] = deque()  # starts of the voiced frames in the window
        self._utterance: _Utterance | None = None
        self._over = False  # the stop has been decided; once it is told, nothing is expected
        self._decisions.clear()
        self._in_speech = False

    def _remember(self, start: int, speech: bool) -> _Frame:
        before = self._history[-1] if self._history else None
        if before is not None and start < before.end:
            raise ValueError(f"frame at sample {start} comes after the one that ended at {before.end}")
        # Nothing was heard before the first frame: it bounds the pre-roll of the first run.
        run_start, run_before_end = (before.run_start, before.run_before_end) if before else (start, start)
        if speech:
            if self._run_end is None:
                run_start = start
            elif start - self._run_end >= self._run_gap:
                run_start, run_before_end = start, self._run_end
            self._run_end = start + FRAME_SAMPLES
        lone = speech and not (before is not None and before.speech and before.end == start)
        frame = _Frame(start, speech, lone, run_start, run_before_end)
        self._history.append(frame)
        return frame

    def _decide(self, frame: _Frame) -> None:
        if self._utterance is not None:
            stop = self._find_stop(frame, self._utterance)
            if stop is not None:
                self._decisions.append(stop)
                self._utterance, self._over = None, True
        elif self._mode is not Expect.NOTHING and not self._over and frame.speech and self._counts_as_start(frame):
            start = SpeechStart(self._uplink_start(frame), frame.end)
            self._decisions.append(start)
            holds_wake_word = self._mode is Expect.UTTERANCE and frame.run_start < self._since
            self._utterance = _Utterance(start, frame.end, frame.run_start, holds_wake_word)

    def _counts_as_start(self, frame: _Frame) -> bool:
        """Count a voiced frame; true when it makes enough speech within the window."""
        if frame.start < self._since or (self._spent is not None and frame.start < self._spent):
            return False
        if self._mode is Expect.BARGE_IN:
            speech_ms, window_ms = self._settings.barge_in_ms, self._settings.barge_in_window_ms
        else:
            speech_ms, window_ms = self._settings.start_ms, self._settings.start_window_ms
        self._counted.append(frame.start)
        window_start = frame.end - _whole_frames(window_ms) * FRAME_SAMPLES
        while self._counted[0] < window_start:
            self._counted.popleft()
        return len(self._counted) >= _whole_frames(speech_ms)

    def _uplink_start(self, frame: _Frame) -> int:
        settings = self._settings
        match self._mode:
            case Expect.BARGE_IN:  # what was said before playback began was not said into it
                before_since = settings.pre_roll_ms
            case Expect.FOLLOW_UP:
                before_since = 0
            case _:  # the run of an utterance is taken whole, with its wake word
                before_since = settings.max_pre_roll_ms
        earliest = max(self._since - ms_to_samples(before_since, MIC_RATE), frame.end - self._reach)
        if self._spent is not None:
            earliest = max(earliest, self._spent)
        return max(earliest, frame.run_start - ms_to_samples(settings.pre_roll_ms, MIC_RATE), frame.run_before_end)

    def _find_stop(self, frame: _Frame, utterance: _Utterance) -> SpeechStop | None:
        if frame.speech and not frame.lone:  # the first frame after a loss is lone: a long loss is an end
            utterance.last_voiced, utterance.found = frame.end, Completeness.OPEN
        silent_from = self._silent_from(utterance)
        too_long_from = utterance.start.sample + self._max_utterance
        if frame.end < min(silent_from, too_long_from):
            return None
        if silent_from <= too_long_from:
            return SpeechStop(silent_from, utterance.last_voiced, frame.end, "silence")
        last_voiced = min(utterance.last_voiced, too_long_from)
        return SpeechStop(too_long_from, last_voiced, frame.end, "max_length")

    def _silent_from(self, utterance: _Utterance) -> int:
        """The sample at which silence ends the utterance, if no more speech comes."""
        silence = ms_to_samples(self._patience.after(utterance.found), MIC_RATE)
        maybe_phrase_alone = utterance.last_voiced - utterance.run_start < self._wake_phrase
        if utterance.holds_wake_word and maybe_phrase_alone and utterance.found is not Completeness.COMPLETE:
            silence = max(silence, self._wake_pause)
        return utterance.last_voiced + silence


def _whole_frames(ms: int) -> int:
    return -(-ms // FRAME_MS)

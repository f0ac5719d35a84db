"""The wake history: what scored on the wake words, so that a threshold can be chosen by what happened in this home.

One JSON line an attempt, in the state folder, with its time, word, peak and outcome: no speech. Audio of attempts is
kept only where the owner allows it (``wake.keep_audio``), and for so many days (``log.keep_days``). Both are bounded;
the oldest go first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from assistant.audio.wav import wav_header
from assistant.core.wake_attempts import NEAR_MISS, AttemptFinder, WakeAttempt
from assistant.core.wake_gate import NOT_ASKED
from assistant.types import FRAME_MS, MIC_RATE, AudioFrame

log = logging.getLogger(__name__)

FILE_NAME: Final = "wake-history.jsonl"
AUDIO_FOLDER: Final = "wake-audio"
MAX_ENTRIES: Final = 1000
MAX_RECORDINGS: Final = 100
_AUDIO_MS: Final = 4000  # an attempt is told of a second after its word


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One attempt as it was kept. at: seconds since 1970. audio: file name in the folder of recordings, or None.

    verified: how sure the word's verifier was at most; None if it had none.
    """

    at: float
    word: str
    peak: float
    hit: bool
    speaking: bool
    audio: str | None = None
    verified: float | None = None


class WakeHistory:
    """Writes attempts down. Lives on the event loop: an attempt is one short line, and there are few in an hour.

    keep_audio_s: seconds after which a recording is deleted, also one from when they were still kept.

    A folder that cannot be written to ends it with one warning; the assistant goes on without.
    """

    def __init__(
        self, state_folder: Path, *, keep_audio: bool, now: Callable[[], float], keep_audio_s: float = math.inf
    ) -> None:
        self._folder = state_folder
        self._now = now
        self._keep_audio_s = keep_audio_s
        self._finder = AttemptFinder()
        self._audio: deque[bytes] | None = deque(maxlen=_AUDIO_MS // FRAME_MS) if keep_audio else None
        self._while_speaking: set[str] = set()  # words that scored while the assistant spoke
        self._written = 0  # since the file was last cut
        self._broken = False
        with contextlib.suppress(OSError):  # the first attempt tells of a folder that cannot be used
            self._delete_old()

    def hear(
        self,
        frame: AudioFrame,
        scores: Mapping[str, float] | None,
        hit: str | None,
        *,
        speaking: bool,
        verified: Mapping[str, float] = NOT_ASKED,
    ) -> None:
        """Take an analysed frame; ``hit`` is the word that woke the assistant in it."""
        if self._audio is not None:
            self._audio.append(frame.pcm)
        if scores is None or self._broken:
            return
        if speaking:
            self._while_speaking |= {word for word, score in scores.items() if score >= NEAR_MISS or word == hit}
        for attempt in self._finder.feed(frame.end, scores, hit, verified):
            try:
                self._keep(attempt)
            except OSError as error:
                self._broken = True
                log.warning("wake history: cannot write to %s: %s; it is not kept", self._folder, error.strerror)

    def _keep(self, attempt: WakeAttempt) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._delete_old()
        at = self._now()
        audio = self._keep_audio(attempt, at) if self._audio is not None else None
        entry: dict[str, object] = {
            "at": round(at, 1),
            "word": attempt.word,
            "peak": round(attempt.peak, 4),
            "hit": attempt.hit,
            "speaking": attempt.word in self._while_speaking,
        }
        if attempt.verified is not None:
            entry["verified"] = round(attempt.verified, 4)
        if audio is not None:
            entry["audio"] = audio
        path = self._folder / FILE_NAME
        with _open_private(path, os.O_APPEND) as file:
            file.write(json.dumps(entry).encode() + b"\n")
        self._while_speaking.discard(attempt.word)
        self._written += 1
        if self._written % 100 == 1:  # also once after a start
            _cut(path)

    def _keep_audio(self, attempt: WakeAttempt, at: float) -> str:
        assert self._audio is not None
        folder = self._folder / AUDIO_FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        pcm = b"".join(self._audio)
        name = f"{at:.1f}-{attempt.word}-{attempt.peak:.2f}.wav"
        with _open_private(folder / name, os.O_TRUNC) as file:
            file.write(wav_header(MIC_RATE, len(pcm)) + pcm)
        for old in sorted(folder.glob("*.wav"))[:-MAX_RECORDINGS]:
            old.unlink(missing_ok=True)
        return name

    def _delete_old(self) -> None:
        oldest = self._now() - self._keep_audio_s
        for path in (self._folder / AUDIO_FOLDER).glob("*.wav"):
            with contextlib.suppress(ValueError):  # not one of ours
                if float(path.name.partition("-")[0]) < oldest:
                    path.unlink(missing_ok=True)


def read_history(state_folder: Path) -> list[HistoryEntry]:
    """All that was kept, oldest first; lines that were cut off by a power failure are left out."""
    entries = []
    with contextlib.suppress(FileNotFoundError):
        for line in (state_folder / FILE_NAME).read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                entries.append(HistoryEntry(**json.loads(line)))
    return entries[-MAX_ENTRIES:]


def tries(entries: Iterable[HistoryEntry], verifiers: Mapping[str, float]) -> list[tuple[float, bool]]:
    """Peak and outcome of each, as :func:`~assistant.core.wake_attempts.what_if` takes them.

    verifiers: by word, how sure its verifier must be now. What it refuses no threshold would have let through.
    """
    return [(0.0 if refused(entry, verifiers) else entry.peak, entry.hit) for entry in entries]


def refused(entry: HistoryEntry, verifiers: Mapping[str, float]) -> bool:
    """Whether the word's verifier, if it has one now, was not sure enough. While the assistant spoke it has no say."""
    return not entry.speaking and entry.verified is not None and entry.verified < verifiers.get(entry.word, 0.0)


def _open_private(path: Path, flags: int) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "wb")  # noqa: PTH123


def _cut(path: Path) -> None:
    """Drop the oldest lines beyond the limit."""
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) > MAX_ENTRIES:
        new = path.with_suffix(".new")
        with _open_private(new, os.O_TRUNC) as file:
            file.write(b"".join(lines[-MAX_ENTRIES:]))
        new.replace(path)

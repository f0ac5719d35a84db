"""When the service manager's watchdog may be fed: only while the microphone really delivers."""

from __future__ import annotations


class Liveness:
    """Tells a daemon that hears from one that merely runs.

    A frozen sound server lets every call return and every stream look active, and delivers nothing; only the sample
    counter of the frames shows it. ``at`` is in seconds on the event loop's clock, which this class never reads.
    While the microphone is muted it is closed on purpose: then it is enough that somebody still asks.

    ``stall_after_s``: so long may the frames stay away, also after the start and after mute is lifted, when a device
    takes its time to open.
    """

    def __init__(self, *, stall_after_s: float, at: float) -> None:
        if stall_after_s <= 0:
            raise ValueError("stall_after_s must be more than 0")
        self._stall_after_s = stall_after_s
        self._progress_at = at
        self._sample: int | None = None
        self._muted = False

    def frame(self, sample: int, at: float) -> None:
        """A frame came whose first sample has this index. The same index again is no progress.

        A smaller index is the first one of a stream that was opened anew; progress is what comes after it.
        """
        if self._sample is not None and sample > self._sample:
            self._progress_at = max(at, self._progress_at)
        self._sample = sample

    def muted(self, at: float, muted: bool) -> None:
        """The microphone was closed by the user, or is to be opened again."""
        if self._muted and not muted:
            self._progress_at = max(at, self._progress_at)
            self._sample = None
        self._muted = muted

    def alive(self, at: float) -> bool:
        """True if the watchdog may be fed now."""
        return self._muted or at - self._progress_at < self._stall_after_s

"""How long to wait before trying again. The shell adds the jitter, since the core knows no chance."""

from __future__ import annotations

FIRST = 0.5
CEILING = 8.0

QUICK = 2.0
QUICK_ATTEMPTS = 32


def retry_delay(losses: int, retry_after: float | None = None) -> float:
    """Seconds before the next attempt, after ``losses`` earlier ones: 0, 0.5, 1, 2, 4, 8, 8 ...

    The first retry is at once: most losses are a single broken connection. A wait that the server asked for
    (``Retry-After``, RFC 9110 section 10.2.3) is kept when it is longer.
    """
    own = 0.0 if losses == 0 else min(CEILING, FIRST * 2.0 ** min(losses - 1, 16))
    return max(own, retry_after or 0.0)


def reopen_delay(attempts: int) -> float:
    """Seconds before a lost device is opened again, after ``attempts``: 0, 0.5, 1, 2, 2 ..., and 8 after a minute.

    Somebody who has plugged it in again wants to be heard at once; a device that stays away may cost little.
    """
    return min(retry_delay(attempts), QUICK if attempts <= QUICK_ATTEMPTS else CEILING)

"""WAV files as streams: a parser that takes bytes as they come, and a header whose sizes may still be unknown.

Source: "Multimedia Programming Interface and Data Specifications 1.0" (RIFF), and Microsoft's WAVE_FORMAT_EXTENSIBLE.
Only 16-bit PCM is understood. A data size of 0 or near the maximum means "until the end": so write programs that
stream, such as sox and arecord, and so does a recorder that was killed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
_UNKNOWN_SIZE: Final = 0x7FFFF000  # sox writes this, arecord 0x7FFFFFFF or more, ffmpeg 0xFFFFFFFF
_HEADER_LIMIT: Final = 1 << 20  # before the samples; tags and cover pictures are smaller

HEADER_BYTES: Final = 44


class WavError(ValueError):
    """Not a WAV, or not one that we can play. The message completes "FILE: ..."."""


@dataclass(frozen=True, slots=True)
class WavFormat:
    rate: int
    channels: int


class WavParser:
    """Takes the bytes of a WAV file in pieces and gives the PCM in them: int16, interleaved, in whole frames."""

    def __init__(self) -> None:
        self.format: WavFormat | None = None
        """Known once the header was read."""
        self._in_data = False
        self._left: int | None = None  # bytes of the data chunk that are still to come; None: until the end
        self._pending = b""  # a part of the header, or of a frame

    def feed(self, data: bytes) -> bytes:
        """Raises WavError when the header shows that this is nothing for us."""
        self._pending += data
        if not self._in_data and not self._read_header():
            return b""
        assert self.format is not None
        if self._left is not None:
            self._pending = self._pending[: self._left]
        whole = len(self._pending) - len(self._pending) % (2 * self.format.channels)
        pcm, self._pending = self._pending[:whole], self._pending[whole:]
        if self._left is not None:
            self._left -= whole
        return pcm

    @property
    def at_end(self) -> bool:
        """All samples that the header promised have been given; what may follow is not sound."""
        return self._in_data and self._left is not None and self._left <= len(self._pending)

    def close(self) -> None:
        """The file has ended. Raises WavError if it ended before its samples began."""
        if not self._in_data:
            raise WavError("is empty" if not self._pending and self.format is None else "ends within its header")

    def _read_header(self) -> bool:
        """Take chunks off the front until the samples begin; False if more bytes are needed."""
        head = self._pending
        if head[:4] != b"RIFF"[: len(head)] or head[8:12] != b"WAVE"[: max(0, len(head) - 8)]:
            raise WavError("is not a WAV file")
        at = 12
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            body = at + 8
            if name == b"data":
                if self.format is None:
                    raise WavError("has samples before its format")
                self._left = None if size == 0 or size >= _UNKNOWN_SIZE else size
                self._in_data = True
                self._pending = head[body:]
                return True
            end = body + size + size % 2  # chunks are padded to an even length
            if end > _HEADER_LIMIT:
                raise WavError("has a header that is too large")
            if len(head) < end:
                return False
            if name == b"fmt ":
                self.format = _parse_format(head[body : body + size])
            at = end
        return False


def _parse_format(chunk: bytes) -> WavFormat:
    if len(chunk) < 16:
        raise WavError("has a damaged header")
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == _EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    if kind != _PCM or bits != 16:
        what = f"{bits}-bit PCM" if kind == _PCM else f"compressed or float audio (format {kind})"
        raise WavError(f"holds {what}; convert it to 16-bit PCM")
    if not 1 <= channels <= 64 or not 1000 <= rate <= 768_000:
        raise WavError(f"claims {channels} channels at {rate} Hz")
    return WavFormat(rate, channels)


def wav_header(rate: int, data_bytes: int, channels: int = 1) -> bytes:
    """The 44 bytes before ``data_bytes`` of int16 PCM."""
    data_bytes = min(data_bytes, 0xFFFF_FFFF - HEADER_BYTES)
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, rate, rate * channels * 2, channels * 2, 16),
        *(b"data", data_bytes),
    )

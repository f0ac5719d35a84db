"""Change the sample rate and the number of channels of a stream, chunk by chunk.

numpy and soxr are imported when a converter is built, so that ``assistant --help`` does not wait for them.
"""

from __future__ import annotations

from typing import Any


class StreamResampler:
    """Converts int16 mono from one rate to another without losing a sample.

    Over a whole stream (every ``feed`` and one ``flush``) the output has ``samples * to_rate / from_rate`` samples,
    right to one sample. Between equal rates it passes everything through. The filter holds back about 35 ms of audio
    (95 ms from 8 kHz), which ``flush`` gives out. Chunks may have any length, even half a sample.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self.from_rate = from_rate
        self.to_rate = to_rate
        self._half = b""  # first byte of a sample whose second byte is still to come
        self._stream: Any = _new_stream(from_rate, to_rate)

    def feed(self, pcm: bytes) -> bytes:
        """Take a chunk and give what can be given by now, which may be nothing."""
        if self._half:
            pcm = self._half + pcm
        whole = len(pcm) & ~1
        self._half = pcm[whole:]
        return self._convert(pcm[:whole], last=False)

    def flush(self) -> bytes:
        """End the stream: give the rest. The next ``feed`` begins a new stream."""
        self._half = b""
        rest = self._convert(b"", last=True)
        self._stream = _new_stream(self.from_rate, self.to_rate)
        return rest

    def _convert(self, pcm: bytes, *, last: bool) -> bytes:
        if self._stream is None:
            return pcm
        import numpy as np

        converted: bytes = self._stream.resample_chunk(np.frombuffer(pcm, "<i2"), last=last).tobytes()
        return converted


def mix_to_mono(pcm: bytes, channels: int) -> bytes:
    """The mean of all channels. ``pcm`` is interleaved int16 in whole frames of ``channels`` samples."""
    if channels == 1:
        return pcm
    import numpy as np

    frames = np.frombuffer(pcm, "<i2").reshape(-1, channels)
    mixed: bytes = np.rint(frames.mean(axis=1)).astype("<i2").tobytes()
    return mixed


def spread_from_mono(pcm: bytes, channels: int) -> bytes:
    """The same samples on every channel, interleaved."""
    if channels == 1:
        return pcm
    import numpy as np

    return np.frombuffer(pcm, "<i2").repeat(channels).tobytes()


def _new_stream(from_rate: int, to_rate: int) -> Any:
    if from_rate == to_rate:
        return None
    import soxr

    return soxr.ResampleStream(from_rate, to_rate, 1, dtype="int16", quality="HQ")

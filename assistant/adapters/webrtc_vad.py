"""Voice activity detection with the VAD of WebRTC (package ``webrtcvad-wheels``, module ``webrtcvad``)."""

from __future__ import annotations

from assistant.errors import ModelLoadError
from assistant.types import FRAME_BYTES, FRAME_MS, MIC_RATE


class WebRtcVad:
    """Says for each 20 ms frame of 16 kHz whether it holds speech; 0.1 ms of CPU per second of audio.

    aggressiveness: 0 hears speech everywhere, 3 only where it is clear. Raises ValueError for anything else, and
        ModelLoadError if the package is missing.

    It adapts to the noise of the room, so that the first second of a stream is less sure than the rest.
    """

    def __init__(self, aggressiveness: int = 2) -> None:
        if aggressiveness not in (0, 1, 2, 3):
            raise ValueError(f"VAD aggressiveness must be 0, 1, 2 or 3, not {aggressiveness!r}")
        try:
            import webrtcvad  # here, so that commands that hear nothing do not load it
        except ImportError as error:
            raise ModelLoadError(f"VAD cannot be loaded ({error}): pip install webrtcvad-wheels") from error
        self._vad = webrtcvad.Vad(aggressiveness)

    def is_speech(self, pcm: bytes) -> bool:
        """``pcm`` is one frame: 320 samples, int16, mono. Raises ValueError for any other length."""
        if len(pcm) != FRAME_BYTES:
            raise ValueError(f"VAD takes frames of {FRAME_MS} ms ({FRAME_BYTES} bytes), not of {len(pcm)} bytes")
        return bool(self._vad.is_speech(pcm, MIC_RATE))

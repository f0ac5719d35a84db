"""Echo cancellation with WebRTC's AEC3, out of the ``livekit`` package (no room, no network: only its audio module).

What was measured in simulated rooms (docs/echo.md): it removes 20 to 50 dB of echo where a room is not too hard, learns
it within a second, finds delays of up to 500 ms by itself and follows drifting clocks. It also removes most of what is
10 dB or more below the echo, a person included, while the echo lasts.
"""

from __future__ import annotations

from typing import Any

from assistant.errors import ModelLoadError
from assistant.types import FRAME_BYTES, FRAME_MS, MIC_RATE, SPEAKER_RATE

_STEP_MS = 10  # the module takes exactly this much at a time
_RATES = {rate * FRAME_MS // 1000 * 2: rate for rate in (MIC_RATE, SPEAKER_RATE)}  # by the bytes in one frame


def load() -> tuple[Any, Any]:
    """Import what is used of the package: its frame and its audio module; 0.2 s and 23 MB, once.

    Raises ModelLoadError if it is missing or does not work here.
    """
    try:
        from livekit.rtc import AudioFrame
        from livekit.rtc.apm import AudioProcessingModule
    except (ImportError, OSError) as error:
        raise ModelLoadError(
            f"echo cancellation cannot be loaded ({error}): pip install livekit, or set echo.canceller: off"
        ) from error
    return AudioFrame, AudioProcessingModule


class WebRtcEchoCanceller:
    """Removes what the speaker plays from microphone frames. One thread at a time.

    High-pass filter on: AEC3 expects it. Gain control off: it would raise what is left of the echo.

    noise_suppression: also remove steady noise. Speech recognition is usually better without.

    Raises ModelLoadError if the package is missing or does not work here.
    """

    def __init__(self, *, noise_suppression: bool = False) -> None:
        self._frame, self._new_module = load()
        self._noise_suppression = noise_suppression
        self.reset()

    def process(self, mic_frame: bytes, reference: bytes) -> bytes:
        """One frame of the microphone without the echo of what was played; 9 ms late (15 with noise suppression).

        mic_frame: 20 ms at 16 kHz. reference: the 20 ms that the speaker was given, at 24 or 16 kHz, silence included;
            call this for every frame, or for none, since a canceller that sees only half a stream cancels speech.

        Raises ValueError for other lengths.
        """
        rate = _RATES.get(len(reference))
        if rate is None or len(mic_frame) != FRAME_BYTES:
            raise ValueError(
                f"echo cancellation takes {FRAME_MS} ms of 16 kHz and a reference of as much at 16 or 24 kHz, "
                f"not {len(mic_frame)} and {len(reference)} bytes"
            )
        cleaned = bytearray()
        step, far_step = MIC_RATE * _STEP_MS // 1000, rate * _STEP_MS // 1000
        for index in range(FRAME_MS // _STEP_MS):
            far = bytearray(reference[index * far_step * 2 : (index + 1) * far_step * 2])
            near = bytearray(mic_frame[index * step * 2 : (index + 1) * step * 2])
            self._module.process_reverse_stream(self._frame(far, rate, 1, far_step))
            self._module.process_stream(self._frame(near, MIC_RATE, 1, step))  # changes `near` in place
            cleaned += near
        return bytes(cleaned)

    def reset(self) -> None:
        """Forget the room: for a stream that begins anew."""
        self._module = self._new_module(
            echo_cancellation=True,
            noise_suppression=self._noise_suppression,
            high_pass_filter=True,
            auto_gain_control=False,
        )

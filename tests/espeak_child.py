"""Synthesize one sentence with espeak-ng, in a process of its own (see :mod:`tests.speech`).

usage: python espeak_child.py VOICE SPEED TEXT   writes the rate as 4 bytes little endian, then int16 samples
"""

from __future__ import annotations

import ctypes
import sys

import espeakng_loader

# Values of speak_lib.h of espeak-ng 1.52.
AUDIO_OUTPUT_SYNCHRONOUS = 2
ESPEAK_RATE = 1
ESPEAK_CHARS_UTF8 = 1
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def synthesize(text: str, voice: str, speed: int) -> tuple[int, bytes]:
    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = espeak.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise RuntimeError("espeak-ng cannot be initialised")
    samples = bytearray()

    @CALLBACK
    def collect(wave: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if wave and count > 0:
            samples.extend(ctypes.string_at(wave, count * 2))
        return 0  # go on

    espeak.espeak_SetSynthCallback(collect)
    if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
        raise RuntimeError(f"espeak-ng has no voice {voice!r}")
    espeak.espeak_SetParameter(ESPEAK_RATE, speed, 0)
    encoded = text.encode()
    if espeak.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, 0, 0, ESPEAK_CHARS_UTF8, None, None) != 0:
        raise RuntimeError("espeak-ng cannot speak this text")
    espeak.espeak_Synchronize()
    return rate, bytes(samples)


if __name__ == "__main__":
    voice, speed, text = sys.argv[1:]
    rate, pcm = synthesize(text, voice, int(speed))
    sys.stdout.buffer.write(rate.to_bytes(4, "little") + pcm)

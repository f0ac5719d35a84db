from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.local.sound_format import SoundDecoder, SoundEncoder, SoundFormat

MU_LAW, A_LAW = SoundFormat("audio/pcmu", 8_000), SoundFormat("audio/pcma", 8_000)
WIDE, NARROW = SoundFormat("audio/pcm", 16_000), SoundFormat("audio/pcm", 8_000)


def tone(rate: int, hertz: float = 440.0, seconds: float = 0.5) -> npt.NDArray[np.float64]:
    return 8_000 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


def decoded(sound: SoundFormat, data: bytes, step: int) -> npt.NDArray[np.float64]:
    decoder = SoundDecoder(sound)
    pieces = [decoder.decode(data[start : start + step]) for start in range(0, len(data), step)]
    return np.frombuffer(b"".join([*pieces, decoder.flush()]), dtype="<i2").astype(float)


# The first codes of each half, as ITU-T G.711 lists their values (13 and 14 bits, shifted up to 16).
@pytest.mark.parametrize(
    ("sound", "code", "sample"),
    [
        (MU_LAW, 0x00, -32124), (MU_LAW, 0x7F, 0), (MU_LAW, 0x80, 32124), (MU_LAW, 0xFF, 0),
        (A_LAW, 0x55, -8), (A_LAW, 0xD5, 8), (A_LAW, 0x2A, -32256), (A_LAW, 0xAA, 32256),
    ],
)  # fmt: skip
def test_codes_of_the_telephone(sound: SoundFormat, code: int, sample: int) -> None:
    heard = decoded(sound, bytes([code]) * 800, 800)
    assert abs(np.median(heard) - sample) <= max(8, abs(sample) // 100)


@pytest.mark.parametrize("sound", [MU_LAW, A_LAW, WIDE, NARROW, SoundFormat()])
def test_there_and_back(sound: SoundFormat) -> None:
    encoder = SoundEncoder(sound)
    pcm = tone(24_000).astype("<i2").tobytes()
    data = b"".join(encoder.encode(pcm[start : start + 4_800]) for start in range(0, len(pcm), 4_800)) + encoder.flush()
    back = decoded(sound, data, 1_000)
    middle = slice(2_400, 9_600)
    noise = back[middle] - tone(24_000)[: len(back)][middle]
    assert abs(len(back) - 12_000) < 50
    assert 10 * np.log10(np.mean(tone(24_000)[middle] ** 2) / np.mean(noise**2 + 1e-9)) > 30


@settings(max_examples=30)
@given(st.integers(1, 700))
def test_chunks_may_end_anywhere(step: int) -> None:
    data = tone(16_000).astype("<i2").tobytes()
    pieces, whole = decoded(WIDE, data, step), decoded(WIDE, data, len(data))
    assert len(pieces) == len(whole)
    assert np.abs(pieces - whole).max() <= 4


def test_a_turn_s_end_leaves_nothing_for_the_next() -> None:
    decoder = SoundDecoder(SoundFormat())
    assert decoder.decode(b"\1\0\2") == b"\1\0"
    decoder.flush()
    assert decoder.decode(b"\3\0") == b"\3\0"

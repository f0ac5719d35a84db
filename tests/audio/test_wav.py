from __future__ import annotations

import io
import itertools
import struct
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.audio.wav import HEADER_BYTES, WavError, WavFormat, WavParser, wav_header


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(body) if size is None else size) + body + bytes(len(body) % 2)


def fmt(kind: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16) -> bytes:
    return struct.pack("<HHIIHH", kind, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)


def riff(*chunks: bytes) -> bytes:
    return chunk(b"RIFF", b"WAVE" + b"".join(chunks))


def parse(data: bytes) -> tuple[WavParser, bytes]:
    parser = WavParser()
    pcm = parser.feed(data)
    parser.close()
    return parser, pcm


@given(
    pcm=st.binary(max_size=400).map(lambda data: data[: len(data) & ~3]),
    cuts=st.lists(st.integers(0, 500), max_size=12),
    extra=st.binary(max_size=30),
)
def test_the_cuts_between_chunks_make_no_difference(pcm: bytes, cuts: list[int], extra: bytes) -> None:
    file = riff(chunk(b"LIST", extra), chunk(b"fmt ", fmt(channels=2)), chunk(b"data", pcm), chunk(b"id3 ", extra))
    if not pcm:
        return  # a size of 0 means "until the end"
    parser = WavParser()
    edges = [0, *sorted(min(cut, len(file)) for cut in cuts), len(file)]
    parts = [parser.feed(file[a:b]) for a, b in itertools.pairwise(edges)]
    assert all(len(part) % 4 == 0 for part in parts)
    assert b"".join(parts) == pcm
    assert parser.at_end
    assert parser.format == WavFormat(16_000, 2)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_an_unknown_length_means_until_the_end(size: int) -> None:
    parser, pcm = parse(b"RIFF\xff\xff\xff\xffWAVE" + chunk(b"fmt ", fmt()) + chunk(b"data", b"abcdef", size))
    assert pcm == b"abcdef"
    assert not parser.at_end


def test_extensible_pcm_is_pcm() -> None:
    extension = struct.pack("<HHIH", 22, 16, 3, 1) + bytes.fromhex("000000001000800000aa00389b71")
    parser, pcm = parse(riff(chunk(b"fmt ", fmt(0xFFFE, 2, 48_000) + extension), chunk(b"data", b"abcd")))
    assert parser.format == WavFormat(48_000, 2)
    assert pcm == b"abcd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"RIF", "ends within its header"),
        (b"OggS and so on", "is not a WAV file"),
        (b"RIFF\x10\0\0\0AVI ", "is not a WAV file"),
        (riff(chunk(b"fmt ", fmt())), "ends within its header"),
        (riff(chunk(b"data", b"abcd")), "has samples before its format"),
        (riff(chunk(b"fmt ", b"short")), "has a damaged header"),
        (riff(chunk(b"fmt ", fmt(bits=24))), "holds 24-bit PCM; convert it to 16-bit PCM"),
        (riff(chunk(b"fmt ", fmt(kind=3, bits=32))), r"compressed or float audio \(format 3\)"),
        (riff(chunk(b"fmt ", fmt(channels=0))), "claims 0 channels at 16000 Hz"),
        (riff(chunk(b"LIST", b"", size=0xFFFFFF00)), "has a header that is too large"),
    ],
)
def test_what_is_wrong_with_a_file(data: bytes, message: str) -> None:
    with pytest.raises(WavError, match=message):
        parse(data)


def test_the_header_that_we_write_is_read_by_others_and_by_us() -> None:
    file = wav_header(24_000, 6, channels=1) + b"abcdef"
    with wave.open(io.BytesIO(file)) as reader:
        assert (reader.getframerate(), reader.getnchannels(), reader.getsampwidth()) == (24_000, 1, 2)
        assert reader.readframes(99) == b"abcdef"
    assert len(wav_header(24_000, 6)) == HEADER_BYTES
    assert parse(file)[1] == b"abcdef"

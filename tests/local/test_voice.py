from __future__ import annotations

import threading

import numpy as np
import pytest

from assistant.errors import ConfigError
from assistant.local.pronounce import arpabet
from assistant.local.voice import Voice, has_voice, ipa, split_sentences

VOICES = ["en-us", "en-gb-x-rp", "en-us+f3", "en-us+m1"]


def samples_of(chunks: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(chunks), dtype="<i2").astype(float) / 32768


@pytest.mark.parametrize("name", VOICES)
def test_speech_has_the_right_level_and_is_not_clipped(name: str) -> None:
    speech = samples_of(list(Voice(name).speak("The kitchen light is on, and the timer is set for five minutes.")))
    loud = speech[np.abs(speech) > 0.005]
    assert -23 < 20 * np.log10(np.sqrt(np.mean(loud**2))) < -17
    assert np.abs(speech).max() < 0.95


def test_chunks_are_at_most_100_ms_and_whole_samples() -> None:
    chunks = list(Voice().speak("One. Two. Three."))
    assert all(0 < len(chunk) <= 4800 and len(chunk) % 2 == 0 for chunk in chunks)
    assert 1.0 < sum(map(len, chunks)) / 48_000 < 4.0


def test_the_first_chunk_does_not_wait_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = Voice()
    spoken: list[str] = []
    original = Voice.sentence

    def record(self: Voice, text: str, *, speed_factor: float = 1.0) -> list[bytes]:
        spoken.append(text)
        return original(self, text, speed_factor=speed_factor)

    monkeypatch.setattr(Voice, "sentence", record)
    next(iter(voice.speak("First sentence. Second sentence.")))
    assert spoken == ["First sentence."]


def test_speed() -> None:
    text = "A sentence that takes a while to be spoken in full"
    slow, normal, fast = (sum(map(len, Voice().sentence(text, speed_factor=factor))) for factor in (0.7, 1.0, 1.4))
    assert slow > 1.2 * normal > 1.4 * fast


def test_an_unknown_voice_is_a_config_error_in_one_line() -> None:
    assert not has_voice("klingon-x")
    with pytest.raises(ConfigError, match=r"local\.voice: espeak-ng has no voice 'klingon-x'; try") as caught:
        Voice("klingon-x")
    assert "\n" not in str(caught.value)


def test_threads_do_not_mix_their_voices() -> None:
    """The library has one state; without its lock these would come out garbled or crash."""
    voices = {name: Voice(name) for name in VOICES}
    expected = {name: b"".join(voice.speak("A test of threads.")) for name, voice in voices.items()}
    heard: dict[str, list[bytes]] = {name: [] for name in VOICES}

    def speak(name: str) -> None:
        for _ in range(5):
            heard[name].append(b"".join(voices[name].speak("A test of threads.")))

    threads = [threading.Thread(target=speak, args=(name,)) for name in VOICES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, clips in heard.items():  # espeak-ng's own dither varies the length by a few samples
        assert len(clips) == 5
        assert all(abs(len(pcm) - len(expected[name])) < 500 for pcm in clips)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 3.5 degrees", ["It is 3.5 degrees"]),
        ("... !", []),
        ("", []),
        ("a\n\nb", ["a", "b"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_a_sentence_without_end_is_cut_at_spaces() -> None:
    parts = split_sentences("word " * 400)
    assert all(len(part) <= 400 for part in parts)
    assert " ".join(parts).split() == ["word"] * 400
    assert max(len(part) for part in split_sentences("x" * 1000)) == 400


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("sonos", "S OW N OW Z"),
        ("hue", "HH Y UW"),
        ("kitchen", "K IH CH AH N"),
        ("jarvis", "JH AA R V IH S"),
        ("tradfri", "T R AE D F R IY"),
    ],
)
def test_pronunciations(word: str, phones: str) -> None:
    assert arpabet(ipa(word)) == phones


def test_symbols_that_english_lacks_are_passed_over() -> None:
    assert arpabet("ˈʘk♥æt") == "K AE T"
    assert arpabet("") == ""

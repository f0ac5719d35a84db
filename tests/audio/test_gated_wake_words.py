"""The idle gate in front of the real models: nothing is lost, and nothing runs in a quiet room."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector
from assistant.audio.gated_wake_words import GatedWakeWordDetector
from assistant.core.idle_gate import IdleGate
from tests.speech import RATE, Samples, concat, frames, mix, noise, say, silence

WORDS = ("alexa", "hey_jarvis", "hey_mycroft")
SPOKEN = {"alexa": "alexa", "hey_jarvis": "hey jarvis", "hey_mycroft": "hey my croft"}


@cache
def scene() -> Samples:
    """Each wake word after seconds of quiet, and other speech between them."""
    parts = [silence(4)]
    for voice in ("en-us+Storm", "en-gb-x-rp"):
        for phrase in SPOKEN.values():
            parts += [say(phrase, voice), silence(4.0 if voice == "en-us+Storm" else 0.9)]
        parts += [say("what time is it in the kitchen", voice), silence(3)]
    return concat(*parts)


def in_noise(gain_db: float, snr_db: float) -> Samples:
    quieter = np.round(scene() * 10 ** (gain_db / 20)).astype(np.int16)
    return mix(quieter, noise(len(quieter) / RATE, -20 + gain_db - snr_db, seed=1))


def score(samples: Samples, gated: bool) -> list[Mapping[str, float]]:
    detector = OpenWakeWordDetector(WORDS)
    stage = GatedWakeWordDetector(detector, IdleGate()) if gated else detector
    return [scores for _, pcm in frames(samples) if (scores := stage.process(pcm)) is not None]


@pytest.mark.parametrize(("gain", "snr"), [(0, 40), (-20, 40), (-40, 40), (0, 10), (-32, 10), (0, 3)])
def test_no_score_that_matters_is_lost(gain: float, snr: float) -> None:
    samples = in_noise(gain, snr)
    free, gated = score(samples, gated=False), score(samples, gated=True)
    assert len(free) == len(gated) == len(samples) // 1280
    closed = [step for step in gated if not any(step.values())]
    assert len(closed) > 0.1 * len(gated), "the gate was hardly closed, which proves nothing"
    for number, (without, behind) in enumerate(zip(free, gated, strict=True)):
        if any(behind.values()):
            assert behind == pytest.approx(without, abs=1e-4), f"step {number}"
        else:
            assert max(without.values()) < 0.2, f"step {number} was not scored"
    if snr > 10:
        assert max(step["hey_jarvis"] for step in free) > 0.5, "no wake word was found, which proves nothing"


class Counting:
    """The detector, and how often it had to look."""

    def __init__(self) -> None:
        self._detector = OpenWakeWordDetector(["alexa"])
        self.processed = self.skipped = 0

    @property
    def names(self) -> tuple[str, ...]:
        return self._detector.names

    @property
    def verified(self) -> Mapping[str, float]:
        return self._detector.verified

    def process(self, pcm: bytes) -> Mapping[str, float] | None:
        self.processed += 1
        return self._detector.process(pcm)

    def skip(self, pcm: bytes) -> Mapping[str, float] | None:
        self.skipped += 1
        return self._detector.skip(pcm)

    def reset(self) -> None:
        self._detector.reset()


def test_in_a_quiet_room_the_models_rest_and_the_steps_go_on() -> None:
    detector = Counting()
    gated = GatedWakeWordDetector(detector, IdleGate())
    results = [gated.process(pcm) for _, pcm in frames(noise(30, -65, seed=2))]
    assert (detector.processed, detector.skipped) == (150, 1350)
    assert [number for number, scores in enumerate(results, 1) if scores is not None] == list(range(4, 1501, 4))
    assert results[-1] == {"alexa": 0.0}


def test_reset_makes_it_as_new() -> None:
    gated = GatedWakeWordDetector(OpenWakeWordDetector(["alexa"]), IdleGate())
    clip = mix(concat(silence(4), say("alexa"), silence(1)), noise(5, -60, seed=3))[: 5 * RATE]
    first = [gated.process(pcm) for _, pcm in frames(clip)]
    gated.reset()
    assert [gated.process(pcm) for _, pcm in frames(clip)] == first

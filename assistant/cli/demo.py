"""``assistant demo``: the real daemon in a simulated kitchen. Exit status 0 only if every scene happened."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import wave
from pathlib import Path

import numpy as np

from assistant.cli.common import complain, run_async, say
from assistant.demo.kitchen import Kitchen
from assistant.demo.scenes import SCENES, Play
from assistant.demo.stage import SceneFailed, Stage
from assistant.errors import EXIT_FAILURE, EXIT_OK

_MADE = ("room.wav", "speaker.wav", "events.jsonl", "daemon.log", "config.yaml", "room.pipe")


def main(options: argparse.Namespace) -> int:
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    for name in _MADE:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "state", ignore_errors=True)
    say(f"Hearth in a simulated kitchen; recordings in {folder}/")
    try:
        run_async(_play(folder))
    except SceneFailed as error:
        complain(f"\nassistant demo: failed: {error}")
        return EXIT_FAILURE
    return EXIT_OK


async def _play(folder: Path) -> None:
    with Kitchen(folder / "room.pipe", folder / "room.wav") as kitchen:
        stage = Stage(folder, kitchen)
        play = Play(stage)
        async with stage.daemon():
            await stage.wait("the daemon", 30, name="ready")
            await asyncio.sleep(1.0)
            for scene in SCENES:
                stage.begin_scene(scene.__doc__ or scene.__name__)
                await scene(play)
                await asyncio.sleep(1.0)
    say()
    _print_table(play)
    _check_speaker(folder / "speaker.wav")


def _print_table(play: Play) -> None:
    def cell(value: float | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    columns = ("ms", "wake word heard", "end of request", "first audio", "to speaker", "in all")
    say(f"{columns[0]:<28}" + "".join(f"{column:>17}" for column in columns[1:]))
    for timing in play.timings:
        values = (timing.wake, timing.commit, timing.answer, timing.speaker, timing.total)
        say(f"{timing.label:<28}" + "".join(f"{cell(value):>17}" for value in values))
    say("in all: from the last sound of the request to the first sound of the answer")
    say(f"interruption: silent {cell(play.silence_after_barge_in)} ms after its first sound")
    say(f"talk without a request: {play.sent_without_request} bytes of audio sent")


def _check_speaker(path: Path) -> None:
    """The answers must be audible: listened to by numbers."""
    with wave.open(str(path), "rb") as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), dtype="<i2").astype(np.float64)
        rate = recording.getframerate()
    audible = samples[np.abs(samples) > 32768 * 0.01]
    level = 20 * np.log10(np.sqrt(np.mean(audible**2)) / 32768) if audible.size else float("-inf")
    clipped = int(np.sum(np.abs(samples) >= 32767))
    say(
        f"speaker.wav: {samples.size / rate:.1f} s, of which {audible.size / rate:.1f} s loud, "
        f"{level:.0f} dBFS there, {clipped} clipped samples"
    )
    if audible.size < rate or clipped:
        raise SceneFailed("speaker.wav is silent or clipped")

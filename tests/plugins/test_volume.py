"""How loud the assistant is; the mixer is that of a real PulseAudio."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest

from assistant.local.brain import Brain, CallTool, Said, ToolAnswered
from assistant.local.language import language
from assistant.local.skills import read_tools
from assistant.plugin import ToolError
from assistant.plugin.services import House
from assistant.testing.plugins import FRIDAY_MORNING, PluginHarness
from assistant.tools.loading import from_file
from assistant.tools.registry import PluginStatus, ToolRegistry
from tests.vsound import virtual_sound

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "volume" / "__init__.py"
QUIET = {"quiet_hours": {"from": "22:00", "to": "07:00", "max": 30}}
CET = timezone(timedelta(hours=1), "CET")


class Speaker:
    """A house of which only the volumes are looked at."""

    def __init__(self) -> None:
        self.volumes = {"answers": 100, "alerts": 100, "media": 100}
        self.changes = 0

    def status(self) -> Mapping[str, Any]:
        return {"volumes": dict(self.volumes)}

    def set_volume(self, percent: int, channel: str) -> None:
        assert self.volumes[channel] != percent, "said only when it changes"
        self.volumes[channel] = percent
        self.changes += 1

    @property
    def all(self) -> tuple[int, int, int]:
        return self.volumes["answers"], self.volumes["alerts"], self.volumes["media"]


def use(
    folder: Path,
    scene: Callable[[PluginHarness, Speaker], Awaitable[None]],
    now: datetime = FRIDAY_MORNING,
    **settings: Any,
) -> None:
    async def main() -> None:
        speaker = Speaker()
        home = PluginHarness(PLUGIN.parent, folder, settings=settings, now=now)
        home.registry.house = cast(House, speaker)
        async with home:
            await scene(home, speaker)

    asyncio.run(main())


def test_each_has_a_level_of_its_own_and_what_is_not_named_leaves_the_alarm_alone(tmp_path: Path) -> None:
    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        said = await home.say("set the volume to forty percent")
        assert said.answer == "The volume is 40 percent."
        assert speaker.all == (40, 100, 40)
        assert (await home.say("alarm volume to seventy")).answer == "The alarm volume is 70 percent."
        assert speaker.all == (40, 70, 40)
        await home.say("louder")
        assert speaker.all == (50, 70, 50)
        await home.say("make the alarm quieter")
        assert speaker.all == (50, 60, 50)
        await home.say("set the media volume to five percent")
        await home.say("turn the media down")
        await home.say("turn the voice up")
        assert speaker.all == (60, 60, 0)
        assert (await home.say("how loud is it")).answer == "The volume is 60 percent."
        assert (await home.say("what is the alarm volume")).answer == "The alarm volume is 60 percent."
        for _ in range(6):
            await home.say("turn it up")
        assert speaker.all == (100, 60, 100)

    use(tmp_path, scene)


def test_levels_and_the_mute_survive_a_restart(tmp_path: Path) -> None:
    async def before(home: PluginHarness, speaker: Speaker) -> None:
        await home.call("set_volume", percent=35)
        await home.call("set_volume", percent=80, which="alarm")
        await home.call("mute_speaker")

    async def after(home: PluginHarness, speaker: Speaker) -> None:
        assert speaker.all == (0, 80, 0)
        await home.say("unmute the speaker")
        assert speaker.all == (35, 80, 35)

    use(tmp_path, before)
    use(tmp_path, after)


@pytest.mark.parametrize("way", ["unmute", "volume to twenty", "louder"])
def test_the_mute_ends_when_it_is_lifted_or_a_volume_is_set_and_alarms_ring_through(tmp_path: Path, way: str) -> None:
    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        await home.say("volume to thirty")
        await home.say("mute the speaker")
        assert speaker.all == (0, 100, 0)
        await home.say("set the alarm volume to fifty")
        assert speaker.all == (0, 50, 0)
        await home.say(way)
        level = {"unmute": 30, "volume to twenty": 20, "louder": 40}[way]
        assert speaker.all == (level, 50, level)

    use(tmp_path, scene)


def test_it_keeps_quiet_at_night_and_is_as_before_in_the_morning(tmp_path: Path) -> None:
    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        await home.call("set_volume", percent=20, which="media")
        await home.advance(minutes=1)
        assert speaker.all == (100, 100, 20)
        await home.advance(minutes=9.5)  # 22:00:30
        assert speaker.all == (30, 100, 20)
        said = await home.say("volume to sixty")
        assert said.answer == "The volume is 60 percent. Until 07:00 I keep to 30 percent."
        assert (await home.say("volume to ten")).answer == "The volume is 10 percent."
        await home.say("volume to sixty")
        assert speaker.all == (30, 100, 30)
        changes = speaker.changes
        await home.advance(hours=8.9)
        assert speaker.changes == changes, "nothing is said twice"
        await home.advance(minutes=10)
        assert speaker.all == (60, 100, 60)

    use(tmp_path, scene, now=datetime(2025, 11, 21, 21, 50, tzinfo=CET), **QUIET)


def test_a_start_at_night_is_quiet_at_once(tmp_path: Path) -> None:
    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        assert speaker.all == (30, 100, 30)

    use(tmp_path, scene, now=datetime(2025, 11, 21, 2, 0, tzinfo=CET), **QUIET)


@pytest.mark.parametrize(
    ("begin", "end", "quiet", "loud"),
    [
        ("13:00", "15:00", (13, 14), (12, 15)),
        ("22:00", "07:00", (22, 23, 0, 6), (7, 21)),
        ("08:00", "08:00", (0, 8), ()),
    ],
)
def test_quiet_hours_may_go_over_midnight(
    tmp_path: Path, begin: str, end: str, quiet: tuple[int, ...], loud: tuple[int, ...]
) -> None:
    for hour in (*quiet, *loud):

        async def scene(home: PluginHarness, speaker: Speaker, hour: int = hour) -> None:
            assert speaker.all[0] == (30 if hour in quiet else 100), hour

        hours = {"from": begin, "to": end}
        use(tmp_path, scene, now=datetime(2025, 11, 21, hour, 0, tzinfo=CET), quiet_hours=hours)


@pytest.mark.parametrize(
    "hours", [{"from": "ten", "to": "07:00"}, {"from": "22:00"}, {"from": "22:00", "to": "7:00", "max": 200}]
)
def test_wrong_quiet_hours_are_named(tmp_path: Path, hours: dict[str, Any]) -> None:
    registry = ToolRegistry(tmp_path)
    registry.load_candidates([from_file(PLUGIN)], settings={"volume": {"quiet_hours": hours}})
    assert [info.status for info in registry.plugins] == [PluginStatus.CONFIG_ERROR]
    assert "quiet_hours" in registry.plugins[0].reason


def test_the_mixer_of_the_system_is_moved_and_a_knob_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with virtual_sound() as sound:
        for name, value in sound.changed_env.items():
            monkeypatch.setenv(name, value)

        def real() -> str:
            return subprocess.check_output(["pactl", "get-sink-volume", "speaker"], text=True, env=os.environ)

        def turn_a_knob() -> None:
            subprocess.run(["pactl", "set-sink-volume", "speaker", "72%"], check=True)

        async def scene(home: PluginHarness, speaker: Speaker) -> None:
            assert (await home.say("volume to forty percent")).answer == "The volume is 40 percent."
            assert " 40%" in real()
            assert speaker.all == (100, 100, 100), "the parts stay as they are"
            turn_a_knob()
            await home.say("louder")
            assert " 82%" in real()
            assert (await home.say("how loud are you")).answer == "The volume is 82 percent."
            await home.say("alarm volume to fifty")
            assert speaker.all == (100, 50, 100)
            assert " 82%" in real()
            sound.kill()
            with pytest.raises(ToolError, match=r"pactl says: .*refused"):
                await home.call("louder")

        use(tmp_path, scene, mixer=True)


def test_a_mixer_that_is_not_there_shows_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        raise NotImplementedError

    with pytest.raises(AssertionError, match="self-check failed: no mixer was found"):
        use(tmp_path / "state", scene, mixer=True)


def test_alsa_is_asked_where_there_is_no_pulseaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """amixer is not the real one: a machine of tests has no ALSA card."""
    (tmp_path / "amixer").write_text(
        f'#!/bin/sh\nif [ "$2" = sset ]; then echo "$3 $4" > {tmp_path}/set; fi\n'
        "echo '  Mono: Playback 30 [55%] [-20.00dB] [on]'\n"
    )
    (tmp_path / "amixer").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    async def scene(home: PluginHarness, speaker: Speaker) -> None:
        await home.say("louder")
        assert (tmp_path / "set").read_text() == "PCM 65%\n"

    use(tmp_path / "state", scene, mixer=True, mixer_control="PCM")


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("stell die Lautstärke auf vierzig Prozent", "set_volume", {"percent": 40}),
        ("Lautstärke fünfzig", "set_volume", {"percent": 50}),
        ("stell die Lautstärke des Weckers auf siebzig", "set_volume", {"percent": 70, "which": "alarm"}),
        ("lauter", "louder", {}),
        ("mach den Wecker leiser", "quieter", {"which": "alarm"}),
        ("wie laut bist du", "tell_volume", {}),
        ("schalte den Ton aus", "mute_speaker", {}),
        ("mach den Ton wieder an", "unmute_speaker", {}),
    ],
)
def test_it_is_understood_in_german(tmp_path: Path, text: str, tool: str, arguments: dict[str, Any]) -> None:
    registry = ToolRegistry(tmp_path, language="de")
    registry.load(installed=False)
    skills = read_tools(registry.specs(offline=True), language("de"))
    decision = Brain(skills).decide(Said(text))
    assert isinstance(decision, CallTool)
    assert (decision.tool, dict(decision.arguments)) == (tool, arguments)
    if tool == "set_volume":
        answer = ToolAnswered(tool, {}, "The volume is 60 percent. Until 07:00 I keep to 30 percent.")
        spoken = Brain(skills).spoken_answer(answer)
        assert spoken == "Die Lautstärke ist 60 Prozent. Bis 07:00 bleibe ich bei 30 Prozent."

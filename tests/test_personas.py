"""Personas from the config to the wire: what each is asked for, and a daemon that is called by two names."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assistant import wiring
from assistant.config import Config, parse
from assistant.core.personas import Persona
from assistant.errors import ConfigError
from assistant.testing.scripted_server import Peer, Script, ScriptedServer
from assistant.tools.registry import ToolRegistry
from assistant.types import SPEAKER_RATE
from tests.engine_rig import Rig
from tests.house import House, room
from tests.test_daemon import base, serving

TEXT = """\
provider: local
session: {voice: marin, instructions: Be brief.}
personas:
  pirate: {instructions: Be a pirate., tools: [clock]}
  singer: {voice: cedar}
  sage: {provider: openai}
  nobody:
wake:
  words:
    - hey_jarvis
    - {model: alexa, persona: pirate}
    - {model: hey_mycroft, persona: singer}
    - {model: hey_marvin, persona: sage}
"""


def config_of(text: str) -> Config:
    return parse(text, Path("/etc/hearth/config.yaml"))


def test_only_provider_and_voice_need_a_session_of_their_own() -> None:
    assert wiring.personas(config_of(TEXT)) == {
        "alexa": Persona("pirate"),
        "hey_mycroft": Persona("singer", "local cedar"),
        "hey_marvin": Persona("sage", "openai marin"),
    }


def test_what_a_persona_does_not_say_is_the_assistant_s_own(tmp_path: Path) -> None:
    config, tools = config_of(TEXT), ToolRegistry(tmp_path)
    tools.load([])
    pirate = wiring.session_settings(config, tools, "pirate")
    assert (pirate.instructions, pirate.voice) == ("Be a pirate.", "marin")
    offered = {str(tool["name"]) for tool in pirate.tools}
    everything = {str(tool["name"]) for tool in wiring.session_settings(config, tools).tools}
    assert "current_time" in offered, "a plugin's name means all of its tools"
    assert offered < everything and not any("timer" in name for name in offered)
    singer = wiring.session_settings(config, tools, "singer")
    assert (singer.instructions, singer.voice) == ("Be brief.", "cedar")
    assert wiring.session_settings(config, tools, "nobody") == wiring.session_settings(config, tools)
    assert (wiring.provider_of(config, "sage"), wiring.provider_of(config, "")) == ("openai", "local")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("wake: {words: [{model: alexa, persona: priate}]}\npersonas: {pirate: {}}", "persona; there are: pirate"),
        ("wake: {words: [{model: alexa, persona: x}]}", "there is no such persona; there are: none"),
        (
            "personas:\n  pirate:\n    voise: x",
            "3: personas.pirate.voise: there is no such setting; did you mean voice?",
        ),
        ("personas:\n  pirate: {provider: azure}", "azure.endpoint: provider azure needs this"),
        ("personas: {x: {provider: opnai}}", "did you mean openai?"),
        ("personas: {x: {voice: en-US-AvaNeural, provider: openai}}", "a voice of Azure Speech, which provider openai"),
        ("personas: {x: {tools: clock}}", "personas.x.tools: expected a list"),
    ],
)
def test_mistakes_are_explained(text: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(ConfigError) as caught:
        parse(text, Path("config.yaml"))
    assert problem in str(caught.value)


def test_tools_that_nobody_offers_are_pointed_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"personas: {{pirate: {{tools: [clock, timer, set_timer, xyzzy]}}}}\nstate_dir: {tmp_path}"
    registry = wiring.tool_registry(config_of(text), None)
    assert registry.unknown == (
        "personas.pirate.tools: there is no tool or plugin named timer: did you mean timers?",
        "personas.pirate.tools: there is no tool or plugin named xyzzy, or it is off",
    )
    assert all(line in caplog.text for line in registry.unknown)


def test_a_tool_that_was_not_offered_is_not_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outputs: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("conversation.item.create")
        await peer.expect("response.create")
        call = {"type": "function_call", "id": "i", "call_id": "c", "status": "completed"}
        await peer.send("response.created", response={"id": "r", "status": "in_progress"})
        item = {**call, "name": "open_front_door", "arguments": "{}"}
        await peer.send("response.output_item.done", response_id="r", output_index=0, item=item)
        await peer.send("response.done", response={"id": "r", "status": "completed"})
        outputs.append((await peer.expect("conversation.item.create"))["item"]["output"])
        await peer.expect("response.create")
        await peer.answer("I cannot.", bytes(960), response="r2")
        await peer.drain()

    async def main() -> str:
        async with ScriptedServer(script) as server:
            rig = Rig(server.url, tmp_path)
            async with rig.running():
                return await rig.ask()

    assert asyncio.run(main()) == "answered"
    assert outputs == ['{"error": "you have no such tool"}']
    assert "open_front_door, which it was not offered" in caplog.text


TONE = (np.sin(np.arange(SPEAKER_RATE // 2) * 2 * np.pi * 330 / SPEAKER_RATE) * 5000).astype("<i2").tobytes()


def note_what_is_asked(said: list[tuple[int, str, Any]]) -> Script:
    """A server that answers everything; ``said``: (connection, event type, instructions)."""

    async def script(peer: Peer) -> None:
        await peer.send("session.created", session={"type": "realtime"})
        number = 0
        while True:
            event = await peer.receive()
            if event["type"] == "session.update":
                said.append((peer.number, "update", event["session"]["instructions"]))
                await peer.send("session.updated", session=event["session"])
            elif event["type"] == "response.create":
                number += 1
                said.append((peer.number, "create", None))
                ids = f"{peer.number}-{number}"
                await peer.answer("A tone.", TONE, response=f"r{ids}", item=f"i{ids}")

    return script


@pytest.mark.daemon
def test_a_household_calls_its_daemon_by_two_names(tmp_path: Path) -> None:
    more = """
personas: {pirate: {instructions: Be a pirate.}}
wake: {words: [hey_jarvis, {model: alexa, persona: pirate}]}
"""
    said: list[tuple[int, str, Any]] = []
    with serving(note_what_is_asked(said)) as server, House(tmp_path, base(server), more) as house:
        house.start(room(1.0, "hey jarvis", 0.3, "turn on the light", 5.0, "alexa", 0.3, "turn off the light", 6.0))
        assert house.end() == 0, house.log
        assert [entry["outcome"] for entry in house.entries("end_turn")] == ["answered", "answered"], house.log
    updates = [(number, text == "Be a pirate.") for number, what, text in said if what == "update"]
    assert updates == [(1, False), (1, True)], "one session, which becomes somebody else"
    assert [what for _, what, _ in said] == ["update", "create", "update", "create"]

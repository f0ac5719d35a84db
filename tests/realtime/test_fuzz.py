"""A server that says anything: valid events mutated, reordered, cut short, doubled, over a real socket.

Whatever it sends, nothing crashes and nothing hangs: the assistant comes back to rest, or replaces the session.
HEARTH_FUZZ=N tries N times as many examples.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from assistant.core import events as ev
from assistant.core.policy import State
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.testing.virtual_time import run
from tests.engine_rig import Rig

EXAMPLES = 60 * int(os.environ.get("HEARTH_FUZZ", "1"))
PCM = base64.b64encode(bytes(960)).decode()
IDS: dict[str, Any] = {"response_id": "r1", "item_id": "i1", "output_index": 0, "content_index": 0}
CALL = {"type": "function_call", "status": "completed", "call_id": "c1", "name": "clock", "arguments": "{}"}

TURN: list[dict[str, Any]] = [
    {"type": "session.updated", "session": {"type": "realtime", "expires_at": 1}},
    {"type": "input_audio_buffer.committed", "item_id": "u1"},
    {"type": "conversation.item.added", "item": {"id": "u1", "type": "message"}},
    {"type": "response.created", "response": {"id": "r1", "status": "in_progress"}},
    {"type": "response.output_item.added", "response_id": "r1", "item": {"id": "i1", "type": "message"}},
    {"type": "response.output_audio_transcript.delta", **IDS, "delta": "Hello?"},
    {"type": "response.output_audio.delta", **IDS, "delta": PCM},
    {"type": "response.output_audio.delta", **IDS, "delta": PCM},
    {"type": "response.output_audio.done", **IDS},
    {"type": "response.output_item.done", "response_id": "r1", "item": CALL},
    {"type": "response.done", "response": {"id": "r1", "status": "completed", "usage": {"total_tokens": 1}}},
    {"type": "response.created", "response": {"id": "r2", "status": "in_progress"}},
    {"type": "response.output_audio.delta", **{**IDS, "response_id": "r2", "item_id": "i2"}, "delta": PCM},
    {"type": "response.done", "response": {"id": "r2", "status": "cancelled"}},
    {"type": "error", "error": {"code": "conversation_already_has_active_response", "event_id": "create_1_1"}},
    {"type": "error", "error": {"code": "session_expired", "message": "over"}},
    {"type": "rate_limits.updated", "rate_limits": []},
]

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just([]) | st.just({})


@st.composite
def messages(draw: st.DrawFn) -> str:
    """One event, as it should be or not."""
    event = json.loads(json.dumps(draw(st.sampled_from(TURN))))
    match draw(st.sampled_from(["as it is", "as it is", "as it is", "changed", "cut", "unknown"])):
        case "changed":
            place = event
            key = draw(st.sampled_from(sorted(place)))
            if isinstance(place[key], dict) and place[key]:
                place = place[key]
                key = draw(st.sampled_from(sorted(place)))
            place[key] = draw(VALUES)
        case "cut":
            text = json.dumps(event)
            return text[: draw(st.integers(0, len(text)))]
        case "unknown":
            event["type"] += draw(st.sampled_from([".delta", ".x"]))
    return json.dumps(event)


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    st.lists(messages(), max_size=60),
    st.lists(st.sampled_from(["text", "wake", "stop", "wait"]), max_size=6),
    st.booleans(),
)
def test_whatever_a_server_says_the_assistant_comes_to_rest(said: list[str], actions: list[str], polite: bool) -> None:
    async def script(peer: Peer) -> None:
        if polite:
            await peer.open_session()
        try:
            for message in said:
                await peer.send_raw(message)
                await asyncio.sleep(0.05)
            await peer.drain()
        except ConnectionClosed:
            pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with ScriptedServer(script) as server:
            with tempfile.TemporaryDirectory() as folder:
                rig = Rig(server.url, Path(folder))
                async with rig.running():
                    rig.engine.dispatch(ev.TextSubmitted(loop.time(), "hello"))
                    for action in actions:
                        await asyncio.sleep(0.3)
                        match action:
                            case "text":
                                rig.engine.dispatch(ev.TextSubmitted(loop.time(), "again"))
                            case "wake":
                                rig.engine.dispatch(ev.Woken(loop.time(), "alexa", 0.9, 100))
                            case "stop":
                                rig.engine.dispatch(ev.StopRequested(loop.time()))
                    async with asyncio.timeout(600):
                        await rig.engine.idle.wait()
                assert rig.engine.conversation.state is State.IDLE
                begun, ended = rig.all("begin_turn"), rig.all("end_turn")
                assert [entry["turn"] for entry in begun] == [entry["turn"] for entry in ended]

    run(main(), limit_s=7200)

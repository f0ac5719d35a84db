"""The embedded brain in front of a provider. Both are real servers; what the far one got is counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

import pytest

from assistant.core import events as ev
from assistant.core.completeness import Completeness
from assistant.core.events import ResponseStatus
from assistant.core.history import Message
from assistant.local.faults import parse_fault
from assistant.realtime import local_first
from assistant.realtime.local_first import LocalFirstSession, NearMemory
from assistant.realtime.providers import local
from assistant.realtime.session import Endpoint
from assistant.realtime.settings import Persona, SessionSettings
from tests.local.client import run, server, spoken
from tests.local.household import CLOCK, LIGHTS, TIMERS

E = TypeVar("E")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason to ask the provider."""
    monkeypatch.setattr(local_first, "NEAR_PATIENCE_S", 60.0)


class Owner:
    """What the engine is to a session: takes its events."""

    def __init__(self, near: int, far: int) -> None:
        self.events: list[ev.Event] = []
        self.memory = NearMemory()
        self._arrived = asyncio.Event()
        self._read = 0
        self.session = LocalFirstSession(
            1,
            lambda: self._endpoint(far),
            SessionSettings("Be brief.", tools=[CLOCK, LIGHTS, TIMERS]),
            self._take,
            near=(lambda: self._endpoint(near), SessionSettings(tools=[TIMERS])),
            memory=self.memory,
            ready_timeout=10,
        )

    @staticmethod
    async def _endpoint(port: int) -> Endpoint:
        return local(f"ws://127.0.0.1:{port}/v1")

    def _take(self, event: ev.Event) -> None:
        self.events.append(event)
        self._arrived.set()

    async def until(self, kind: type[E]) -> E:
        while True:
            while self._read < len(self.events):
                event = self.events[self._read]
                self._read += 1
                if isinstance(event, kind):
                    return event
            self._arrived.clear()
            await self._arrived.wait()

    def ask(self, text: str, *, aloud: bool = True) -> None:
        if aloud:
            pcm = spoken(text)
            for start in range(0, len(pcm), 960):
                self.session.append(pcm[start : start + 960])
            self.session.commit()
        else:
            self.session.say(text)
        self.session.create_response()

    async def answered(self, call: ev.ToolCalled, text: str) -> str:
        """Answer a tool's call; gives what is said then."""
        self.session.answer_call(call.call, json.dumps({"say": text}))
        self.session.create_response()
        said = (await self.until(ev.AnswerText)).delta
        await self.until(ev.ResponseDone)
        return said

    def count(self, kind: type[ev.Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@contextlib.asynccontextmanager
async def owner(near: Sequence[str] = (), far: Sequence[str] = (), **far_settings: Any) -> AsyncIterator[Owner]:
    """Two servers with their faults, and a session in front of both."""
    faults = {"near": tuple(parse_fault(spec) for spec in near), "far": tuple(parse_fault(spec) for spec in far)}
    async with server(faults=faults["near"]) as home, server(faults=faults["far"], **far_settings) as cloud:
        served = Owner(home, cloud)
        async with asyncio.TaskGroup() as group:
            group.create_task(served.session.run())
            yield served
            served.session.close()


def test_what_the_house_understands_never_leaves_it() -> None:
    async def main() -> None:
        async with owner() as house:
            for aloud in (True, False):
                house.ask("set a timer for five minutes", aloud=aloud)
                call = await house.until(ev.ToolCalled)
                assert (call.tool, json.loads(call.arguments)) == ("timer_set", {"n": 5, "unit": "minutes"})
                assert (await house.until(ev.ResponseDone)).response == call.response
                assert await house.answered(call, "Timer set.") == "Timer set."
            await house.until(ev.SessionReady) if not house.count(ev.SessionReady) else None
            counters = house.session.counters
            assert (counters.audio_bytes, counters.messages_out) == (0, 1)  # the settings of the session
            # A later session is told of the talk before, but not of this.
            talk = [
                Message("user", "set a timer for five minutes"),
                Message("assistant", "Timer set."),
                Message("user", "who was Ada?"),
            ]
            house.session.restore(talk)
            house.ask("what time is it", aloud=False)
            await house.until(ev.ToolCalled)
            assert counters.messages_out == 1 + 1 + 2  # one old message, the request, and the response

    run(main)


def test_the_house_tells_whether_its_own_sentences_are_whole() -> None:
    async def main() -> None:
        async with owner() as house:
            house.ask("set a timer for five minutes")  # the microphone's first utterance
            await house.answered(await house.until(ev.ToolCalled), "Timer set.")

            async def so_far() -> Completeness:
                told: asyncio.Future[Completeness] = asyncio.get_running_loop().create_future()
                house.session.ask_completeness(told.set_result)
                return await told

            for text, found in (
                ("set a timer for", Completeness.UNFINISHED),
                ("what time is it", Completeness.OPEN),  # the provider's
            ):
                house.session.append(spoken(text))
                assert await so_far() is found
                house.session.clear()

    run(main)


def test_everything_else_goes_to_the_provider_with_the_same_audio() -> None:
    async def main() -> None:
        async with owner() as house:
            for aloud in (True, False):
                house.ask("what time is it", aloud=aloud)
                created = await house.until(ev.ResponseCreated)
                call = await house.until(ev.ToolCalled)
                assert (call.tool, call.response) == ("time_get", created.response)
                done = await house.until(ev.ResponseDone)
                assert (done.response, done.status) == (created.response, ResponseStatus.COMPLETED)
                assert await house.answered(call, "It is noon.") == "It is noon."
            assert house.session.counters.audio_bytes == len(spoken("what time is it"))
            assert house.count(ev.ResponseCreated) == house.count(ev.ResponseDone) == 4
            # Turn by turn it may be another's.
            house.ask("set a timer for two hours", aloud=False)
            assert (await house.until(ev.ToolCalled)).tool == "timer_set"
            assert house.session.counters.audio_bytes == len(spoken("what time is it"))

    run(main)


def test_an_answer_of_the_provider_s_can_be_cancelled_and_cut_by_the_id_that_is_known() -> None:
    async def main() -> None:
        async with owner(pacing="realtime") as house:
            house.ask("what can you do", aloud=False)
            audio = await house.until(ev.AnswerAudio)
            house.session.cancel_response(audio.response)
            house.session.truncate(audio.item, 10)  # type: ignore[arg-type]
            done = await house.until(ev.ResponseDone)
            assert (done.response, done.status) == (audio.response, ResponseStatus.CANCELLED)
            # Before the provider has begun, too.
            house.ask("what can you do", aloud=False)
            created = await house.until(ev.ResponseCreated)
            house.session.cancel_response(created.response)
            done = await house.until(ev.ResponseDone)
            assert (done.response, done.status) == (created.response, ResponseStatus.CANCELLED)

    run(main)


def test_a_request_that_is_taken_back_is_nobody_s() -> None:
    async def main() -> None:
        async with owner() as house:
            house.session.append(spoken("set a timer for five minutes"))
            house.session.clear()
            house.ask("set a timer for two hours")
            assert json.loads((await house.until(ev.ToolCalled)).arguments) == {"n": 2, "unit": "hours"}
            assert house.session.counters.audio_bytes == 0

    run(main)


def test_without_the_embedded_brain_the_provider_answers_all() -> None:
    async def main() -> None:
        for fault in ("handshake=503", "fail", "drop"):
            async with owner(near=[fault]) as house:
                house.ask("set a timer for five minutes")
                assert (await house.until(ev.ToolCalled)).tool == "timer_set"
                done = await house.until(ev.ResponseDone)
                assert done.status is ResponseStatus.COMPLETED
                assert house.count(ev.SessionLost) == 0

    run(main)


def test_an_embedded_brain_that_thinks_too_long_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(local_first, "NEAR_PATIENCE_S", 0.1)

    async def main() -> None:
        async with owner(near=["slow=3600"]) as house:
            house.ask("set a timer for five minutes")
            assert (await house.until(ev.ToolCalled)).tool == "timer_set"
            assert (await house.until(ev.ResponseDone)).status is ResponseStatus.COMPLETED
            assert house.session.counters.audio_bytes > 0
            assert house.count(ev.ResponseCreated) == 1

    run(main)
    assert "did not decide" in caplog.text


def test_without_the_provider_the_house_answers_what_it_can_and_then_says_so() -> None:
    async def main() -> None:
        async with owner(far=["handshake=503"]) as house:
            house.ask("set a timer for five minutes")
            call = await house.until(ev.ToolCalled)
            assert await house.answered(call, "Timer set.") == "Timer set."
            assert isinstance(house.events[-1], ev.SessionLost) or await house.until(ev.SessionLost)
        async with owner(far=["handshake=503"]) as house:
            house.ask("what time is it")
            assert (await house.until(ev.SessionLost)).failure.retryable
            assert house.count(ev.ToolCalled) == 0

    run(main)


def test_a_brain_that_dies_while_it_answers_is_a_failed_response() -> None:
    async def main() -> None:
        async with owner(near=["drop"]) as house:
            house.ask("set a timer for five minutes", aloud=False)
            call = await house.until(ev.ToolCalled)  # one piece of arguments, so that the fault waits
            await house.until(ev.ResponseDone)
            house.session.answer_call(call.call, json.dumps({"say": "The timer is set to five minutes, as you wish."}))
            house.session.create_response()
            assert (await house.until(ev.ResponseDone)).status is ResponseStatus.FAILED
            house.session.create_response()
            await house.until(ev.ResponseRefused)
            house.ask("what time is it", aloud=False)
            assert (await house.until(ev.ToolCalled)).tool == "time_get"

    run(main)


def test_another_persona_has_its_own_tools_in_both() -> None:
    async def main() -> None:
        async with owner() as house:
            house.session.change_persona(Persona("You are a clock.", [CLOCK]))
            house.ask("set a timer for five minutes", aloud=False)
            await house.until(ev.ResponseDone)
            assert house.count(ev.ToolCalled) == 0
            assert not house.session.offers("timer_set")

    run(main)


def test_an_announcement_is_said_by_the_provider() -> None:
    async def main() -> None:
        async with owner() as house:
            house.session.create_response(announce="The washing is done.")
            assert (await house.until(ev.AnswerText)).delta == "The washing is done."

    run(main)

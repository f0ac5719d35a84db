"""Hostile tools. Those that never return are given a real limit of 20 ms; nothing here waits for longer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.plugin import ToolError, tool
from assistant.tools.loading import from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolOutcome, ToolRunner, encode

SHORT_S = 0.02


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Lets blocked tools go at the end of a test."""
    event = threading.Event()
    yield event
    event.set()


def runner_for(*functions: Callable[..., Any], **options: Any) -> ToolRunner:
    registry = ToolRegistry(Path("unused"))
    registry.load_candidates([from_object(function.__name__, function) for function in functions])
    assert all(info.status is PluginStatus.ENABLED for info in registry.plugins), registry.plugins
    return ToolRunner(registry, **options)


def run(*functions: Callable[..., Any], arguments: str = "", **options: Any) -> ToolOutcome:
    """Call the first function once."""

    async def main() -> ToolOutcome:
        runner = runner_for(*functions, **options)
        try:
            return await runner.call(functions[0].__name__, arguments)
        finally:
            await runner.close(SHORT_S)

    return asyncio.run(main())


def message(outcome: ToolOutcome) -> str:
    error = json.loads(outcome.output)["error"]
    assert isinstance(error, str)
    return error


# --- what comes back --------------------------------------------------------------------------------------------------


@dataclass
class Reading:
    celsius: float
    at: datetime


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ("Zwölf Grad.", '"Zwölf Grad."'),
        ({"say": "Done.", "n": [1, None]}, '{"say":"Done.","n":[1,null]}'),
        (None, "null"),
        (Reading(20.5, datetime(2025, 1, 2, tzinfo=UTC)), '{"celsius":20.5,"at":"2025-01-02T00:00:00Z"}'),
        ({"x": float("nan"), "y": float("inf")}, '{"x":null,"y":null}'),
        ([Path("a")], '["a"]'),
    ],
)
@pytest.mark.parametrize("sync", [True, False])
def test_a_result_reaches_the_model_as_json(result: object, output: str, sync: bool) -> None:
    @tool
    def blocking() -> object:
        """Do."""
        return result

    @tool
    async def awaiting() -> object:
        """Do."""
        return result

    outcome = run(blocking if sync else awaiting)
    assert (outcome.status, outcome.output) == ("ok", output)
    assert outcome.duration_s >= 0


def test_arguments_are_parsed_checked_and_passed_on() -> None:
    @tool
    def add(a: int, b: int = 5) -> str:
        """Add."""
        return str(a + b)

    assert run(add, arguments='{"a": "2"}').output == '"7"'
    for bad in (
        '{"a": ',
        "[1]",
        '"a"',
        '{"a": NaN}',
        "[" * 100_000,
        '{"a": 1, "c": 2}',
        '{"a": "\\ud800"}',
        "",
        "null",
    ):
        outcome = run(add, arguments=bad)
        assert outcome.status == "invalid", bad[:20]
        assert message(outcome).startswith("add: ")
        outcome.output.encode()


def test_an_unknown_tool() -> None:
    @tool
    def known() -> None:
        """Do."""

    async def main() -> ToolOutcome:
        return await runner_for(known).call("unknown\ud800", "{}")

    outcome = asyncio.run(main())
    assert outcome.status == "unknown"
    outcome.output.encode()


def test_a_tool_error_is_told_in_its_own_words_and_anything_else_is_not(caplog: pytest.LogCaptureFixture) -> None:
    @tool
    def refuses() -> None:
        """Do."""
        raise ToolError("There is no timer named pasta.")

    @tool
    async def fails() -> None:
        """Do."""
        raise ValueError("what the user said")

    outcome = run(refuses)
    assert (outcome.status, message(outcome)) == ("error", "There is no timer named pasta.")
    outcome = run(fails)
    assert outcome.status == "crashed"
    assert "ValueError" in message(outcome)
    assert "what the user said" not in outcome.output + caplog.text
    assert "ValueError at test_runner.py:" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError])
@pytest.mark.parametrize("sync", [True, False])
def test_no_exception_gets_out(kind: type[BaseException], sync: bool) -> None:
    @tool
    def blocking() -> None:
        """Do."""
        raise kind

    @tool
    async def awaiting() -> None:
        """Do."""
        raise kind

    outcome = run(blocking if sync else awaiting)
    assert outcome.status == "crashed"


def test_recursion_and_what_is_not_json_are_crashes() -> None:
    @tool
    def deep() -> str:
        """Do."""
        return deep()

    @tool
    def cyclic() -> object:
        """Do."""
        loop: list[object] = []
        loop.append(loop)
        return loop

    @tool
    async def opaque() -> object:
        """Do."""
        return object()

    @tool
    def surrogate() -> str:
        """Do."""
        return "\ud800"

    @tool
    def forgot_await() -> Awaitable[None]:
        """Do."""
        return asyncio.sleep(0)

    @tool
    def exits_in_a_message() -> None:
        """Do."""

        class Hostile(ToolError):
            def __str__(self) -> str:
                raise ValueError

        raise Hostile

    for function in (deep, cyclic, opaque, surrogate, forgot_await):
        assert run(function).status == "crashed", function.__name__
    assert run(exits_in_a_message).status == "error"


def test_a_megabyte_is_cut_and_says_so() -> None:
    @tool
    def floods() -> dict[str, str]:
        """Do."""
        return {"data": "x" * 1_000_000, "say": "Here is a lot."}

    outcome = run(floods)
    assert outcome.status == "ok"
    assert len(outcome.output) <= 16_000
    result = json.loads(outcome.output)
    assert result["say"] == "Here is a lot."
    assert result["note"].startswith("cut: the result has 1000")
    assert result["beginning"].startswith('{"data":"xxx')


@given(st.text(st.characters(codec="utf-8"), max_size=400), st.integers(100, 300))
def test_a_cut_result_is_valid_json_within_the_limit(text: str, limit: int) -> None:
    for result in (text, {"say": text}, [text]):
        output = encode(result, limit)
        assert len(output) <= limit
        json.loads(output)


# --- what does not come back ------------------------------------------------------------------------------------------


def test_a_tool_that_never_returns_is_cancelled_and_its_end_awaited() -> None:
    ended = []

    @tool
    async def sleeps() -> None:
        """Do."""
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    outcome = run(sleeps, default_time_limit_s=SHORT_S)
    assert outcome.status == "timeout"
    assert message(outcome) == "sleeps took longer than 0.02 s and was given up"
    assert ended


@tool
async def swallows() -> None:
    """Do."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


def test_a_tool_that_swallows_its_cancellation_is_left_behind_and_ended_at_close() -> None:
    async def main() -> None:
        runner = runner_for(swallows, default_time_limit_s=SHORT_S, threads=2)
        assert (await runner.call("swallows", "")).status == "timeout"
        assert (await runner.call("swallows", "")).status == "timeout"
        assert runner.stuck == 2
        outcome = await runner.call("swallows", "")
        assert (outcome.status, message(outcome)) == ("refused", "2 tool calls are stuck: try again later")
        await runner.close(SHORT_S)
        assert runner.stuck == 0

    asyncio.run(main())  # without the close this would wait for ever


def test_a_blocking_tool_keeps_its_thread_and_nothing_else(release: threading.Event) -> None:
    @tool(time_limit_s=SHORT_S)
    def blocks() -> None:
        """Do."""
        release.wait()

    @tool
    def quick() -> str:
        """Do."""
        return "quick"

    async def main() -> None:
        runner = runner_for(blocks, quick, threads=2)
        assert (await runner.call("blocks", "")).status == "timeout"
        assert (await runner.call("quick", "")).status == "ok"
        assert (await runner.call("blocks", "")).status == "timeout"
        outcome = await runner.call("quick", "")
        assert (outcome.status, message(outcome)) == ("refused", "all 2 threads for tools are busy: try again later")
        release.set()
        for thread in threading.enumerate():
            if thread.name == "tool thread":
                thread.join()
        assert (await runner.call("quick", "")).status == "ok"

    asyncio.run(main())


STUCK = """
import asyncio, threading
from pathlib import Path
from assistant.plugin import tool
from assistant.tools.loading import from_object
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner

@tool
def stuck() -> None:
    "Do."
    threading.Event().wait()

async def main() -> None:
    registry = ToolRegistry(Path("unused"))
    registry.load_candidates([from_object("stuck", stuck)])
    print((await ToolRunner(registry, default_time_limit_s=0.02).call("stuck", "")).status)

asyncio.run(main())
"""


def test_ending_the_process_does_not_wait_for_a_stuck_thread() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", STUCK], cwd=root, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout\n", "")


def test_a_blocking_tool_sees_the_callers_context() -> None:
    turn: ContextVar[int] = ContextVar("turn")

    @tool
    def which() -> int:
        """Do."""
        return turn.get()

    turn.set(7)
    assert run(which).output == "7"


@pytest.mark.parametrize("sync", [True, False])
def test_cancelling_a_call_lets_go_of_the_tool(sync: bool, release: threading.Event) -> None:
    ended = []

    async def main() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        @tool
        def blocking() -> None:
            """Do."""
            loop.call_soon_threadsafe(begun.set)
            release.wait()

        @tool
        async def awaiting() -> None:
            """Do."""
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(True)

        function = blocking if sync else awaiting
        runner = runner_for(function)
        async with asyncio.TaskGroup() as group:
            call = group.create_task(runner.call(function.__name__, ""))
            await begun.wait()
            call.cancel()
        assert call.cancelled()
        await runner.close(SHORT_S)

    asyncio.run(main())
    assert ended == ([] if sync else [True])


def test_calls_run_side_by_side() -> None:
    async def main() -> None:
        both = threading.Barrier(2, timeout=10)

        @tool
        def meet() -> str:
            """Do."""
            both.wait()
            return "met"

        runner = runner_for(meet)
        outcomes = await asyncio.gather(runner.call("meet", ""), runner.call("meet", ""))
        assert [outcome.output for outcome in outcomes] == ['"met"', '"met"']

    asyncio.run(main())

"""Time spans as people say them, with the timers that they are for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from assistant.local.brain import Brain, Exchange, Said, Say
from assistant.local.grammar import compile_grammar
from assistant.local.skills import read_tools
from assistant.testing.plugins import PluginHarness
from assistant.tools.registry import ToolRegistry
from tests.plugins.spoken import understood

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
SPANS = {
    "five minutes": (5, "minutes"),
    "twenty five minutes": (25, "minutes"),
    "half an hour": (30, "minutes"),
    "a quarter of an hour": (15, "minutes"),
    "an hour and a half": (90, "minutes"),
    "two and a half hours": (150, "minutes"),
    "one hour and twenty minutes": (80, "minutes"),
    "five and a half minutes": (330, "seconds"),
    "two hours": (2, "hours"),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> ToolRegistry:
    registry = ToolRegistry(tmp_path_factory.mktemp("state"))
    registry.load([PLUGINS], installed=False)
    return registry


@pytest.mark.parametrize("text", SPANS)
def test_a_timer_for_any_span(registry: ToolRegistry, text: str) -> None:
    amount, unit = SPANS[text]
    assert understood(registry, f"set a timer for {text}") == ("set_timer", {"amount": amount, "unit": unit})


def test_all_of_them_can_be_spoken(registry: ToolRegistry) -> None:
    grammar, problems = compile_grammar(read_tools(registry.specs(offline=True, allowed=["timers"])))
    assert problems == ()
    assert [text for text in SPANS if not grammar.graph.accepts(f"set a timer for {text}".split())] == []


def test_a_timer_without_a_time_asks_for_how_long(registry: ToolRegistry) -> None:
    brain = Brain(read_tools(registry.specs(offline=True)))
    assert brain.decide(Said("start a pasta timer")) == Say("For how long?")
    history = [Exchange("start a pasta timer", "For how long?")]
    call = brain.decide(Said("for half an hour"), history=history)
    assert getattr(call, "arguments", None) == {"name": "pasta", "amount": 30, "unit": "minutes"}


def test_a_plugin_s_own_test_can_answer_a_question(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(PLUGINS / "timers", tmp_path) as home:
            assert (await home.say("set a timer")).answer == "For how long?"
            assert (await home.say("half an hour")).answer == "Timer set for 30 minutes."
            assert (await home.say("say that again")).answer == "Timer set for 30 minutes."

    asyncio.run(main())

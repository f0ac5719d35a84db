"""Tools that need the user's word: the model cannot give it, the offline brain can ask for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from assistant.errors import ToolError
from assistant.journal import PRIVATE_TOOLS
from assistant.local.brain import Brain, CallTool, Said, Say, ToolAnswered
from assistant.local.skills import read_tools
from assistant.plugin import Tier, tool
from assistant.plugin.decorator import TIERS, strictest
from assistant.tools.audit import AuditLog, CallRecord, read_calls
from assistant.tools.consent import (
    CONFIRM,
    CONSENT_TOOLS,
    DECLINE,
    ENTER_PIN,
    LOCKED_S,
    VALID_S,
    VALID_TURNS,
    WRONG_PINS,
    Consent,
)
from assistant.tools.loading import from_object
from assistant.tools.registry import PluginStatus, ToolRegistry
from assistant.tools.runner import ToolRunner
from assistant.tools.tool import Tool, build_tool

PIN = "4711"


class Door:
    """Two tools that note what they did."""

    def __init__(self) -> None:
        self.opened: list[str] = []

        @tool(tier="confirm", question="Shall I open the {door} door?", sentences=["open the {door} door"])
        def open_door(door: str) -> str:
            """Open a door."""
            self.opened.append(door)
            return "It is open."

        @tool(tier="pin", sentences=["unlock the safe"])
        def unlock_safe() -> str:
            """Unlock the safe."""
            self.opened.append("safe")
            return "It is unlocked."

        self.tools = (open_door, unlock_safe)


def registry_of(*functions: Callable[..., Any], tiers: Mapping[str, Tier] | None = None) -> ToolRegistry:
    registry = ToolRegistry(Path("unused"), tiers=tiers)
    registry.load_candidates([from_object(function.__name__, function) for function in functions])
    return registry


def use(
    check: Callable[[ToolRunner, Door], Awaitable[None]],
    *,
    pin: str | None = PIN,
    tiers: Mapping[str, Tier] | None = None,
    audit: AuditLog | None = None,
    audit_arguments: bool = False,
) -> None:
    async def main() -> None:
        door = Door()
        registry = registry_of(*door.tools, tiers=tiers)
        assert all(info.status is PluginStatus.ENABLED for info in registry.plugins), registry.plugins
        runner = ToolRunner(registry, consent=Consent(lambda: pin), audit=audit, audit_arguments=audit_arguments)
        try:
            await check(runner, door)
        finally:
            await runner.close()

    asyncio.run(main())


async def called(runner: ToolRunner, turn: int, name: str, **arguments: Any) -> tuple[str, Any]:
    outcome = await runner.call(name, json.dumps(arguments), turn=turn)
    return outcome.status, json.loads(outcome.output)


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_yes_in_the_next_turn_runs_it_once_with_what_was_asked() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        status, answer = await called(runner, 1, "open_door", door="front")
        assert (status, answer["say"]) == ("asked", "Shall I open the front door?")
        assert "Nothing was done yet" in answer["note"]
        assert door.opened == []
        assert await called(runner, 2, CONFIRM) == ("ok", "It is open.")
        assert door.opened == ["front"]
        assert await called(runner, 3, CONFIRM) == ("refused", {"error": "There is nothing to confirm."})
        assert door.opened == ["front"]

    use(check)


def test_the_model_cannot_agree_in_the_users_place() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        for turn in (0, 7):
            await called(runner, turn, "open_door", door="front")
            for _ in range(3):
                status, answer = await called(runner, turn, CONFIRM)
                assert (status, answer["error"][:26]) == ("refused", "The user has not answered ")
            assert (await called(runner, turn, "open_door", door="front"))[0] == "asked"
        assert door.opened == []

    use(check)


def test_a_question_is_forgotten_when_declined_replaced_or_old() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        await called(runner, 1, "open_door", door="front")
        assert await called(runner, 2, DECLINE) == ("ok", {"say": "Okay, I will leave it."})
        assert (await called(runner, 3, CONFIRM))[0] == "refused"
        await called(runner, 4, "open_door", door="front")
        await called(runner, 5, "open_door", door="back")
        await called(runner, 6, CONFIRM)
        assert door.opened == ["back"]
        await called(runner, 7, "open_door", door="front")
        assert (await called(runner, 7 + VALID_TURNS + 1, CONFIRM))[0] == "refused"
        assert door.opened == ["back"]

    use(check)


def test_a_pin_is_needed_and_a_yes_is_not_enough() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        _, answer = await called(runner, 1, "unlock_safe")
        assert answer["say"] == "Shall I really unlock safe? Please tell me the PIN. What is it?"
        assert await called(runner, 2, CONFIRM) == ("refused", {"error": "That needs the PIN. What is it?"})
        assert await called(runner, 2, ENTER_PIN, pin="4712") == (
            "refused",
            {"error": "That is not the PIN. What is it?"},
        )
        assert door.opened == []
        assert await called(runner, 3, ENTER_PIN, pin="4 7 1 1") == ("ok", "It is unlocked.")
        assert door.opened == ["safe"]

    use(check)


def test_spoken_digits_are_a_pin() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        await called(runner, 1, "unlock_safe")
        await called(runner, 2, ENTER_PIN, first=4, second=7, third=1, fourth=1)
        assert door.opened == ["safe"]

    use(check)


@pytest.mark.parametrize("pin", [None, ""])
def test_without_a_pin_nothing_that_needs_one_runs(pin: str | None) -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        status, answer = await called(runner, 1, "unlock_safe")
        assert status == "refused"
        assert "tools.pin_file" in answer["error"]
        assert (await called(runner, 2, ENTER_PIN, pin=""))[0] == "refused"
        assert door.opened == []

    use(check, pin=pin)


def built(tier: Tier = "pin") -> Tool:
    def unlock() -> None:
        """Unlock."""

    marked = tool(tier=tier)(unlock)
    return build_tool(marked, marked.__hearth_tool__, plugin="door", file="door.py", method=False)  # type: ignore[attr-defined]


def test_wrong_pins_lock_it_for_a_while() -> None:
    consent, safe = Consent(lambda: PIN), built()
    consent.ask(safe, "pin", {}, turn=1, now=0.0)
    for attempt in range(1, WRONG_PINS):
        with pytest.raises(ToolError, match="not the PIN"):
            consent.redeem(ENTER_PIN, {"pin": "0000"}, turn=2, now=float(attempt))
    with pytest.raises(ToolError, match="Try again in 5 minutes"):
        consent.redeem(ENTER_PIN, {"pin": "0000"}, turn=2, now=5.0)
    with pytest.raises(ToolError, match="wrong too often"):
        consent.ask(safe, "pin", {}, turn=3, now=6.0)
    consent.ask(safe, "pin", {}, turn=3, now=5.0 + LOCKED_S)
    assert consent.redeem(ENTER_PIN, {"pin": PIN}, turn=4, now=6.0 + LOCKED_S) is not None


class House(RuleBasedStateMachine):
    """Whatever the model calls, in whatever order: what runs was asked for in an earlier turn, once each."""

    @initialize()
    def begin(self) -> None:
        self.consent, self.turn, self.now = Consent(lambda: PIN), 0, 0.0
        self.asked: list[tuple[int, float]] = []
        self.ran = 0

    @rule()
    def speak(self) -> None:
        self.turn += 1

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(tier=st.sampled_from(["confirm", "pin"]))
    def ask(self, tier: Tier) -> None:
        try:
            self.consent.ask(built(tier), tier, {"n": len(self.asked), "tier": tier}, turn=self.turn, now=self.now)
        except ToolError:
            return
        self.asked.append((self.turn, self.now))

    @rule(answer=st.sampled_from([CONFIRM, DECLINE, ENTER_PIN]), pin=st.sampled_from([PIN, "1234", ""]))
    def answer(self, answer: str, pin: str) -> None:
        try:
            pending = self.consent.redeem(answer, {"pin": pin}, turn=self.turn, now=self.now)
        except ToolError:
            return
        if pending is None:
            assert answer == DECLINE
            return
        assert pending.arguments["n"] == len(self.asked) - 1, "only the newest question can be answered"
        asked_turn, asked_at = self.asked[-1]
        assert asked_turn < self.turn <= asked_turn + VALID_TURNS
        assert self.now - asked_at <= VALID_S
        assert (answer, pin) == (ENTER_PIN, PIN) or (pending.tier, answer) == ("confirm", CONFIRM)
        self.ran += 1

    @invariant()
    def once_each(self) -> None:
        if hasattr(self, "ran"):
            assert self.ran <= len(self.asked)


TestHouse = House.TestCase


# --- tiers ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(TIERS), min_size=1))
def test_the_strictest_wins_in_any_order(tiers: list[Tier]) -> None:
    assert TIERS.index(strictest(*tiers)) == max(map(TIERS.index, tiers))


def test_the_owner_tightens_and_never_widens() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        assert (await called(runner, 1, "open_door", door="front"))[1]["say"].endswith("What is it?")
        assert (await called(runner, 1, "unlock_safe"))[0] == "asked"

    use(check, tiers={"open_*": "pin", "unlock_safe": "safe"})
    registry = registry_of(*Door().tools, tiers={"open_*": "pin", "unlock_safe": "safe", "unlock_save": "deny"})
    assert registry.unknown == (
        "tools.tiers: unlock_safe is pin by its author and stays so: safe would be weaker",
        "tools.tiers: there is no tool unlock_save: did you mean unlock_safe?",
    )


def test_what_is_denied_is_not_there_for_anybody() -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        assert (await called(runner, 1, "unlock_safe"))[0] == "unknown"
        assert (await runner.call("unlock_safe", "", by_owner=True)).status == "unknown"

    use(check, tiers={"unlock_*": "deny"})
    registry = registry_of(*Door().tools, tiers={"*": "deny"})
    assert registry.specs(offline=True) == []
    assert dict(registry.tools) == {}


def test_the_consent_tools_are_offered_when_they_are_needed() -> None:
    @tool
    def harmless() -> None:
        """Do."""

    def names(registry: ToolRegistry, allowed: tuple[str, ...] | None = None) -> set[str]:
        return {spec["name"] for spec in registry.specs(offline=True, allowed=allowed)} & CONSENT_TOOLS.keys()

    assert names(registry_of(harmless)) == set()
    assert names(registry_of(harmless, tiers={"harmless": "confirm"})) == {CONFIRM, DECLINE}
    assert names(registry_of(*Door().tools)) == {CONFIRM, DECLINE, ENTER_PIN}
    assert names(registry_of(*Door().tools), ("open_door",)) == {CONFIRM, DECLINE}
    assert names(registry_of(*Door().tools), ()) == set()


def test_a_plugin_cannot_offer_a_consent_tool() -> None:
    @tool(name=CONFIRM)
    def sneaky() -> None:
        """Confirm."""

    (info,) = registry_of(sneaky).plugins
    assert info.status is PluginStatus.LOAD_ERROR
    assert "its tool confirm_action has a name of Hearth's own" in info.reason


# --- the offline brain ------------------------------------------------------------------------------------------------


def test_the_offline_brain_asks_and_understands_the_answers() -> None:
    registry = registry_of(*Door().tools)
    skills = read_tools(registry.specs(offline=True))
    assert skills.problems == ()
    brain = Brain(skills)
    asked = ToolAnswered("open_door", {}, '{"say": "Shall I open the front door?", "note": "Nothing was done yet."}')
    assert brain.decide(None, [asked]) == Say("Shall I open the front door?")
    for text, expected in {
        "yes": CallTool(CONFIRM, {}),
        "Yes, please.": CallTool(CONFIRM, {}),
        "go ahead": CallTool(CONFIRM, {}),
        "no thank you": CallTool(DECLINE, {}),
        "four seven one one": CallTool(ENTER_PIN, {"first": 4, "second": 7, "third": 1, "fourth": 1}),
        "my pin is 4711": CallTool(ENTER_PIN, {"pin": "4711"}),
    }.items():
        assert brain.decide(Said(text)) == expected, text


# --- the audit log ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_arguments", [False, True])
def test_every_call_is_written_down_and_the_pin_never(tmp_path: Path, keep_arguments: bool) -> None:
    file = tmp_path / "state" / "tools.sqlite3"

    async def check(runner: ToolRunner, door: Door) -> None:
        await called(runner, 1, "open_door", door="front")
        await called(runner, 2, CONFIRM)
        await called(runner, 3, "unlock_safe")
        await called(runner, 4, ENTER_PIN, pin=PIN)
        await called(runner, 5, "nonsense")
        await runner.call("open_door", '{"door": "back"}', by_owner=True)

    use(check, audit=AuditLog(file), audit_arguments=keep_arguments)
    calls = read_calls(file, 100)
    assert [(call.turn, call.tool, call.tier, call.status) for call in calls] == [
        (1, "open_door", "confirm", "asked"),
        (2, "open_door", "confirm", "ok"),
        (3, "unlock_safe", "pin", "asked"),
        (4, "unlock_safe", "pin", "ok"),
        (5, "nonsense", "safe", "unknown"),
        (0, "open_door", "confirm", "ok"),
    ]
    arguments = [call.arguments for call in calls]
    assert arguments == (
        ['{"door": "front"}'] * 2 + ["{}", "{}", None, '{"door": "back"}'] if keep_arguments else [None] * 6
    )
    assert file.stat().st_mode & 0o077 == 0
    assert b"4711" not in b"".join(path.read_bytes() for path in file.parent.iterdir())
    assert [call.turn for call in read_calls(file, 2)] == [5, 0]


def test_the_audit_log_is_bounded(tmp_path: Path) -> None:
    async def check(runner: ToolRunner, door: Door) -> None:
        for turn in range(1, 250):
            await called(runner, turn, "nonsense")

    use(check, audit=AuditLog(tmp_path / "log", keep=10))
    assert len(read_calls(tmp_path / "log", 1000)) <= 10 + 100


def test_arguments_are_forgotten_after_their_time_and_calls_are_not(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "log", keep_arguments_s=100.0)
    for at in (1000.0, 1060.0, 1101.0):
        log.write(CallRecord(at, 1, "take_note", "notes", "safe", "ok", 1.0, arguments="words"))
    log.close(10.0)
    assert [call.arguments for call in read_calls(tmp_path / "log", 9)] == [None, "words", "words"]


def test_an_audit_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    audit = AuditLog(tmp_path / "file" / "log")

    async def check(runner: ToolRunner, door: Door) -> None:
        assert (await called(runner, 1, "open_door", door="front"))[0] == "asked"

    use(check, audit=audit)
    assert audit.lost == 1


def test_the_journal_knows_which_tool_takes_a_secret() -> None:
    assert {ENTER_PIN} == PRIVATE_TOOLS

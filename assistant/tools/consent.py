"""Asking before acting: tools of tier ``confirm`` and ``pin`` run only after the user has agreed in a later turn.

The model cannot agree in the user's place. A call of such a tool is put aside and answered with a question; what was
put aside runs when :data:`CONFIRM` or :data:`ENTER_PIN` is called in a *later* turn, and a turn begins only when the
user speaks or writes. It runs with the arguments about which the user was asked, once, and only for a while::

    call ──> asked ──confirm or PIN, in one of the next turns──> runs
               ├── declined, or another question asked ──> forgotten
               └── two turns or a minute later ──> forgotten

Cloud models find the two tools in their list with a description of when to call them. The offline brain reaches them
by their sentences: "yes", "my pin is one two three four".

PURE but for comparing in constant time: the time is an argument.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from assistant.errors import ToolError
from assistant.plugin import Field, Tier
from assistant.plugin.decorator import tool, tool_options
from assistant.tools.tool import CONSENT, Tool, build_tool

CONFIRM: Final = "confirm_action"
ENTER_PIN: Final = "enter_pin"
DECLINE: Final = "decline_action"

VALID_TURNS: Final = 2
"""How many turns a question stays open: one may be lost to a misheard answer."""

VALID_S: Final = 60.0
WRONG_PINS: Final = 3
"""So many wrong PINs in a row, and none is taken for ``LOCKED_S`` seconds."""

LOCKED_S: Final = 300.0

_PLACE = re.compile(r"\{(\w+)\}")
_DIGITS = "{first} {second} {third} {fourth}"

Digit = Annotated[int, Field(ge=0, le=9)]


@tool(name=CONFIRM, sentences=["yes [please]", "yes do it", "do it", "go ahead", "yes i am sure", "i am sure"])
def _confirm() -> None:
    """Carry out the action about which the user was just asked. Call it only after the user has agreed aloud."""


@tool(name=DECLINE, sentences=["no [thanks|thank you]", "do not do it", "don't do it", "better not"])
def _decline() -> None:
    """Forget the action about which the user was just asked, because the user does not want it."""


@tool(
    name=ENTER_PIN,
    sentences=[f"[(the|my)] (pin|code) [is] {_DIGITS}", "[(the|my)] (pin|code) [is] {pin}", _DIGITS],
)
def _enter_pin(
    pin: Annotated[str, Field(max_length=20)] | None = None,
    first: Digit | None = None,
    second: Digit | None = None,
    third: Digit | None = None,
    fourth: Digit | None = None,
) -> None:
    """Carry out the action for which the user was just asked for the PIN. Never guess or repeat a PIN.

    pin: the digits that the user said in this turn, such as 0000; the other parameters are then left out
    """


def _build(function: Callable[..., Any]) -> Tool:
    options = tool_options(function)
    assert options is not None
    return build_tool(function, options, plugin=CONSENT, file="consent.py", method=False)


CONSENT_TOOLS: Final[Mapping[str, Tool]] = {
    built.name: built for built in (_build(function) for function in (_confirm, _decline, _enter_pin))
}


@dataclass(frozen=True, slots=True)
class Pending:
    """A call that waits for the user's word. ``arguments`` are checked already."""

    tool: str
    tier: Tier
    arguments: Mapping[str, Any]
    turn: int
    until: float


class Consent:
    """The one call that waits, and the count of wrong PINs."""

    def __init__(self, pin: Callable[[], str | None] = lambda: None) -> None:
        """pin: gives the PIN of the house, or None if there is none; asked each time, so that it can be changed."""
        self._pin = pin
        self._pending: Pending | None = None
        self._wrong_pins = 0
        self._locked_until = 0.0

    def ask(self, tool: Tool, tier: Tier, arguments: Mapping[str, Any], *, turn: int, now: float) -> dict[str, str]:
        """Put a call aside; gives the answer for the model. A question that was open before is forgotten.

        Raises ToolError if the user could not agree anyway: there is no PIN, or it was wrong too often.
        """
        if tier == "pin":
            self._check_lock(now)
            if not self._pin():
                raise ToolError(
                    f"{tool.name} needs a PIN, and none is set: name a file that holds it in tools.pin_file"
                )
        self._pending = Pending(tool.name, tier, arguments, turn, now + VALID_S)
        question = _question(tool, arguments)
        if tier == "pin":
            how = f"call {ENTER_PIN} with the PIN that the user says next"
            question = f"{question} Please tell me the PIN. What is it?"
        else:
            how = f"call {CONFIRM} if the user then agrees, {DECLINE} if not"
        return {
            "say": question,
            "note": f"Nothing was done yet. Ask the user exactly this, end your answer, and {how}.",
        }

    def redeem(self, answer: str, arguments: Mapping[str, Any], *, turn: int, now: float) -> Pending | None:
        """What may run now that the user has answered; None if the user declined.

        Raises ToolError, in words for the user, if nothing waits, the user has not spoken since, or the PIN is wrong.
        """
        pending = self._pending
        if pending is None or now > pending.until or turn > pending.turn + VALID_TURNS:
            self._pending = None
            raise ToolError("There is nothing to confirm.")
        if answer == DECLINE:
            self._pending = None
            return None
        if turn <= pending.turn:
            raise ToolError("The user has not answered yet. Ask the question, and end your answer.")
        if pending.tier == "pin":
            if answer != ENTER_PIN:
                raise ToolError("That needs the PIN. What is it?")
            self._check_pin(arguments, now)
        elif answer != CONFIRM:
            raise ToolError("That needs no PIN, only a yes or a no. Shall I?")
        self._pending = None
        return pending

    def _check_pin(self, arguments: Mapping[str, Any], now: float) -> None:
        self._check_lock(now)
        right = re.sub(r"\s", "", self._pin() or "")
        if right and hmac.compare_digest(_digits(arguments).encode(), right.encode()):
            self._wrong_pins = 0
            return
        self._wrong_pins += 1
        if self._wrong_pins >= WRONG_PINS:
            self._wrong_pins, self._pending = 0, None
            self._locked_until = now + LOCKED_S
            self._check_lock(now)
        raise ToolError("That is not the PIN. What is it?")

    def _check_lock(self, now: float) -> None:
        if now < self._locked_until:
            minutes = -(-(self._locked_until - now) // 60)
            raise ToolError(f"The PIN was wrong too often. Try again in {minutes:.0f} minutes.")


def _digits(arguments: Mapping[str, Any]) -> str:
    pin = arguments.get("pin")
    if pin is not None:
        return re.sub(r"[\s.,-]", "", pin)
    spoken = [arguments.get(name) for name in ("first", "second", "third", "fourth")]
    return "".join(str(digit) for digit in spoken if digit is not None)


def _question(tool: Tool, arguments: Mapping[str, Any]) -> str:
    if tool.options.question is None:
        return f"Shall I really {tool.name.replace('_', ' ')}?"
    return _PLACE.sub(lambda place: str(arguments.get(place[1], "")).replace("_", " "), tool.options.question)

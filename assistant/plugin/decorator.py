"""``@tool``: marks a function for the model. The marks are read by :mod:`assistant.tools.schema`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args, overload

Function = TypeVar("Function", bound=Callable[..., Any])

Tier: TypeAlias = Literal["safe", "confirm", "pin", "deny"]
"""What a call of a tool needs: nothing, the user's yes, the PIN of the house; or it is never called."""

TIERS: Final[tuple[Tier, ...]] = get_args(Tier)
"""From the most permissive to the strictest."""

_OPTIONS: Final = "__hearth_tool__"


def strictest(*tiers: Tier) -> Tier:
    """The strictest of several tiers: an owner can tighten what an author chose, and never widen it."""
    return max(tiers, key=TIERS.index)


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """What ``@tool`` was told; see there."""

    name: str | None = None
    sentences: tuple[str, ...] = ()
    lists: Mapping[str, Mapping[str, str] | str] = field(default_factory=dict)
    reply: str | None = None
    time_limit_s: float | None = None
    tier: Tier = "safe"
    question: str | None = None
    parameters: Mapping[str, Any] | None = None
    asks: Mapping[str, str] = field(default_factory=dict)
    group: str = ""


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(
    *,
    sentences: Sequence[str] = (),
    lists: Mapping[str, Mapping[str, str] | str] | None = None,
    reply: str | None = None,
    time_limit_s: float | None = None,
    name: str | None = None,
    tier: Tier = "safe",
    question: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    group: str = "",
    asks: Mapping[str, str] | None = None,
) -> Callable[[Function], Function]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    sentences: Sequence[str] = (),
    lists: Mapping[str, Mapping[str, str] | str] | None = None,
    reply: str | None = None,
    time_limit_s: float | None = None,
    name: str | None = None,
    tier: Tier = "safe",
    question: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    group: str = "",
    asks: Mapping[str, str] | None = None,
) -> Any:
    """Offer a function, or a method of a :class:`Plugin`, to the model. Used with or without arguments.

    The parameters' type hints and the docstring become the tool's schema; they are checked when the plugin is
    loaded. The function itself is returned unchanged, so it can be called and tested as it is.

    An ``async def`` runs on the event loop and must not block; a plain ``def`` runs on a thread and may. The result
    is a str, spoken as it is, or a dict, list, dataclass or None that the model gets as JSON; the key ``say`` then
    holds the sentence for the offline brain. Raise ToolError to tell the user what went wrong.

    sentences: how people say it, as hassil templates with parameters as slots ("set a timer for {n} {unit}").
        Only the offline brain uses them; without sentences it cannot reach the tool by speech.
    lists: the spoken forms of a slot where they differ from its values: ``{"unit": {"hours": "hour[s]"}}``; or
        the name of a list that ``Context.entities`` sets. A list of another name fills a slot by ``{list:slot}``.
    asks: parameter -> the question for it, as in ``{"minutes": "For how long?"}``. A sentence may then leave out
        parameters that have no default: the offline brain asks, and takes "five minutes" for the answer.
    reply: what the offline brain answers when the result has no ``say``; may hold ``{result}`` and parameters.
    time_limit_s: seconds for one call, instead of the limit in the config.
    name: what the model sees, instead of the function's name.
    tier: "safe"; "confirm" if the user must say yes first; "pin" if the user must say the PIN (``tools.pin_file``
        in the config); "deny" switches the tool off. The owner may tighten the tier in the config, and never widen it.
    question: what is asked before a tool of tier confirm or pin runs; may hold parameters, as in
        "Shall I unlock the {door}?".
    parameters: the JSON schema of an object, instead of type hints, for a function that takes ``**arguments``. Only
        the names are checked before the call.
    group: what the tool depends on, such as one of several servers. How many calls run at a time is then limited for
        each group instead of for the plugin, so that one that hangs does not hold up the others.
    """
    if function is not None and not callable(function):
        raise TypeError("@tool takes its arguments by name, as in @tool(name=...)")
    if isinstance(sentences, str):
        raise TypeError("@tool: sentences is a list of templates, not one string")
    if tier not in TIERS:
        raise TypeError(f"@tool: tier is one of {', '.join(TIERS)}, not {tier!r}")
    options = ToolOptions(
        name=name,
        sentences=tuple(sentences),
        lists=dict(lists or {}),
        reply=reply,
        time_limit_s=time_limit_s,
        tier=tier,
        question=question,
        parameters=parameters,
        asks=dict(asks or {}),
        group=group,
    )

    def mark(target: Function) -> Function:
        setattr(target, _OPTIONS, options)
        return target

    return mark if function is None else mark(function)


def tool_options(function: object) -> ToolOptions | None:
    """What ``@tool`` left on a function, or None if it is no tool."""
    options = getattr(function, _OPTIONS, None)
    return options if isinstance(options, ToolOptions) else None

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.errors import PluginLoadError
from assistant.plugin import BaseModel, Field, tool
from assistant.plugin.decorator import tool_options
from assistant.tools.schema import ToolArgumentsError, ToolSchema, build_schema
from assistant.tools.tool import Tool, build_tool


class Unit(Enum):
    SECONDS = "seconds"
    HOURS = "hours"


@dataclass
class Item:
    """One thing to buy."""

    title: str
    count: int = 1
    note: str | None = None


class Place(BaseModel):
    city: str
    zip: Annotated[int, Field(ge=1)] | None = None


def schema_of(function: Callable[..., Any]) -> ToolSchema:
    return build_schema(function, method=False, where="demo.py: f")


def tool_of(function: Callable[..., Any]) -> Tool:
    options = tool_options(function)
    assert options is not None
    return build_tool(function, options, plugin="demo", file="demo.py", method=False)


def test_a_signature_becomes_a_strict_closed_schema() -> None:
    def f(
        count: int,
        level: Annotated[float, Field(ge=0, le=1)],
        mode: Literal["heat", "cool"],
        unit: Unit,
        items: list[Item],
        place: Place,
        name: str | None,
        loud: bool = False,
        speed: Optional[int] = None,  # noqa: UP045 - the old spelling works as well
        other: Unit = Unit.HOURS,
    ) -> None:
        """Do a thing
        in one paragraph.

        More for people.

        count: how many,
            at most a few
        mode: what to do
        """

    schema = schema_of(f)
    assert schema.description == "Do a thing in one paragraph."
    unit = {"type": "string", "enum": ["seconds", "hours"]}
    assert schema.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["count", "level", "mode", "unit", "items", "place"],
        "properties": {
            "count": {"type": "integer", "description": "how many, at most a few"},
            "level": {"type": "number", "minimum": 0, "maximum": 1},
            "mode": {"type": "string", "enum": ["heat", "cool"], "description": "what to do"},
            "unit": unit,
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "description": "One thing to buy.",
                    "properties": {
                        "title": {"type": "string"},
                        "count": {"type": "integer", "default": 1},
                        "note": {"type": "string"},
                    },
                    "required": ["title"],
                    "additionalProperties": False,
                },
            },
            "place": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "zip": {"type": "integer", "minimum": 1}},
                "required": ["city"],
                "additionalProperties": False,
            },
            "name": {"type": "string"},
            "loud": {"type": "boolean", "default": False},
            "speed": {"type": "integer"},
            "other": {**unit, "default": "hours"},
        },
    }


def test_arguments_are_coerced_where_they_can_only_mean_one_thing() -> None:
    def f(count: int, name: str, unit: Unit, items: list[Item], note: str | None, loud: bool = False) -> None:
        """Do."""

    arguments = {"count": "3", "name": 7, "unit": "hours", "items": [{"title": "milk"}], "loud": None}
    assert schema_of(f).validate(arguments) == {
        "count": 3,
        "name": "7",
        "unit": Unit.HOURS,
        "items": [Item("milk")],
        "note": None,  # it has no default, so the function must be given it
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "count: is missing"),
        ({"count": "many"}, "count: Input should be a valid integer"),
        ({"count": 2.5}, "count: Input should be a valid integer"),
        ({"count": None}, "count: Input should be a valid integer"),
        ({"count": 11}, "count: Input should be less than or equal to 10"),
        ({"count": 1, "colour": "red"}, "colour: is not known here"),
        ({"count": 1, "a\nb": "red"}, "a b: is not known here"),
    ],
)
def test_wrong_arguments_are_explained_in_one_line(arguments: dict[str, Any], message: str) -> None:
    def f(count: Annotated[int, Field(le=10)]) -> None:
        """Do."""

    with pytest.raises(ToolArgumentsError) as error:
        schema_of(f).validate(arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_parameter_names_may_be_those_of_pydantic() -> None:
    def f(json: str, copy: int, model_config: str = "x") -> None:
        """Do."""

    assert schema_of(f).validate({"json": "a", "copy": 1}) == {"json": "a", "copy": 1}


def unmappable() -> list[tuple[Callable[..., Any], str]]:
    def plain_dict(x: dict[str, int]) -> None:
        """Do."""

    def bare_list(x: list) -> None:  # type: ignore[type-arg]
        """Do."""

    def a_tuple(x: tuple[int, int]) -> None:
        """Do."""

    def a_union(x: int | str) -> None:
        """Do."""

    def anything(x: Any) -> None:
        """Do."""

    def untyped(x) -> None:  # type: ignore[no-untyped-def]
        """Do."""

    def variadic(*x: int) -> None:
        """Do."""

    def positional(x: int, /) -> None:
        """Do."""

    def mixed(x: Literal["a", 1]) -> None:
        """Do."""

    def field_default(x: int = Field(ge=1)) -> None:
        """Do."""

    def unknown(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
        """Do."""

    def inside(x: list[dict[str, int]]) -> None:
        """Do."""

    def undocumented(x: int) -> None:
        pass

    return [
        (plain_dict, "parameter x: the model cannot send a dict[str, int]: write a dataclass"),
        (bare_list, "parameter x: the model cannot send a list: write list[str]"),
        (a_tuple, "write list[...] instead"),
        (a_union, "parameter x: the model cannot send a int | str"),
        (anything, "parameter x: the model cannot send a Any"),
        (untyped, "parameter x: it has no type: write 'x: int'"),
        (variadic, "write them out instead of *args"),
        (positional, "remove the '/'"),
        (mixed, "all strings or all whole numbers"),
        (field_default, "write 'x: Annotated[int, Field(...)]'"),
        (unknown, "name 'Nowhere' is not defined"),
        (inside, "the model cannot send a dict[str, int]"),
        (undocumented, "add a docstring"),
    ]


@pytest.mark.parametrize(("function", "message"), unmappable(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_cannot_be_mapped_is_refused_with_the_place_and_a_way_out(
    function: Callable[..., Any], message: str
) -> None:
    with pytest.raises(PluginLoadError) as error:
        schema_of(function)
    assert str(error.value).startswith("demo.py: f: ")
    assert message in str(error.value)


@dataclass
class Node:
    children: list[Node]


def test_a_type_that_holds_itself_is_refused() -> None:
    def f(root: Node) -> None:
        """Do."""

    with pytest.raises(PluginLoadError, match=r"root\.children: Node holds itself"):
        schema_of(f)


def test_a_generator_is_refused() -> None:
    def f() -> Any:
        """Do."""
        yield 1

    with pytest.raises(PluginLoadError, match="cannot yield"):
        schema_of(f)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["count", "items", "unit", "x"]), json_values))
def test_any_json_is_either_accepted_or_refused_in_one_line(arguments: dict[str, Any]) -> None:
    def f(count: int, items: list[Item], unit: Unit = Unit.HOURS) -> None:
        """Do."""

    try:
        accepted = schema_of(f).validate(arguments)
    except ToolArgumentsError as error:
        assert str(error)
        assert "\n" not in str(error)
    else:
        assert isinstance(accepted["count"], int)
        assert all(isinstance(item, Item) for item in accepted["items"])
        assert isinstance(accepted.get("unit", Unit.HOURS), Unit)


def test_offline_extras_go_only_to_the_embedded_server() -> None:
    @tool(
        sentences=["dim {room} to {level}"],
        lists={"room": {"kitchen": "[the] kitchen"}},
        reply="{room} is at {level}, {result}.",
        name="dim",
    )
    def dim_light(room: str, level: int) -> str:
        """Dim a light."""
        return f"{room} {level}"

    spec = tool_of(dim_light)
    assert set(spec.spec(offline=False)) == {"type", "name", "description", "parameters"}
    assert spec.spec(offline=True) == {
        **spec.spec(offline=False),
        "x-offline": {
            "sentences": ["dim {room} to {level}"],
            "lists": {"room": {"kitchen": "[the] kitchen"}},
            "reply": "{room} is at {level}, {result}.",
            "topic": "demo",
        },
    }
    assert spec.name == "dim"
    assert dim_light("hall", 3) == "hall 3"  # the function stays what it was


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sentences": ["dim {rom} to {level}"]}, "{rom} is not a parameter"),
        ({"sentences": ["dim the {room}"]}, "it must hold {level}, or give level a default"),
        ({"sentences": ["dim [{room} {level}"]}, "'[' is never closed"),
        ({"sentences": ["dim {room} {level})"]}, "')' closes nothing"),
        ({"sentences": ["  "]}, "it is empty"),
        ({"lists": {"rom": {"a": "b"}}}, "lists: rom is neither a parameter"),
        ({"reply": "{x}"}, "reply: {x} is neither"),
        ({"reply": "{room"}, "reply: "),
        ({"name": "dim light"}, "may only hold letters"),
        ({"time_limit_s": 0}, "more than 0"),
    ],
)
def test_wrong_options_are_refused_when_the_plugin_is_loaded(options: dict[str, Any], message: str) -> None:
    @tool(**options)
    def dim(room: str, level: int) -> None:
        """Dim a light."""

    with pytest.raises(PluginLoadError) as error:
        tool_of(dim)
    assert message in str(error.value)
    assert str(error.value).startswith("demo.py: dim: ")


def test_wrong_use_of_the_decorator_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="one string"):
        tool(sentences="roll a dice")
    with pytest.raises(TypeError, match="by name"):
        tool("roll")  # type: ignore[type-var]

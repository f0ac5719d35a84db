"""Values change in the text of a config file, and nothing else in it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.config.document import read_document
from assistant.config.editing import Value, edit
from assistant.console.settings import GROUPS

SHIPPED = (Path(__file__).resolve().parents[2] / "config.yaml").read_text("utf-8")

KEYS = [key for keys in GROUPS.values() for key in keys]

MISSING = object()

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=60),
    st.sampled_from(
        ["null", "off", "no", "1e3", "a: b", "# c", "- x", "&a", "'", "two\nlines\n", "two\nlines", " lead\n"]
    ),
)


def values_of(text: str) -> dict[str, Any]:
    """All that can be offered, by key; what is not in the text is left out."""
    document = read_document(text)
    assert document.problems == ()
    found: dict[str, Any] = {}
    for key in KEYS:
        node: Any = document.data
        for part in key.split("."):
            node = node.get(part, MISSING) if isinstance(node, dict) else MISSING
        if node is not MISSING:
            found[key] = node
    return found


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("a: 1 # one\n", "a", 2, "a: 2 # one\n"),
        ("a: null   # none\nb: 2\n", "a", "cedar", "a: cedar  # none\nb: 2\n"),
        ("a:    # none\n", "a", 5, "a: 5  # none\n"),
        ("a:\n", "a", 5, "a: 5\n"),
        ("s: {a: 1, b: 2}  # both\n", "s.b", 3, "s: {a: 1, b: 3}  # both\n"),
        ("s: {a: 1}\n", "s.b", 3, "s: {b: 3, a: 1}\n"),
        ("s: {}\n", "s.b", 3, "s: {b: 3}\n"),
        ("s:\n  # about a\n  a: 1\nt: 2\n", "s.b", True, "s:\n  # about a\n  b: true\n  a: 1\nt: 2\n"),
        ("s:\nt: 2\n", "s.b", 3, "s: {b: 3}\nt: 2\n"),
        ("t: 2", "s.b.c", "x y", 't: 2\ns: {b: {c: "x y"}}\n'),
        ("# nothing\n", "a", 1, "# nothing\na: 1\n"),
        ("", "a", 1, "a: 1\n"),
        ("a: |\n  old\n  text\n\n# about b\nb: 1\n", "a", "new\ntext\n", "a: |\n  new\n  text\n\n# about b\nb: 1\n"),
        ("s:\n  a: |\n    old\n  b: 1\n", "s.a", "one line", 's:\n  a: "one line"\n  b: 1\n'),
        ("a: 'it''s' # said\n", "a", "off", "a: off     # said\n"),
    ],
)
def test_a_value_is_replaced_in_its_place(before: str, key: str, value: Value, after: str) -> None:
    assert edit(before, {key: value}) == after


@settings(max_examples=10, deadline=None)
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_in_the_shipped_file_is_read_back_and_every_comment_stays(key: str, value: Value) -> None:
    after = edit(SHIPPED, {key: value})
    assert values_of(after) == {**values_of(SHIPPED), key: value}
    kept = set(after.splitlines())
    gone = [line for line in SHIPPED.splitlines() if line not in kept]
    assert len(gone) <= 1 or key == "session.instructions"
    assert [line.partition("#")[2] in after for line in gone] == [True] * len(gone)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_an_empty_file_takes_any_values(changes: dict[str, Value]) -> None:
    after = edit("", changes)
    assert values_of(after) == changes

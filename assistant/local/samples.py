"""Sentences that a template lets people say, to compare tools with. PURE."""

from __future__ import annotations

from itertools import islice, product
from typing import Final

from hassil.expression import Alternative, Expression, Group, ListReference

from assistant.local.skills import Skill, Template
from assistant.local.slots import Numbers, Words, parse_template

_BRANCHES: Final = 12
"""Ways to go on that are followed at each place of a template."""


def samples(skill: Skill, template: Template, limit: int = 50) -> list[str]:
    """At most ``limit`` sentences of a template, each alternative with and without; lists and numbers by one value.

    A slot that holds any text is "something".
    """
    texts = (" ".join(text.split()) for text in _texts(template.parsed.expression, skill))
    return list(dict.fromkeys(islice(texts, limit)))


def _texts(expression: Expression, skill: Skill) -> list[str]:
    if isinstance(expression, ListReference):
        bounds = expression.get_inline_range()
        match Numbers(*bounds) if bounds else skill.slots.get(expression.list_name):
            case Words(values):
                return _texts(parse_template(values[0].spoken).expression, skill)
            case Numbers(start, stop):
                return [str(min(max(5, start), stop))]
            case _:
                return ["something"]
    if isinstance(expression, Alternative):
        return list(dict.fromkeys(text for item in expression.items for text in _texts(item, skill)[:_BRANCHES]))
    if isinstance(expression, Group):
        parts = [_texts(item, skill)[:_BRANCHES] for item in expression.items]
        return ["".join(chosen) for chosen in islice(product(*parts), _BRANCHES * _BRANCHES)]
    return [getattr(expression, "original_text", "")]

"""The dialogue policy of the offline brain: what to do next, given what was said and what tools answered. PURE.

====================================  ==================================================================
the turn ends with                    what happens
====================================  ==================================================================
answers of tools                      they are spoken, in order
a sentence of a tool                  the tool is called
a built-in request                    a fixed reply ("what can you do" lists the tools)
silence, or the wake phrase alone     nothing is said
anything else                         one short apology; typed text also gets an example of what can be said
====================================  ==================================================================
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assistant.local import phrases
from assistant.local.phrases import Request
from assistant.local.skills import Skills, example
from assistant.local.understanding import (
    NothingSaid,
    NotUnderstood,
    RequestWanted,
    ToolWanted,
    Understanding,
)

MAX_SPOKEN_CHARS: Final = 4_000
"""A tool's answer beyond this is cut: five minutes of speech are enough."""

MAX_EXAMPLES: Final = 9
"""Sentences that "what can you do" gives as examples: some fifteen seconds of speech."""

_PLACE = re.compile(r"\{(\w+)\}")


# --- what it looks at -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What the user said or typed. ``rejected``: none of the sentences. ``failed``: it could not be heard."""

    text: str
    rejected: bool = False
    failed: bool = False
    typed: bool = False


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The output of one tool call. ``spoken``: the words that filled its slots, where they are known."""

    tool: str
    arguments: Mapping[str, Any]
    output: str
    spoken: Mapping[str, str] = field(default_factory=dict)


# --- what it decides --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallTool:
    tool: str
    arguments: Mapping[str, Any]
    spoken: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Say:
    text: str


@dataclass(frozen=True, slots=True)
class SayNothing:
    pass


Decision = CallTool | Say | SayNothing


class Brain:
    """Decides for one set of tools. Cheap to make anew when the tools change."""

    def __init__(self, skills: Skills, wake_phrases: Sequence[str] = ()) -> None:
        self._skills = skills
        self._understanding = Understanding(skills, wake_phrases)

    def warm_up(self) -> None:
        """Match one sentence of each template: hassil builds some tables at the first match."""
        for skill in self._skills.skills:
            for template in skill.templates:
                self._understanding.understand(example(skill, template))

    def decide(self, said: Said | None, answers: Sequence[ToolAnswered] = (), *, may_call: bool = True) -> Decision:
        """What to do next. ``answers`` came after ``said`` and are what is spoken if there are any."""
        if answers:
            return Say(" ".join(self.spoken_answer(answer) for answer in answers)[:MAX_SPOKEN_CHARS])
        if said is None:
            return SayNothing()
        if said.failed:
            return Say(phrases.RECOGNIZER_FAILED)
        if said.rejected:
            return Say(phrases.NOT_HEARD)
        match self._understanding.understand(said.text):
            case NothingSaid():
                return SayNothing()
            case RequestWanted(request):
                return self._reply(request)
            case ToolWanted(tool, arguments, spoken, missing):
                if missing:
                    return Say(phrases.MISSING.format(slots=" and ".join(name.replace("_", " ") for name in missing)))
                return CallTool(tool, arguments, spoken) if may_call else Say(self._not_understood())
            case NotUnderstood():
                return Say(self._not_understood())

    def spoken_answer(self, answer: ToolAnswered) -> str:
        """A tool's output as a sentence: its error, its ``say``, the reply template, the text itself, or "Done."."""
        value = _parsed(answer.output)
        if isinstance(value, Mapping):
            if error := _error(value):
                return _sentence(error)
            if isinstance(say := value.get("say"), str) and say.strip():
                return _sentence(say)
        skill = self._skills.get(answer.tool)
        if skill is not None and skill.reply is not None:
            return _sentence(_filled(skill.reply, answer, value))
        if isinstance(value, str) and value.strip():
            return _sentence(value)
        return _sentence(str(value)) if isinstance(value, int | float) and value is not True else phrases.DONE

    def _reply(self, request: Request) -> Decision:
        match request:
            case Request.STOP:
                return Say(phrases.OK)
            case Request.HELLO:
                return Say(phrases.HELLO)
            case Request.THANKS:
                return Say(phrases.WELCOME)
            case Request.HELP:
                return Say(self._help())

    def _help(self) -> str:
        if not self._skills.skills:
            return phrases.NOTHING_INSTALLED
        skills = self._skills.skills
        step = -(-len(skills) // MAX_EXAMPLES)  # from all of them, when there are more than anybody listens to
        examples = [example(skill, skill.templates[0]) for skill in skills[::step]]
        listed = phrases.HELP_EXAMPLES.format(examples=". ".join(text[:1].upper() + text[1:] for text in examples))
        return " ".join([phrases.HELP_INTRO, listed, phrases.HELP_OUTRO])[:MAX_SPOKEN_CHARS]

    def _not_understood(self) -> str:
        if not self._skills.skills:
            return phrases.NOTHING_INSTALLED
        skill = self._skills.skills[0]
        return phrases.NOT_HEARD_TRY.format(example=example(skill, skill.templates[0]))


def _parsed(output: str) -> Any:
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return output


def _error(value: Mapping[str, Any]) -> str | None:
    error = value.get("error")
    if isinstance(error, Mapping):
        error = error.get("message")
    return error if isinstance(error, str) and error.strip() else None


def _filled(template: str, answer: ToolAnswered, value: Any) -> str:
    """The reply with its places filled: from the output, else the words that were said, else the argument."""
    facts = value if isinstance(value, Mapping) else {"result": value}

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in facts and isinstance(facts[name], str | int | float):
            return _shown(facts[name])
        if name in answer.spoken:
            return answer.spoken[name]
        return _shown(answer.arguments.get(name, ""))

    return " ".join(_PLACE.sub(fill, template).split())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace("_", " ")


def _sentence(text: str) -> str:
    """With a capital at the start and a mark at the end, so that sentences can be joined and spoken."""
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else f"{text}."

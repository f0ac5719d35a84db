"""The dialogue policy of the offline brain: what to do next, given what was said and what tools answered. PURE.

====================================  ==================================================================
the turn ends with                    what happens
====================================  ==================================================================
answers of tools                      they are spoken, in order
a sentence of a tool                  the tool is called
a sentence that leaves something out  it is asked for; the answer completes the sentence
a built-in request                    a reply ("what can you do", "repeat that", "never mind")
what is nearly a sentence             "Did you say: ...?"; after a yes it is as if that had been said
silence, or the wake phrase alone     nothing is said
anything else                         one short apology; typed text also gets an example of what can be said
====================================  ==================================================================

The brain keeps nothing between turns: which question is open follows from the last exchanges, which it is given. So a
new session that knows these goes on where the last one ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from assistant.local.grammar import completions_graph, words_graph
from assistant.local.language import Answer, Request
from assistant.local.nearest import nearest
from assistant.local.skills import Skill, Skills, example, topics
from assistant.local.slots import Words
from assistant.local.translation import Catalogue
from assistant.local.understanding import (
    Meaning,
    NothingSaid,
    NotUnderstood,
    RequestWanted,
    ToolWanted,
    Understanding,
)
from assistant.local.wordgraph import EMPTY, WordGraph

MAX_SPOKEN_CHARS: Final = 4_000
"""A tool's answer beyond this is cut: five minutes of speech are enough."""

MAX_EXAMPLES: Final = 7
"""Sentences that "what can you do" gives as examples: some fifteen seconds of speech."""

MAX_TOPICS: Final = 12
MAX_CHOICES: Final = 4
"""So many values are named when one of them is asked for."""

MAX_QUESTIONS: Final = 6
"""Exchanges in which one request may be completed."""

_PLACE = re.compile(r"\{(\w+)\}")


# --- what it looks at -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What the user said or typed.

    rejected: none of the sentences. guess: the sentence that it may have been instead, if it is likely enough to ask.
    failed: it could not be heard.
    """

    text: str
    rejected: bool = False
    failed: bool = False
    typed: bool = False
    guess: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was said before, and what was answered."""

    said: str
    answered: str


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """The output of one tool call. ``spoken``: the words that filled its slots, where they are known."""

    tool: str
    arguments: Mapping[str, Any]
    output: str
    spoken: Mapping[str, str] = field(default_factory=dict)


# --- what it decides --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guess:
    """A sentence that was perhaps said: a yes or a no is awaited."""

    text: str


@dataclass(frozen=True, slots=True)
class Incomplete:
    """A request of which something is missing. ``again``: the answer was not understood once already."""

    wanted: ToolWanted
    again: bool = False


Awaited = Guess | Incomplete


@dataclass(frozen=True, slots=True)
class CallTool:
    tool: str
    arguments: Mapping[str, Any]
    spoken: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Say:
    """``awaits``: what the user is asked for."""

    text: str
    awaits: Awaited | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class SayNothing:
    pass


Decision = CallTool | Say | SayNothing


class Brain:
    """Decides for one set of tools. Cheap to make anew when the tools change."""

    def __init__(self, skills: Skills, wake_phrases: Sequence[str] = ()) -> None:
        self._skills = skills
        self._language = skills.language
        self._understanding = Understanding(skills, wake_phrases)
        self.sentences: WordGraph | None = None
        """All that can be said, for finding what was nearly said; None as long as it is not known."""
        before, _, after = self._language.phrases["did_you_say"].partition("{guess}")
        self._guessed = re.compile(f"{re.escape(before)}(.+){re.escape(after)}")

    def warm_up(self) -> None:
        """Match one sentence of each template: hassil builds some tables at the first match."""
        for skill in self._skills.skills:
            for template in skill.templates:
                self._understanding.understand(example(skill, template, self._language))

    def decide(
        self,
        said: Said | None,
        answers: Sequence[ToolAnswered] = (),
        *,
        history: Sequence[Exchange] = (),
        may_call: bool = True,
    ) -> Decision:
        """What to do next.

        answers: they came after ``said`` and are what is spoken if there are any.
        history: what was said before ``said``, the oldest first; the last few exchanges are enough.
        """
        if answers:
            return Say(" ".join(self.spoken_answer(answer) for answer in answers)[:MAX_SPOKEN_CHARS])
        if said is None:
            return SayNothing()
        history = history[-MAX_QUESTIONS:]
        decision = self._next(self._awaited(history), said, history)
        if isinstance(decision, CallTool) and not may_call:
            return self._not_understood()
        return decision

    def understands(self, text: str, history: Sequence[Exchange] = ()) -> bool:
        """True if it is a sentence of a tool, a built-in request, or the answer to our question."""
        awaits = self._awaited(history[-MAX_QUESTIONS:]) is not None
        return awaits or isinstance(self._understanding.understand(text), ToolWanted | RequestWanted)

    def is_silence(self, text: str) -> bool:
        """True if nothing was said, or the wake phrase alone."""
        return isinstance(self._understanding.understand(text), NothingSaid)

    def lacks(self, text: str) -> bool:
        """True if more must follow: the wake phrase alone, or a request that leaves something out."""
        meaning = self._understanding.understand(text)
        return isinstance(meaning, NothingSaid) or (isinstance(meaning, ToolWanted) and bool(meaning.missing))

    def answers_graph(self, awaited: Awaited) -> WordGraph:
        """What the user may say to a question, beside everything else. Takes some milliseconds."""
        match awaited:
            case Guess():
                texts = [text for texts in self._language.answers.values() for text in texts]
                return words_graph(texts, self._language)
            case Incomplete(wanted):
                skill = self._skills.get(wanted.tool)
                if skill is None:
                    return EMPTY
                missing = frozenset(wanted.missing)
                completions = [item for item in skill.completions if item.parameters <= missing]
                return completions_graph(skill, completions, self._language)

    # -- dialogue ----------------------------------------------------------------------------------------------------

    def _awaited(self, history: Sequence[Exchange]) -> Awaited | None:
        """The question that is open: what we would have asked, if it is what was asked."""
        awaited: Awaited | None = None
        for index, exchange in enumerate(history):
            if guessed := self._guessed.fullmatch(exchange.answered):
                awaited = Guess(guessed.group(1))
                continue
            asked = self._next(awaited, Said(exchange.said, rejected=not exchange.said), history[:index])
            is_open = isinstance(asked, Say) and asked.text == exchange.answered
            awaited = asked.awaits if isinstance(asked, Say) and is_open else None
        return awaited

    def _next(self, awaited: Awaited | None, said: Said, history: Sequence[Exchange]) -> Decision:
        if said.failed:
            return Say(self._language.say("cannot_hear"))
        if said.rejected:
            return self._rejected(awaited, said)
        match awaited:
            case Guess(guess):
                answer = self._understanding.answer(said.text)
                if answer is Answer.YES:
                    return self._meant(self._understanding.understand(guess), None, history)
                if answer is Answer.NO:
                    return Say(self._language.say("say_again"))
            case Incomplete(wanted):
                meaning = self._understanding.understand(said.text)
                completed = self._understanding.complete(wanted, said.text)
                if completed is not None and not (completed[1] and not isinstance(meaning, NotUnderstood)):
                    return self._wanted(completed[0])
                if meaning == NotUnderstood():
                    return self._again(awaited)
                return self._meant(meaning, awaited, history)
        meaning = self._understanding.understand(said.text)
        if said.guess and isinstance(meaning, ToolWanted) and self._differs(meaning, said.guess):
            return self._guess(said.guess)
        if meaning == NotUnderstood() and (near := self._nearest(said.text)):
            return self._guess(near)
        return self._meant(meaning, awaited, history)

    def _differs(self, meaning: ToolWanted, guess: str) -> bool:
        """True if a guess is another request than what was heard."""
        other = self._understanding.understand(guess)
        return isinstance(other, ToolWanted) and other != meaning

    def _nearest(self, text: str) -> str:
        words = self._language.words(self._understanding.bare(text))
        return (nearest(self.sentences, words) or "") if self.sentences is not None else ""

    def _rejected(self, awaited: Awaited | None, said: Said) -> Decision:
        if isinstance(awaited, Incomplete):
            return self._again(awaited)
        return self._guess(said.guess)

    def _guess(self, guess: str) -> Decision:
        """Ask whether that was said, if it is something that a tool can do."""
        if not guess or not isinstance(self._understanding.understand(guess), ToolWanted):
            return Say(self._language.say("not_heard"))
        guess = self._understanding.bare(guess)
        return Say(self._language.say("did_you_say", guess=guess), Guess(guess))

    def _meant(self, meaning: Meaning, awaited: Awaited | None, history: Sequence[Exchange]) -> Decision:
        match meaning:
            case NothingSaid():
                return SayNothing()
            case RequestWanted(request, topic):
                return self._reply(request, topic, awaited, history)
            case ToolWanted():
                return self._wanted(meaning)
            case NotUnderstood():
                return self._not_understood()

    def _wanted(self, wanted: ToolWanted) -> Decision:
        if not wanted.missing:
            return CallTool(wanted.tool, wanted.arguments, wanted.spoken)
        return Say(self._question(wanted), Incomplete(wanted))

    def _again(self, awaited: Incomplete) -> Decision:
        """Ask once more, and only once."""
        not_heard = self._language.say("not_heard")
        if awaited.again:
            return Say(not_heard)
        return Say(f"{not_heard} {self._question(awaited.wanted)}", Incomplete(awaited.wanted, again=True))

    def _question(self, wanted: ToolWanted) -> str:
        """The tool's own question for the first of what is missing that has one, or a plain one."""
        skill = self._skills.get(wanted.tool)
        assert skill is not None
        for name in wanted.missing:
            if name in skill.asks:
                return skill.asks[name]
        name = wanted.missing[0]
        slot = skill.slots.get(name)
        if isinstance(slot, Words):
            choices = list(dict.fromkeys(_shown(value.value) for value in slot.values))
            if len(choices) <= MAX_CHOICES:
                return _capital(self._language.listing(choices, self._language.list_or)) + "?"
        return self._language.say("which", slot=name.replace("_", " "))

    # -- replies -----------------------------------------------------------------------------------------------------

    def spoken_answer(self, answer: ToolAnswered) -> str:
        """A tool's output as a sentence: its error, its ``say``, the reply template, the text itself, or "Done."."""
        skill = self._skills.get(answer.tool)
        text = self._spoken(answer, skill)
        return _sentence(Catalogue(skill.says).translate(text) if skill is not None and skill.says else text)

    def _spoken(self, answer: ToolAnswered, skill: Skill | None) -> str:
        value = _parsed(answer.output)
        if isinstance(value, Mapping):
            if error := _error(value):
                return error
            if isinstance(say := value.get("say"), str) and say.strip():
                return say
        if skill is not None and skill.reply is not None:
            return self._filled(skill.reply, answer, value)
        if isinstance(value, str) and value.strip():
            return value
        return str(value) if isinstance(value, int | float) and value is not True else self._language.say("done")

    def _filled(self, template: str, answer: ToolAnswered, value: Any) -> str:
        """The reply with its places filled: from the output, else the words that were said, else the argument."""
        facts = value if isinstance(value, Mapping) else {"result": value}

        def fill(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in facts and isinstance(facts[name], str | int | float):
                return self._value(facts[name])
            if name in answer.spoken:
                return answer.spoken[name]
            return self._value(answer.arguments.get(name, ""))

        return " ".join(_PLACE.sub(fill, template).split())

    def _value(self, value: Any) -> str:
        if isinstance(value, bool):
            return self._language.say("on" if value else "off")
        return _shown(value)

    def _reply(
        self, request: Request, topic: str | None, awaited: Awaited | None, history: Sequence[Exchange]
    ) -> Decision:
        match request:
            case Request.STOP:
                return Say(self._language.say("ok"))
            case Request.HELLO | Request.THANKS:
                return Say(self._language.say(request.value))
            case Request.REPEAT:
                last = next((exchange.answered for exchange in reversed(history) if exchange.answered), None)
                return Say(last or self._language.say("nothing_to_repeat"), awaited)
            case Request.HELP:
                return Say(self._help())
            case Request.HELP_ABOUT:
                return Say(self._examples([skill for skill in self._skills.skills if skill.topic == topic]))

    def _help(self) -> str:
        """An example of each topic, and the topics."""
        by_topic: dict[str, Skill] = {}
        for skill in self._skills.skills:
            if skill.topic != "":
                by_topic.setdefault(skill.topic or skill.name, skill)
        if not by_topic:
            return self._language.say("nothing_installed")
        parts = [self._language.say("help_intro"), self._examples([*by_topic.values()])]
        if named := topics(self._skills)[:MAX_TOPICS]:
            parts.append(
                self._language.say("help_topics", topics=self._language.listing(named, self._language.list_or))
            )
        return " ".join([*parts, self._language.say("help_outro")])[:MAX_SPOKEN_CHARS]

    def _examples(self, skills: Sequence[Skill]) -> str:
        step = max(1, -(-len(skills) // MAX_EXAMPLES))  # from all of them, when there are more than anybody listens to
        examples = [_capital(example(skill, skill.templates[0], self._language)) for skill in skills[::step]]
        return self._language.say("help_examples", examples=". ".join(examples))

    def _not_understood(self) -> Decision:
        skill = next((skill for skill in self._skills.skills if skill.topic != ""), None)
        if skill is None:
            return Say(self._language.say("nothing_installed"))
        return Say(self._language.say("not_heard_try", example=example(skill, skill.templates[0], self._language)))


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


def _shown(value: Any) -> str:
    return str(value).replace("_", " ")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(text: str) -> str:
    """With a capital at the start and a mark at the end, so that sentences can be joined and spoken."""
    text = _capital(text.strip())
    return text if text[-1:] in ".!?" else f"{text}."

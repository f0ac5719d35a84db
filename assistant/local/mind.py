"""What decides in a session: its tools, the brain that knows them, and what the recogniser listens for.

Ownership: a session owns its Mind, and runs ``load`` as a task of its own. A response runs ``decide``; when that is
cancelled, nothing is left half done but the sentences that the recogniser knows, which the next decision puts right.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from assistant.core.completeness import Completeness
from assistant.local.brain import Awaited, Brain, Decision, Exchange, Said, Say, ToolAnswered
from assistant.local.chat import Chat, ChatRequest
from assistant.local.chat_stream import ChatError
from assistant.local.conversation import Item
from assistant.local.grammar import Grammar, compile_grammar, with_answers
from assistant.local.language import Language
from assistant.local.recognizer import Recognizer, RecognizerError
from assistant.local.skills import Skills, read_tools

_log = logging.getLogger(__name__)

_HISTORY: Final = 8  # exchanges that the brain is told of


class Mind:
    """The brain of one session."""

    def __init__(
        self,
        recognizer: Recognizer,
        language: Language,
        wake_phrases: Sequence[str],
        strictness: float,
        chat: Chat | None = None,
    ) -> None:
        """chat: a language model that is asked first; None = the sentences are all there is."""
        self._recognizer = recognizer
        self._language = language
        self._wake_phrases = tuple(wake_phrases)
        self._strictness = strictness
        self._chat = chat
        self._tools: Sequence[Mapping[str, Any]] = ()
        self._skills = Skills(language=language)
        self._brain = Brain(self._skills, self._wake_phrases)
        self._grammar: Grammar | None = None
        self._awaited: Awaited | None = None  # what the recogniser listens for beside everything else
        self._heard_with: Grammar | None = None  # both together

    def set_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Know these tools from now on. ``load`` must follow, for what is spoken."""
        self._tools = tools
        self._skills = read_tools(tools, self._language)
        self._brain = Brain(self._skills, self._wake_phrases)
        _report(self._skills.problems)

    async def load(self) -> None:
        """Make the recogniser listen for what the tools can be asked. What is said meanwhile is recognised then."""
        skills, brain = self._skills, self._brain

        def compile_it() -> tuple[Grammar, tuple[str, ...]]:
            brain.warm_up()
            return compile_grammar(skills, wake_phrases=self._wake_phrases, strictness=self._strictness)

        grammar, problems = await asyncio.to_thread(compile_it)
        if skills is not self._skills:
            return  # the tools have changed again
        _report(problems)
        self._grammar, self._awaited = grammar, None
        brain.sentences = grammar.graph
        await self._listen(grammar)

    def completeness(self, heard: str) -> Completeness:
        """Whether what was heard so far is a whole request."""
        if self._heard_with is None:
            return Completeness.OPEN
        found = self._heard_with.completeness(heard)
        if heard and found is not Completeness.UNFINISHED and self._brain.lacks(heard):
            return Completeness.UNFINISHED
        return found

    async def decide(self, request: ChatRequest) -> AsyncGenerator[Decision, None]:
        """What to do about the end of the conversation."""
        brain = self._brain
        if request.tools != self._tools:
            brain = Brain(read_tools(request.tools, self._language), self._wake_phrases)
        said, answers, history = read_context(request.context)
        by_sentence = request.tool_choice == "required"  # whoever insists on a tool wants one that surely fits
        if self._chat is None or by_sentence or (said is not None and (said.rejected or said.failed)):
            yield await self._decide(brain, request)
            return
        if not answers and (said is None or brain.is_silence(said.text)):
            return
        begun = False
        try:
            async with aclosing(self._chat.answer(request)) as decisions:
                async for decision in decisions:
                    begun = True
                    yield decision
        except ChatError:
            if begun or not (answers or (said is not None and brain.understands(said.text, history))):
                yield Say(self._language.say("no_answer"))
            else:
                yield await self._decide(brain, request)

    async def _decide(self, brain: Brain, request: ChatRequest) -> Decision:
        """What the sentences say."""
        said, answers, history = read_context(request.context)
        decision = brain.decide(said, answers, history=history, may_call=request.tool_choice != "none")
        await self._await(brain, decision)
        return decision

    async def _await(self, brain: Brain, decision: Decision) -> None:
        """Let the recogniser know of the answers to a question, before it is heard; and forget them again."""
        awaited = decision.awaits if isinstance(decision, Say) else None
        if self._grammar is None or awaited == self._awaited:
            return
        self._awaited, grammar = awaited, self._grammar
        if awaited is not None:
            grammar = with_answers(grammar, await asyncio.to_thread(brain.answers_graph, awaited))
        await self._listen(grammar)

    async def _listen(self, grammar: Grammar) -> None:
        self._heard_with = grammar
        try:
            await self._recognizer.set_grammar(grammar)
        except RecognizerError as error:
            _log.error("%s", error)


def question(context: Sequence[Item]) -> Item | None:
    """The user's last message, unless the assistant has answered it already."""
    for item in reversed(context):
        if item.type == "message":
            return item if item.role == "user" else None
    return None


def read_context(context: Sequence[Item]) -> tuple[Said | None, list[ToolAnswered], list[Exchange]]:
    """What was said last, the answers of tools that nobody has spoken yet, and the exchanges before."""
    asked = question(context)
    before = list(context) if asked is None else list(context[: context.index(asked)])
    return _said(asked), _answers(context), _exchanges(before)


def _said(item: Item | None) -> Said | None:
    if item is None:
        return None
    typed = all(part.type == "input_text" for part in item.parts)
    return Said(item.text, item.rejected, item.failed, typed, item.guess)


def _answers(context: Sequence[Item]) -> list[ToolAnswered]:
    """The outputs after the last message."""
    calls = {item.call_id: item for item in context if item.type == "function_call"}
    answers: list[ToolAnswered] = []
    for item in reversed(context):
        if item.type == "function_call_output":
            call = calls.get(item.call_id)
            name = call.name if call else ""
            answers.insert(0, ToolAnswered(name, _arguments(call), item.output, call.spoken if call else {}))
        elif item.type == "message":
            break
    return answers


def _exchanges(context: Sequence[Item]) -> list[Exchange]:
    """The user's messages, each with what was answered."""
    exchanges: list[Exchange] = []
    for item in context:
        if item.type != "message":
            continue
        if item.role == "user":
            exchanges.append(Exchange(item.text, ""))
        elif item.role == "assistant" and exchanges:
            last = exchanges[-1]
            exchanges[-1] = Exchange(last.said, f"{last.answered} {item.text}".strip())
    return exchanges[-_HISTORY:]


def _arguments(call: Item | None) -> Mapping[str, Any]:
    try:
        arguments = json.loads(call.arguments) if call else {}
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, Mapping) else {}


def _report(problems: Iterable[str]) -> None:
    for problem in problems:
        _log.warning("%s", problem)

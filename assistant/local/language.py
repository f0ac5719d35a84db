"""What the brain knows of a language: its own requests and phrases, numbers and time spans, as data.

One folder a language under ``assistant/languages``; ``brain.toml`` holds the brain's own words. None needs code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from assistant.local.numbers import digits_for_words, plain_words, spell, spoken_words

LANGUAGES: Final = Path(__file__).resolve().parents[1] / "languages"
DEFAULT: Final = "en"


class Request(Enum):
    """Something a person can ask for that needs no tool."""

    STOP = "stop"
    HELP = "help"
    HELP_ABOUT = "help_about"
    REPEAT = "repeat"
    HELLO = "hello"
    THANKS = "thanks"


class Answer(Enum):
    """What a person can say to "Did you say ...?"."""

    YES = "yes"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Durations:
    """Ways to say a time span: templates, and the seconds that the words of their lists stand for.

    A form may hold the numbers ``{hours}``, ``{minutes}`` and ``{seconds}``, and lists of ``lists`` by name; it means
    the sum of them.
    """

    forms: tuple[str, ...] = ()
    lists: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Language:
    """One language. Templates are hassil's; see ``languages/en/brain.toml`` for what each field is."""

    code: str
    voice: str
    numbers: str
    requests: Mapping[Request, tuple[str, ...]]
    answers: Mapping[Answer, tuple[str, ...]]
    goodbye: tuple[str, ...]
    """How a conversation is ended; see ``wiring``."""
    polite_before: tuple[str, ...]
    polite_after: tuple[str, ...]
    phrases: Mapping[str, str]
    durations: Durations
    list_and: str
    list_or: str
    rewrites: Mapping[str, str]
    """Words to read as others, such as number words that are in no table."""
    garbage: tuple[str, ...]
    """Frequent words, for the recogniser's loop of speech that is no command; () = it has no model of the language."""

    def say(self, phrase: str, **places: str) -> str:
        """One of the brain's own sentences. Raises KeyError for one that the language lacks, which a test looks for."""
        return self.phrases[phrase].format(**places)

    def spell(self, number: int) -> tuple[str, ...]:
        """The ways people say a number, the plainest first; digits in a language whose number words only hassil knows.

        Raises ValueError beyond +-999,999.
        """
        return spell(number) if self.code == DEFAULT else (str(number),)

    def words(self, text: str) -> list[str]:
        """``text`` as the grammar has it: lower case, no punctuation, numbers as ``spell`` has them."""
        return spoken_words(text) if self.code == DEFAULT else plain_words(text)

    def digits(self, text: str) -> str:
        """Lower-case ``text`` with digits for number words, as far as we and not only hassil know them."""
        if self.code == DEFAULT:
            return digits_for_words(text)
        return " ".join(self.rewrites.get(word, word) for word in text.split())

    def listing(self, things: Sequence[str], word: str | None = None) -> str:
        """ "tea, milk and bread"; ``word``: instead of "and"."""
        if len(things) < 2:
            return "".join(things)
        return f"{', '.join(things[:-1])} {word or self.list_and} {things[-1]}"


@cache
def language(code: str) -> Language:
    """The language of a code such as ``de`` or ``de-AT``; English where the brain does not speak it."""
    for name in (code, code.partition("-")[0].lower(), DEFAULT):
        path = LANGUAGES / name / "brain.toml"
        if path.is_file():
            break
    return _read(path.parent.name, tomllib.loads(path.read_text(encoding="utf-8")))


def english() -> Language:
    return language(DEFAULT)


def _read(code: str, data: Mapping[str, Any]) -> Language:
    durations = data.get("durations", {})
    return Language(
        code=code,
        voice=data["voice"],
        numbers=data["numbers"],
        requests={request: _texts(data["requests"].get(request.value, ())) for request in Request},
        goodbye=_texts(data["goodbye"]),
        answers={answer: _texts(data["answers"][answer.value]) for answer in Answer},
        polite_before=_texts(data["polite"]["before"]),
        polite_after=_texts(data["polite"]["after"]),
        phrases=data["phrases"],
        durations=Durations(_texts(durations.get("forms", ())), durations.get("seconds", {})),
        list_and=data["list_and"],
        list_or=data["list_or"],
        rewrites=data.get("rewrites", {}),
        garbage=tuple(data.get("recognizer", {}).get("garbage", "").split()),
    )


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)

"""What a response costs: tokens by kind out of the server's ``usage``, times a price by kind. PURE.

Money is counted in whole nanos (10^-9 of the currency), so that sums are exact: a price of 0.40 for a million tokens
is 400 nanos for one.

Shape of ``usage``: OpenAI's realtime reference, ``response.done``. The preview models leave parts of it out.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any, Final, NewType

Nanos = NewType("Nanos", int)
"""Money: 10^-9 of whatever currency the prices are in."""

NANOS: Final = 1_000_000_000

MAX_TOKENS: Final = 2_000_000
"""Most tokens of one kind that a response can have. The largest context of a realtime model is 128,000 tokens."""

AUDIO_IN_PER_MINUTE: Final = 600
"""Tokens of a minute that is heard (one each 100 ms)."""

AUDIO_OUT_PER_MINUTE: Final = 1200
"""Tokens of a minute that is spoken (one each 50 ms)."""

_DATE: Final = re.compile(r"-20\d\d-\d\d-\d\d$")


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one response or of many, by what they cost. Cached ones are not part of ``text_in``/``audio_in``.

    ``audio_in`` is all audio in the model's input: every response is billed the whole conversation again.
    """

    text_in: int = 0
    cached_text_in: int = 0
    audio_in: int = 0
    cached_audio_in: int = 0
    text_out: int = 0
    audio_out: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def input(self) -> int:
        return self.text_in + self.cached_text_in + self.audio_in + self.cached_audio_in

    @property
    def output(self) -> int:
        return self.text_out + self.audio_out

    @property
    def cached_share(self) -> float | None:
        """Cached part of the input, 0 to 1; None without input."""
        return (self.cached_text_in + self.cached_audio_in) / self.input if self.input else None


KINDS: Final = tuple(field.name for field in fields(Tokens))


@dataclass(frozen=True, slots=True)
class Price:
    """Price of one token of each kind of :class:`Tokens`, in nanos."""

    text_in: Nanos
    cached_text_in: Nanos
    audio_in: Nanos
    cached_audio_in: Nanos
    text_out: Nanos
    audio_out: Nanos

    @classmethod
    def per_million(cls, prices: Mapping[str, float]) -> Price:
        """From prices for a million tokens, as providers print them, by the names in ``KINDS``."""
        return cls(**{kind: Nanos(round(prices[kind] * NANOS / 1_000_000)) for kind in KINDS})

    def cost(self, tokens: Tokens) -> Nanos:
        return Nanos(sum(each * count for each, count in zip(astuple(self), astuple(tokens), strict=True)))


FREE: Final = Price(*(Nanos(0),) * len(KINDS))


class OddUsage(ValueError):
    """A ``usage`` that cannot be believed: it is not counted."""


def read_usage(usage: Mapping[str, Any]) -> Tokens:
    """The tokens of a ``usage`` object.

    What is missing, negative or no number counts as nothing. Where the parts do not add up to the total, and where
    cached tokens have no kind, the dearer reading is taken: a cap must rather close early than late. The rest of a
    total is audio, and so are images (which Hearth never sends); cached tokens are text first, as instructions are.
    Raises OddUsage for a number that no model can reach.
    """
    details_in, details_out = _object(usage, "input_token_details"), _object(usage, "output_token_details")
    text_in, text_out = _count(details_in, "text_tokens"), _count(details_out, "text_tokens")
    audio_in = max(_count(details_in, "audio_tokens"), _count(usage, "input_tokens") - text_in)
    audio_out = max(_count(details_out, "audio_tokens"), _count(usage, "output_tokens") - text_out)
    cached_text, cached_audio = _cached(details_in, text_in, audio_in)
    return Tokens(
        text_in=text_in - cached_text,
        cached_text_in=cached_text,
        audio_in=audio_in - cached_audio,
        cached_audio_in=cached_audio,
        text_out=text_out,
        audio_out=audio_out,
    )


def _cached(details: Mapping[str, Any], text_in: int, audio_in: int) -> tuple[int, int]:
    """Cached text and audio; never more than there was of each."""
    by_kind = details.get("cached_tokens_details")
    if isinstance(by_kind, Mapping):
        return min(text_in, _count(by_kind, "text_tokens")), min(audio_in, _count(by_kind, "audio_tokens"))
    cached = _count(details, "cached_tokens")
    cached_text = min(text_in, cached)
    return cached_text, min(audio_in, cached - cached_text)


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if not abs(value) <= MAX_TOKENS:  # also NaN
        raise OddUsage(f"usage.{key} is not believable; not counted")
    return max(0, int(value))


def listed_as(model: str | None, names: Container[str]) -> str | None:
    """The name under which a list of prices has this model: its own, or that without the date of its version."""
    candidates = (model, _DATE.sub("", model)) if model is not None else ()
    return next((name for name in candidates if name in names), None)


def price_of(model: str | None, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model; None if it is unknown."""
    name = listed_as(model, prices)
    return None if name is None else prices[name]

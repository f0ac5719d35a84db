"""English number words, both ways: 125 <-> "one hundred [and] twenty five". PURE."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

# fmt: off
_UNITS: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
_TENS: Final = {
    20: "twenty",
    30: "thirty",
    40: "forty",
    50: "fifty",
    60: "sixty",
    70: "seventy",
    80: "eighty",
    90: "ninety",
}
_VALUES: Final = {word: value for value, word in enumerate(_UNITS)} | {word: value for value, word in _TENS.items()}
_SCALES: Final = {"hundred": 100, "thousand": 1000}
_WORD = re.compile(r"[a-z']+|\S")
_UNSPOKEN = re.compile(r"[^\w' ]+")
_BREAK = re.compile(r"[-_/\s]+")
_CLOCK = re.compile(r"\b(\d{1,2}):(\d\d)\b")

LARGEST: Final = 999_999
"""The largest number with words here."""


@lru_cache(maxsize=4096)
def spell(number: int) -> tuple[str, ...]:
    """The ways people say a number, the plainest first; words are separated by single spaces.

    Raises ValueError beyond +-999,999.
    """
    if number < 0:
        return tuple(f"minus {words}" for words in spell(-number))
    if number > LARGEST:
        raise ValueError(f"{number} is too large to be spoken; the limit is {LARGEST}")
    if number < 20:
        return (_UNITS[number],)
    if number < 100:
        rest = number % 10
        return (_TENS[number - rest] + (f" {_UNITS[rest]}" if rest else ""),)
    scale, word = (1000, "thousand") if number >= 1000 else (100, "hundred")
    count, rest = divmod(number, scale)
    heads = [f"{head} {word}" for head in spell(count)]
    if count == 1:
        heads.append(f"a {word}")
    if not rest:
        return tuple(heads)
    joints = (" ", " and ") if rest < 100 else (" ",)
    tails = [tail for tail in spell(rest) if not tail.startswith("a ")]  # nobody says "a thousand a hundred"
    return tuple(f"{head}{joint}{tail}" for head in heads for joint in joints for tail in tails)


def plain_words(text: str) -> list[str]:
    """``text`` in lower case, without punctuation."""
    return _UNSPOKEN.sub(" ", _BREAK.sub(" ", text.lower())).split()


def spoken_words(text: str) -> list[str]:
    """``text`` as a person says it: lower case, no punctuation, digits as words, "7:05" as "seven oh five"."""
    text = _CLOCK.sub(_clock, text)
    return [part for word in plain_words(text) for part in (spell_digits(word).split() if word.isdecimal() else [word])]


def _clock(time: re.Match[str]) -> str:
    hour, minute = time.groups()
    return f"{hour} o'clock" if minute == "00" else f"{hour} {'oh ' * (minute < '10')}{minute}"


def spell_digits(digits: str) -> str:
    """A run of digits as it is said: as a number, or digit by digit where it is too long for one."""
    number = int(digits)
    return spell(number)[0] if number <= LARGEST else " ".join(spell(int(digit))[0] for digit in digits)


def digits_for_words(text: str) -> str:
    """Replace number words in lower-case ``text`` by digits: "twenty-five past one" -> "25 past 1".

    A lone "a" stays; "a hundred" is 100. "minus" before a number becomes its sign.
    """
    words = _WORD.findall(text.replace("-", " "))
    out: list[str] = []
    index = 0
    while index < len(words):
        value, used = _read_number(words, index)
        if not used:
            out.append(words[index])
            index += 1
            continue
        if out and out[-1] == "minus":
            out.pop()
            value = -value
        out.append(str(value))
        index += used
    return " ".join(out)


def _read_number(words: list[str], start: int) -> tuple[int, int]:
    """Value and length in words of the longest number that begins at ``start``; length 0 if there is none."""
    total = current = 0
    index = group = start  # group: where the number after "thousand" begins
    room = LARGEST  # the next plain word must be smaller than this, so that "five ten" stays two numbers
    if words[start] == "a" and start + 1 < len(words) and words[start + 1] in _SCALES:
        current, index = 1, start + 1
    while index < len(words):
        word = words[index]
        if word in _VALUES and _VALUES[word] < room and (_VALUES[word] or index == start):
            current += _VALUES[word]
            room = 10 if _VALUES[word] in _TENS else 0  # after it, only a unit can still belong to it
        elif word in _SCALES and current and (_SCALES[word] > 100 or current < 100):
            current *= _SCALES[word]
            room = 100
            if word == "thousand":
                if total:  # "one thousand one thousand" is two numbers
                    return total, group - start
                total, current, room, group = current, 0, LARGEST, index + 1
        elif word == "and" and index > start and words[index - 1] in _SCALES and _follows(words, index):
            pass
        else:
            break
        index += 1
    return total + current, index - start


def _follows(words: list[str], index: int) -> bool:
    return index + 1 < len(words) and words[index + 1] in _VALUES

"""Who says what: "stop", words that sound alike, and sentences. The same seed gives the same list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from bench._stop_training.speakers import Speaker

Said: TypeAlias = tuple[Speaker, str]


def _listed(words: str) -> list[str]:
    return words.split("|")


_VARIANTS: Final = _listed(
    "Alex|Alicia|Andrea|Andy|Annie|Denis|Diogo|Gene|Gene2|Henrique|Hugo|Jacky|Lee|Marco|Mario|Michael|Mike|Mr|Nguyen"
    "|RicishayMax|Storm|Tweaky|adam|anika|announcer|antonio|aunty|belinda|benjamin|boris|caleb|david|ed|edward|edward2"
    "|f1|f2|f3|f4|f5|grandma|grandpa|gustave|iven|john|kaukovalta|klatt|klatt2|klatt3|klatt4|linda|m1|m2|m3|m4|m5|m6|m7"
    "|m8|marcelo|max|michel|miguel|norbert|pablo|paul|pedro|quincy|rob|robert|sandro|shelby|steph|steph2|travis|victor"
    "|zac|whisper|whisperf"
)
_OTHER_VARIANTS: Final = frozenset({"Annie", "Mike", "belinda", "f2", "m7", "grandma", "steph2", "Lee"})
_ACCENTS: Final = (
    ["en-us"] * 5
    + ["en-gb"] * 3
    + ["en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd"]
    + ["de"] * 4
    + ["fr", "it", "es", "nl", "pl", "sv", "da", "pt", "cs", "fi"]
)
_FLITE: Final = (("kal", "kal16", "awb", "rms"), ("slt",))
_FESTIVAL: Final = (("voice_kal_diphone", "voice_ked_diphone"), ("voice_cmu_us_slt_arctic_hts",))
_KOKORO: Final = ("jf_alpha", "jf_nezumi", "jm_kumo")
_OTHER_KOKORO: Final = ("jf_gongitsune", "jf_tebukuro")

_MEASURED: Final = frozenset({"espeak", "joe"})  # of the other voices

_STOP: Final = ("stop", "stop!", "stop.", "Stop?")
_GERMAN_STOP: Final = ("stopp!", "Stopp.", "stop")
_ALIKE: Final = _listed(
    "top|shop|step|stock|stuff|spot|hop|drop|store|start|stomp|strap|steep|stub|stab|strip|chop|pop|mop|swap|stalk|"
    "stork|stand|stamp|stuck|star|story|study|stove|tap|laptop|desktop|shut|up|scope|slop|flop|crop|prop|cop|staff|"
    "stiff|tops|shops|soap|hope|storm|spots|stocks|steps|shot|sort|spark|stack|sofa|so what|it's hot|what's up|"
    "the top|a shop|not yet|got it|stay|stone|stuff it|setup|smart|snap|scott|bishop|workshop|gossip|tip top|hip hop|"
    "us a top|alexa|hey jarvis|hey mycroft|computer|ok|yes|no|thanks|hello|sure|straight|stool|still|sister|system|"
    "august|test|best of|just a|must have|lots of|lost a|cost of|boss top"
)
_GERMAN_ALIKE: Final = _listed(
    "Kopf|Topf|Stock|Stoff|Schopf|hopp|Shop|top|Stadt|Storch|Stift|stumpf|Galopp|Knopf|Tropf|Stein|Strom|Start|Post|"
    "Obst|doch|noch|Woche|Schiff|Stück|steht|starr|Standuhr|Popp|Kopf ab|der Stoff|am Stock"
)

_LICENSES: Final = ("GPL-3", "GFDL-1.3", "Apache-2.0", "MPL-2.0", "Artistic", "GPL-2")
_ANSWERS: Final = (
    "It is {n} past {m}.",
    "The timer for the {x} has {n} minutes left.",
    "Tomorrow will be {a} with up to {n} degrees.",
    "I have added {x} and {y} to the shopping list.",
    "The {x} is on, and the {y} is off.",
    "Your next appointment is at {n} with the {x}.",
    "I did not find any {x} in the {y}.",
    "Put the {x} into the {y} and wait for {n} minutes.",
    "Here is a story about a {x} who lost the {y}.",
    "The {x} costs {n} dollars and the {y} costs {m}.",
    "Would you like me to turn the {x} up?",
    "There are {n} things on your list: {x}, {y}, and {z}.",
    "The alarm is set for {n} o'clock.",
    "Playing {x} songs from the {y}.",
)
_GERMAN_ANSWERS: Final = (
    "Es ist {n} Uhr {m}.",
    "Der Timer für {x} läuft noch {n} Minuten.",
    "Morgen wird es {a} bei {n} Grad.",
    "Ich habe {x} und {y} auf die Einkaufsliste gesetzt.",
    "Das Licht im {x} ist an.",
    "Es stehen {n} Dinge auf der Liste: {x}, {y} und {z}.",
)
_THINGS: Final = _listed(
    "kitchen light|pasta|shop|milk|bread|eggs|desk lamp|oven|garden|bus|train|station|store|heating|bathroom|story|"
    "soup|rice|potatoes|sister|stereo|door|window|computer|stove|street|staircase|doctor|dentist|apples|oats|spinach|"
    "steak|top shelf|stock cube|step ladder|storm|mop|chocolate|coffee pot|laptop|flour|sugar|salt|music|jazz|rock"
)
_GERMAN_THINGS: Final = _listed(
    "Küche|Wohnzimmer|Kartoffeln|Milch|Brot|Topf|Kopfsalat|Strom|Stadt|Nudeln|Eier|Stollen|Straße|Post|Obst|Bad|Flur|"
    "Stoff"
)
_WEATHER: Final = _listed("cloudy|sunny|rainy|stormy|frosty|mostly hot|bewölkt|sonnig")


def for_training() -> tuple[list[Said], ...]:
    """As :func:`build`. What is kept for measuring is not in it."""
    every_voice = [
        build(1, {"espeak": (1500, 1500, 1500), "flite": (350, 350, 300), "festival": (120, 120, 60)}, others=False),
        build(2, {"kokoro": (120, 80, 12)}, others=False),
        build(4, {"mixture": (160, 100, 16)}, others=False),
        _split(lambda engine: engine not in _MEASURED),
    ]
    return tuple([said for part in every_voice for said in part[kind]] for kind in range(3))


def by_joe() -> tuple[list[Said], ...]:
    """Piper's joe, who sounds like a person. The head hears him say everything else, and never "stop"."""
    return _split(lambda engine: engine == "joe")


def _split(wanted: Callable[[str], bool]) -> tuple[list[Said], ...]:
    counts = {
        "espeak": (100, 100, 60),
        "flite": (60, 60, 60),
        "festival": (20, 20, 20),
        "kokoro": (40, 20, 8),
        "joe": (60, 50, 40),
    }
    return tuple([said for said in part if wanted(said[0].engine)] for part in build(3, counts, others=True))


def build(seed: int, counts: Mapping[str, tuple[int, int, int]], *, others: bool) -> tuple[list[Said], ...]:
    """Stops, words that sound alike, and sentences; ``counts`` has how many of each, by engine.

    others: the other half of an engine's voices.
    """
    random = np.random.default_rng(seed)
    read = _sentences()
    stops: list[Said] = []
    alike: list[Said] = []
    sentences: list[Said] = []
    for engine, (stop_count, alike_count, sentence_count) in counts.items():
        for _ in range(stop_count):
            speaker = _speaker(engine, random, others)
            stops.append((speaker, _pick(_GERMAN_STOP if _german(speaker) else _STOP, random)))
        for _ in range(alike_count):
            speaker = _speaker(engine, random, others)
            alike.append((speaker, _pick(_GERMAN_ALIKE if _german(speaker) else _ALIKE, random)))
        for _ in range(sentence_count):
            speaker = _speaker(engine, random, others)
            from_a_license = not _german(speaker) and random.random() < 0.5 and engine != "kokoro"  # it is slow
            sentences.append((speaker, _pick(read, random) if from_a_license else answer(random, _german(speaker))))
    return stops, alike, sentences


def answer(random: np.random.Generator, german: bool = False) -> str:
    """What an assistant says all day. "Stop" is not in it."""
    things = _GERMAN_THINGS if german else _THINGS
    n, m = int(random.integers(2, 60)), int(random.integers(2, 60))
    weather = _pick(_WEATHER, random)
    x, y, z = (things[number] for number in random.choice(len(things), 3, replace=False))
    return _pick(_GERMAN_ANSWERS if german else _ANSWERS, random).format(n=n, m=m, a=weather, x=x, y=y, z=z)


def _sentences() -> list[str]:
    """Something long to read that every Debian has."""
    found = []
    for name in _LICENSES:
        text = re.sub(r"\s+", " ", Path("/usr/share/common-licenses", name).read_text("utf-8", "ignore"))
        for sentence in re.split(r"(?<=[.;:])\s", text):
            words = re.sub(r"[^A-Za-z0-9,.' -]", " ", sentence).strip()
            if 30 < len(words) < 220 and not re.search(r"\bstop", words, re.IGNORECASE):
                found.append(words)
    return found


def _speaker(engine: str, random: np.random.Generator, others: bool) -> Speaker:
    if engine == "mixture":  # of all voices of kokoro
        warp = round(float(random.uniform(0.86, 1.15)), 3)
        language = _pick(("en-us", "en-us", "en-gb", "de"), random)
        one, other = random.permutation(_KOKORO + _OTHER_KOKORO)[:2]
        voice = f"{one}:{other}:{round(float(random.uniform(0, 1)), 2)}"
        return Speaker("kokoro", voice, round(float(random.uniform(0.7, 1.4)), 2), 1.0, warp, language)
    speed = round(float(random.uniform(0.75, 1.5)), 2)
    warp = round(float(random.uniform(0.88, 1.14)), 3) if random.random() < 0.7 else 1.0
    match engine:
        case "espeak":
            variants = [variant for variant in _VARIANTS if (variant in _OTHER_VARIANTS) == others]
            accent = _pick(_ACCENTS, random)
            voice = f"{accent}+{_pick(variants, random)}"
            return Speaker(engine, voice, speed, round(float(random.uniform(0.5, 1.6)), 2), warp, accent[:2])
        case "flite":
            voice = _pick(_FLITE[others], random)
            return Speaker(engine, voice, speed, round(float(random.uniform(0.75, 1.4)), 2), warp)
        case "festival":
            return Speaker(engine, _pick(_FESTIVAL[others], random), speed, 1.0, warp)
        case "kokoro":
            language = _pick(("en-us", "en-us", "en-gb", "de"), random)
            if others:
                voice = _pick(_OTHER_KOKORO, random)
                return Speaker(engine, voice, round(float(random.uniform(0.8, 1.3)), 2), 1.0, 1.0, language)
            one, other = random.permutation(_KOKORO)[:2]
            voice = f"{one}:{other}:{round(float(random.uniform(0, 1)), 2)}"
            return Speaker(engine, voice, round(float(random.uniform(0.7, 1.4)), 2), 1.0, warp, language)
        case _:
            return Speaker("joe", "joe", round(float(random.uniform(0.75, 1.3)), 2))


def _german(speaker: Speaker) -> bool:
    return speaker.language.startswith("de")


def _pick(options: list[str] | tuple[str, ...], random: np.random.Generator) -> str:
    return options[random.integers(len(options))]

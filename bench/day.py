"""The day without internet: ``python -m bench.day``, a minute; ``--requests 200`` is a whole day.

A household speaks to the offline brain from morning to night: requests by several voices in a simulated room, some in
noise or over a television, some incomplete, some for what is guarded (locks, the garage, the alarm), and chatter that
is meant for nobody. The recogniser, the brain, the tools and the asking before acting are the real ones; it runs faster
than real time. Whoever is not understood says it once more; whoever is asked back says yes or no.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from assistant.local.brain import CallTool, Guess, Incomplete, Say
from assistant.local.chat import ChatRequest
from assistant.local.conversation import Item, Part
from assistant.local.grammar import DEFAULT_STRICTNESS
from assistant.local.language import english
from assistant.local.mind import Mind
from assistant.local.pronounce import arpabet
from assistant.local.recognizer import Recognizer
from assistant.local.recognizer_process import RecognizerProcess
from assistant.local.skills import read_tools
from assistant.local.understanding import ToolWanted, Understanding
from assistant.local.voice import ipa
from assistant.testing.plugins import FakeClock, RecordingRinger
from assistant.testing.room import DESK, FAR_FRAME, KITCHEN, RoomSettings, SimulatedRoom, impulse_response
from assistant.tools import loading
from assistant.tools.consent import CONSENT_TOOLS, DECLINE, Consent
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner
from bench import _guarded_home as guarded_home
from bench.brain import FOREIGN, RATE, Samples, espeak, flite, level

PIN = "4711"
WAKE_PHRASES = ("hey jarvis",)
VOICES = ["en-us", "en-us+f3", "en-us+m3", "en-gb-x-rp"]
MAX_TURNS = 5


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something that is said at some moment of the day. ``answer``: to "For how long?"; "" = it is complete."""

    text: str
    voice: str
    place: str
    chatter: bool = False
    answer: str = ""


@dataclass(slots=True)
class Outcome:
    """What came of an utterance: the calls that were carried out, and how often it had to be said."""

    executed: list[ToolWanted]
    turns: int = 0
    asked_back: bool = False


# --- the day ----------------------------------------------------------------------------------------------------------


def requests(count: int, chooser: random.Random) -> Iterator[tuple[str, str]]:
    """So many requests, and the answers to what they leave out."""
    pick = chooser.choice
    while True:
        lamp, door = pick(guarded_home.LAMPS), pick(guarded_home.DOORS)
        spans = ("five minutes", "ten minutes", "half an hour", "ninety seconds", "two hours", "twenty five minutes")
        day = [
            (f"turn {pick(['on', 'off'])} the {lamp}", ""),
            (f"turn the {lamp} {pick(['on', 'off'])} please", ""),
            (f"set the {lamp} to {pick(['ten', 'thirty', 'fifty', 'eighty'])} percent", ""),
            (f"{pick(['open', 'close'])} the {pick(guarded_home.ROOMS)} blinds", ""),
            (f"set the heating to {pick(['eighteen', 'twenty', 'twenty one'])} degrees", ""),
            (f"set a timer for {pick(spans)}", ""),
            (f"set a {pick(['pasta', 'tea', 'egg'])} timer for {pick(spans)}", ""),
            ("set a timer", pick(spans)),
            ("how much time is left", ""),
            ("cancel the timer", ""),
            (pick(["what time is it", "what's the time"]), ""),
            ("what day is it today", ""),
            (f"what time is it in {pick(['tokyo', 'london', 'new york'])}", ""),
            (f"add {pick(['milk', 'bread', 'eggs', 'coffee', 'toilet paper'])} to the shopping list", ""),
            ("what is on the shopping list", ""),
            (f"hey jarvis turn off the {lamp}", ""),
            (f"lock the {door} door", ""),
            (f"unlock the {door} door", ""),
            (pick(["open the garage", "close the garage"]), ""),
            ("switch off the alarm", ""),
        ]
        chooser.shuffle(day)
        for entry in day:
            if not count:
                return
            count -= 1
            yield entry


PLACES = {  # where, and what sounds there: (room, SNR in dB or None, voices instead of noise)
    "quiet": (DESK, None, False),
    "room": (DESK, 25.0, False),
    "kitchen": (KITCHEN, 20.0, False),
    "fan": (DESK, 12.0, False),
    "television": (DESK, 18.0, True),
}
SHARES = {"quiet": 30, "room": 30, "kitchen": 20, "fan": 10, "television": 10}


def a_day(count: int, voices: Sequence[str], seed: int) -> list[Utterance]:
    chooser = random.Random(seed)

    def somewhere() -> str:
        return chooser.choices([*SHARES], [*SHARES.values()])[0]

    said = [
        Utterance(text, chooser.choice(voices), somewhere(), answer=answer) for text, answer in requests(count, chooser)
    ]
    for text in chooser.choices(FOREIGN, k=count // 4):
        chatter = Utterance(text, chooser.choice(voices), somewhere(), chatter=True)
        said.insert(chooser.randrange(len(said) + 1), chatter)
    return said


class Microphone:
    """Speech as a microphone hears it: some distance, the room's noise, a fan, a television."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._seeds = iter(range(seed, seed + 1_000_000))
        self._spoken: dict[tuple[str, str], Samples] = {}

    def hear(self, text: str, voice: str, place: str) -> bytes:
        settings, snr, others = PLACES[place]
        speech = self._in_reverb(self._say(voice, text), settings)
        quiet = np.zeros(RATE // 2)
        speech = np.concatenate([quiet, speech, quiet])
        if snr is not None:
            noise = self._television(len(speech)) if others else self._hum(len(speech))
            speech = speech + noise * (10 ** (-20 / 20) * 10 ** (-snr / 20) / np.std(noise))
        room = SimulatedRoom(replace(settings, echo_dbfs=-120.0), next(self._seeds))
        room.say(np.clip(speech * 32768, -32768, 32767).astype(np.int16))
        frames = -(-len(speech) // (RATE // 50))
        return b"".join(room.hear(bytes(FAR_FRAME * 2)) for _ in range(frames))

    def _say(self, voice: str, text: str) -> Samples:
        if (voice, text) not in self._spoken:
            spoken = flite(voice[6:], text) if voice.startswith("flite:") else espeak(voice, text)
            self._spoken[voice, text] = level(spoken)
        return self._spoken[voice, text]

    def _in_reverb(self, speech: Samples, settings: RoomSettings) -> Samples:
        near = replace(settings, drr_db=settings.drr_db + 6)  # people stand nearer than the loudspeaker's echo
        heard = np.convolve(speech, impulse_response(near, self._random))[: len(speech) + RATE // 10]
        return level(np.asarray(heard))

    def _hum(self, size: int) -> Samples:
        spectrum = np.fft.rfft(self._random.normal(size=size))
        return np.asarray(np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), size))

    def _television(self, size: int) -> Samples:
        total = np.zeros(size)
        for index in self._random.integers(len(FOREIGN), size=2):
            voice = np.tile(self._say("en-us+m3", FOREIGN[index]), 4)
            start = self._random.integers(max(1, len(voice) - size))
            total += np.resize(voice[start:], size)
        return total


# --- the house --------------------------------------------------------------------------------------------------------


class House:
    """Recogniser, brain and tools, put together as a session of the embedded server does."""

    def __init__(self, recognizer: Recognizer, registry: ToolRegistry) -> None:
        self._recognizer = recognizer
        self._runner = ToolRunner(registry, consent=Consent(lambda: PIN))
        self._tools = registry.specs(offline=True)
        self._mind = Mind(recognizer, english(), WAKE_PHRASES, DEFAULT_STRICTNESS)
        self._items: list[Item] = []
        self._turn = 0
        self._asked: ToolWanted | None = None  # waits for consent

    async def open(self) -> None:
        self._mind.set_tools(self._tools)
        await self._mind.load()

    async def close(self) -> None:
        await self._runner.close()
        await self._recognizer.close()

    def forget(self) -> None:
        """Time passes, and the conversation is over."""
        self._items.clear()

    async def hear(self, pcm: bytes) -> tuple[Say | None, list[ToolWanted]]:
        """One turn: what is said in the end, and the calls that were carried out on the way."""
        utterance = self._recognizer.begin()
        for start in range(0, len(pcm), 640):
            utterance.feed(pcm[start : start + 640])
        heard = await utterance.finish()
        self._turn += 1
        item = Item(f"u{self._turn}", "message", role="user", parts=[Part("input_audio", heard.text)])
        item.rejected, item.guess = heard.rejected, heard.guess
        if heard.rejected:
            item.parts[0].text = ""
        self._items.append(item)
        return await self._answer()

    async def _answer(self) -> tuple[Say | None, list[ToolWanted]]:
        executed: list[ToolWanted] = []
        while True:
            last: Say | None = None
            call: CallTool | None = None
            async for decision in self._mind.decide(ChatRequest("", self._items, self._tools)):
                match decision:
                    case CallTool():
                        call = decision
                    case Say():
                        last = decision
            if call is None:
                if last is not None:
                    number = len(self._items)
                    part = Part("output_audio", last.text)
                    self._items.append(Item(f"a{number}", "message", role="assistant", parts=[part]))
                return last, executed
            executed += await self._call(call)

    async def _call(self, call: CallTool) -> list[ToolWanted]:
        """Call a tool; gives what was really carried out, which may be what was asked about before."""
        arguments = json.dumps(dict(call.arguments))
        outcome = await self._runner.call(call.tool, arguments, turn=self._turn)
        name = f"c{len(self._items)}"
        self._items.append(Item(name, "function_call", name=call.tool, call_id=name, arguments=arguments))
        self._items.append(Item(f"{name} done", "function_call_output", call_id=name, output=outcome.output))
        wanted = ToolWanted(call.tool, call.arguments)
        if outcome.status == "asked":
            self._asked = wanted
            return []
        if call.tool in CONSENT_TOOLS:
            agreed, self._asked = self._asked, None
            is_done = outcome.status == "ok" and call.tool != DECLINE
            return [agreed] if agreed is not None and is_done else []
        return [wanted]

    @property
    def asked(self) -> ToolWanted | None:
        """What waits for a yes or for the PIN."""
        return self._asked


async def live(house: House, microphone: Microphone, said: Utterance, understanding: Understanding) -> Outcome:
    """A person says something, and goes on until it is done, or gives up."""
    house.forget()
    wanted = _wanted(said, understanding)
    outcome = Outcome([])
    words, repeated = said.text, False
    while outcome.turns < MAX_TURNS:
        outcome.turns += 1
        answer, executed = await house.hear(microphone.hear(words, said.voice, said.place))
        outcome.executed += executed
        if executed or said.chatter:
            break
        awaits = answer.awaits if answer is not None else None
        if house.asked is not None:
            words = _consent(house.asked, wanted)
        elif isinstance(awaits, Guess):
            outcome.asked_back = True
            right = understanding.understand(awaits.text) == understanding.understand(said.text)
            words = "yes" if right else "no"
        elif isinstance(awaits, Incomplete) and said.answer:
            words = said.answer
        elif repeated:
            break
        else:
            words, repeated = said.text, True
            house.forget()
    return outcome


def _consent(asked: ToolWanted, wanted: object) -> str:
    if asked != wanted:
        return "no"
    return "my pin is four seven one one" if asked.tool == "alarm_off" else "yes"


# --- the count --------------------------------------------------------------------------------------------------------


async def day(count: int, seed: int, voices: Sequence[str], show: bool) -> Counter[str]:
    async def pronounce(words: Sequence[str]) -> dict[str, str]:
        return {word: arpabet(ipa(word)) for word in words}

    counts: Counter[str] = Counter()
    engine = RecognizerProcess(pronounce)
    with tempfile.TemporaryDirectory() as folder:
        registry = ToolRegistry(Path(folder), clock=FakeClock(), ringer=RecordingRinger())
        bundled = {candidate.name: candidate for candidate in loading.in_folder(loading.bundled_plugins_folder())}
        chosen = [bundled[name] for name in ("clock", "lists", "timers", "notes")]
        registry.load_candidates([*chosen, loading.from_object("home", guarded_home)])
        understanding = Understanding(read_tools(registry.specs(offline=True)), WAKE_PHRASES)
        running = asyncio.create_task(engine.run())
        await registry.start()
        house = House(engine.open(), registry)
        try:
            await house.open()
            microphone = Microphone(seed)
            for said in a_day(count, voices, seed):
                outcome = await live(house, microphone, said, understanding)
                result = _score(counts, said, outcome, understanding)
                if show:
                    done = ", ".join(f"{call.tool} {dict(call.arguments)}" for call in outcome.executed)
                    print(f"  {result:<20}{said.place:<12}{said.voice:<12}{said.text:<40}{done}", flush=True)
        finally:
            await house.close()
            await registry.stop()
            running.cancel()
            await asyncio.wait({running})
    return counts


def _score(counts: Counter[str], said: Utterance, outcome: Outcome, understanding: Understanding) -> str:
    """Count it; gives what it is counted as."""
    wanted = _wanted(said, understanding)
    kind = "chatter" if said.chatter else "request"
    counts[kind] += 1
    counts[f"{kind} in {said.place}"] += 1
    if wrong := [call for call in outcome.executed if said.chatter or call != wanted]:
        guarded = any(call.tool in guarded_home.GUARDED for call in wrong)
        result = f"{kind} wrong, {'guarded' if guarded else 'harmless'}"
    elif said.chatter:
        result = "ignored"
    elif outcome.executed:
        result = "understood"
        counts[f"understood in {said.place}"] += 1
        counts["understood after a question back"] += outcome.asked_back
    else:
        result = "refused"
    counts[result] += 1
    return result


def _wanted(said: Utterance, understanding: Understanding) -> object:
    """What the person wants."""
    wanted = understanding.understand(said.text)
    if isinstance(wanted, ToolWanted) and said.answer:
        completed = understanding.complete(wanted, said.answer)
        return completed[0] if completed else wanted
    return wanted


def main() -> None:
    options = _options()
    voices = VOICES + (["flite:slt"] if shutil.which("flite") else [])
    started = time.monotonic()
    counts = asyncio.run(day(options.requests, options.seed, voices, options.show))
    took = time.monotonic() - started
    total = max(1, counts["request"])
    print(f"A day without internet: {counts['request']} requests and {counts['chatter']} other sentences by", end=" ")
    print(f"{len(voices)} voices, {took:.0f} s")
    for name in ("understood", "refused", "request wrong, harmless", "request wrong, guarded"):
        print(f"  {name:<34}{counts[name]:5d} {counts[name] / total:8.1%}")
    print(f"  {'understood with a question back':<34}{counts['understood after a question back']:5d}")
    for name in ("harmless", "guarded"):
        print(f"  {f'chatter acted on, {name}':<34}{counts[f'chatter wrong, {name}']:5d}")
    for place in PLACES:
        here = counts[f"request in {place}"]
        print(f"  understood, {place:<22}{counts[f'understood in {place}']:5d} of {here}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.day", description="A household day without internet.")
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="what came of each sentence")
    return parser.parse_args()


if __name__ == "__main__":
    main()

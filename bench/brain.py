"""The offline brain in numbers: ``python -m bench.brain``, a minute; ``--full`` takes some more.

Sentences of a small household and sentences that are none, spoken by several synthetic voices, clean, with pink noise
at 20 and 10 dB, and over other voices at 15 dB: how many are understood with the right arguments, misunderstood, asked
back ("Did you say ...?") rightly or wrongly, or refused; and how much foreign speech is acted on or asked about. Then
the recordings of people in ``../shared/speech/commands``, and the time from the end of speech to the first audio of the
answer, over the socket.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from websockets.asyncio.client import ClientConnection, connect

from assistant.local.grammar import DEFAULT_STRICTNESS, compile_grammar
from assistant.local.pronounce import arpabet
from assistant.local.recognizer_wire import grammar_payload
from assistant.local.recognizer_worker import Decoder
from assistant.local.server import LocalServerSettings, serve
from assistant.local.skills import Skills, read_tools
from assistant.local.understanding import Meaning, NotUnderstood, RequestWanted, ToolWanted, Understanding
from assistant.local.voice import Voice, ipa

RATE = 16_000
LEVEL = 10 ** (-20 / 20)  # of full scale
WAKE_PHRASES = ("hey jarvis",)
RECORDINGS = Path(__file__).resolve().parents[1] / ".." / "shared" / "speech" / "commands"


def _tool(name: str, properties: Mapping[str, Any], sentences: list[str], **offline: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {
        "type": "function",
        "name": name,
        "description": name.replace("_", " ").capitalize() + ".",
        "parameters": parameters,
        "x-offline": {"sentences": sentences, **offline},
    }


AREAS = ["kitchen", "living_room", "bedroom", "office", "hall", "bathroom"]
UNITS = {"seconds": "second[s]", "minutes": "minute[s]", "hours": "hour[s]"}
TOOLS = [
    _tool(
        "light_set",
        {"state": {"type": "string", "enum": ["on", "off"]}, "area": {"type": "string", "enum": AREAS}},
        ["(turn|switch) {state} [the] {area} light[s]", "(turn|switch) [the] {area} light[s] {state}"],
    ),
    _tool(
        "timer_set",
        {"n": {"type": "integer", "minimum": 1, "maximum": 99}, "unit": {"type": "string", "enum": list(UNITS)}},
        ["(set|start) a timer for {n} {unit}", "set a {n} {unit} timer"],
        lists={"unit": UNITS},
    ),
    _tool("timer_cancel", {}, ["(cancel|stop) the timer", "how much time is left"]),
    _tool("time_get", {}, ["what time is it", "(what's|what is) the time"]),
    _tool("date_get", {}, ["what day is it [today]", "(what's|what is) the date [today]"]),
    _tool(
        "volume_set",
        {"percent": {"type": "integer", "minimum": 0, "maximum": 100}},
        ["set [the] volume to {percent} [percent]"],
    ),
    _tool("weather_get", {}, ["(what's|what is) the weather [like] [today]"]),
]
KNOWN = [
    "turn on the kitchen light",
    "turn the living room lights off",
    "switch off the bedroom light",
    "turn the office light on",
    "switch the hall light on",
    "turn off the bathroom lights",
    "set a timer for five minutes",
    "set a timer for twenty five minutes",
    "set a ten second timer",
    "set a timer for ninety seconds",
    "start a timer for two hours",
    "start a timer for forty minutes",
    "cancel the timer",
    "how much time is left",
    "what time is it",
    "what's the time",
    "what day is it today",
    "what is the date",
    "set the volume to thirty percent",
    "set volume to seventy",
    "what's the weather like today",
    "what can you do",
    "never mind",
    "hey jarvis turn on the kitchen lights",
]
FOREIGN = [
    "the weather is nice in the mountains",
    "i think we should go to the store",
    "did you see the game last night",
    "my sister is coming over for dinner",
    "turn on the television",
    "put the bread in the oven please",
    "he said that it was raining all day",
    "what do you want to eat tonight",
    "call my mother tomorrow",
    "the children are playing in the garden",
    "how much does it cost",
    "set the table for dinner",
    "she bought a new car",
    "open the window",
    "i can't find my keys",
    "yesterday was a long day at work",
    "no i don't think so",
    "can you pass me the salt",
    "what was the name of that film",
    "turn left at the next corner",
    "it is time to go to bed",
    "the light in this room is bad",
    "we have five minutes left",
    "maybe later",
]
ESPEAK_VOICES = ["en-us"]
MORE_VOICES = ["en-gb-x-rp", "en-us+m1", "en-us+Storm"]
FLITE_VOICES = ["slt"]


@dataclass(slots=True)
class Score:
    """Counts over one condition."""

    known: int = 0
    right: int = 0
    wrong: int = 0
    asked_right: int = 0
    asked_wrong: int = 0
    foreign: int = 0
    foreign_acted: int = 0
    foreign_asked: int = 0
    audio_s: float = 0.0
    cpu_s: float = 0.0

    def row(self, name: str) -> str:
        refused = self.known - self.right - self.wrong - self.asked_right - self.asked_wrong
        known = [self.right, self.wrong, self.asked_right, self.asked_wrong, refused]
        foreign = [self.foreign_acted, self.foreign_asked]
        shares = [count / max(1, self.known) for count in known] + [n / max(1, self.foreign) for n in foreign]
        columns = "".join(f"{share:9.3f}" for share in shares)
        return f"  {name:<14}{columns}{self.cpu_s / max(1e-9, self.audio_s):9.3f}"


COLUMNS = ("right", "wrong", "asked", "askwrong", "refused", "f.acted", "f.asked", "RTF")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is under the speech, and by how many dB below it."""

    noise: Literal["pink", "voices"]
    snr: float


CONDITIONS = {
    "clean": Condition("pink", 40.0),
    "20 dB": Condition("pink", 20.0),
    "10 dB": Condition("pink", 10.0),
    "voices 15 dB": Condition("voices", 15.0),
}
MORE_CONDITIONS = {"5 dB": Condition("pink", 5.0), "voices 10 dB": Condition("voices", 10.0)}


def main() -> None:
    options = _options()
    skills = read_tools(TOOLS)
    listener = Listener(skills, options.strictness)
    print(f"Offline brain: {listener.arcs} word arcs, grammar loaded in {listener.load_ms:.0f} ms", end="; ")
    print(f"strictness {options.strictness:g}; {len(KNOWN)} known, {len(FOREIGN)} foreign sentences", end="; ")
    print(f"voices {', '.join(options.voices)}")
    print(f"  {'':<14}" + "".join(f"{name:>9}" for name in COLUMNS))
    conditions = CONDITIONS | (MORE_CONDITIONS if options.full else {})
    with ProcessPoolExecutor(max_workers=2) as processes:
        scores = [
            processes.submit(listen, options.voices, at, options.strictness, options.full) for at in conditions.values()
        ]
        for name, score in zip(conditions, scores, strict=True):
            print(score.result().row(name), flush=True)
    recordings(skills, options.strictness)
    asyncio.run(latency(8 if options.full else 3))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.brain", description="Measure the offline brain.")
    parser.add_argument("--strictness", type=float, default=DEFAULT_STRICTNESS)
    parser.add_argument("--full", action="store_true", help="more voices, more noise, more turns")
    parser.add_argument("--voices", nargs="*", help="espeak-ng voices, or flite:NAME")
    options = parser.parse_args()
    if not options.voices:
        flite = [f"flite:{name}" for name in FLITE_VOICES] if shutil.which("flite") else []
        voices = ESPEAK_VOICES[:1] + (flite or ["en-us+f3"])
        options.voices = voices + (MORE_VOICES if options.full else [])
    return options


# --- speech -----------------------------------------------------------------------------------------------------------

Samples = npt.NDArray[np.float64]


def synthesise(voices: list[str]) -> Iterator[tuple[tuple[str, str], Samples]]:
    """Every sentence by every voice: (voice, sentence), samples at 16 kHz and -20 dBFS."""
    for voice in voices:
        for text in KNOWN + FOREIGN:
            yield (voice, text), level(flite(voice[6:], text) if voice.startswith("flite:") else espeak(voice, text))


def espeak(voice: str, text: str) -> Samples:
    pcm = b"".join(Voice(voice).speak(text))
    return np.asarray(soxr.resample(np.frombuffer(pcm, dtype="<i2") / 32768.0, 24_000, RATE))


def flite(voice: str, text: str) -> Samples:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        samples, rate = soundfile.read(path)
    return np.asarray(soxr.resample(samples, rate, RATE))


def level(samples: Samples) -> Samples:
    voiced = samples[np.abs(samples) > 0.01]
    return np.asarray(samples * (LEVEL / np.sqrt(np.mean(voiced**2))))


def in_room(samples: Samples, snr: float, seed: int, others: Sequence[Samples] = ()) -> bytes:
    """Speech with half a second of room on both sides, and pink noise or ``others`` under it, as 16 bit."""
    silence = np.zeros(RATE // 2)
    speech = np.concatenate([silence, samples, silence])
    noise = _pink(len(speech), seed)
    if others:
        noise = _babble(others, len(speech), seed) + noise * 0.05
    noise *= LEVEL * 10 ** (-snr / 20) / np.std(noise)
    return np.round(np.clip(speech + noise, -1, 1) * 32767).astype("<i2").tobytes()


def _pink(size: int, seed: int) -> Samples:
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=size))
    spectrum /= np.sqrt(np.maximum(1, np.arange(len(spectrum))))
    noise = np.fft.irfft(spectrum, size)
    return np.asarray(noise / np.std(noise))


def _babble(others: Sequence[Samples], size: int, seed: int) -> Samples:
    """Five people who talk at once."""
    random = np.random.default_rng(seed)
    total = np.zeros(size)
    for index in random.integers(len(others), size=5):
        voice = np.tile(others[index], size // len(others[index]) + 2)
        start = random.integers(len(voice) - size)
        total += voice[start : start + size]
    return np.asarray(total / np.std(total))


# --- recognition ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """What an utterance was taken for. ``guess``: what would be asked back."""

    meaning: Meaning
    guess: Meaning

    @property
    def acted(self) -> bool:
        return isinstance(self.meaning, ToolWanted | RequestWanted)

    @property
    def asked(self) -> bool:
        return not self.acted and isinstance(self.guess, ToolWanted)


class Listener:
    """The decoder and the understanding, in this process."""

    def __init__(self, skills: Skills, strictness: float) -> None:
        grammar, _ = compile_grammar(skills, wake_phrases=WAKE_PHRASES, strictness=strictness)
        self.arcs = grammar.graph.size
        self._decoder = Decoder(suppress_noise=True)
        started = time.perf_counter()
        missing = self._decoder.load(json.loads(grammar_payload(grammar, {})))
        if missing:
            known = {word: arpabet(ipa(word)) for word in missing}
            self._decoder.load(json.loads(grammar_payload(grammar, known)))
        self.load_ms = (time.perf_counter() - started) * 1000
        self._understanding = Understanding(skills, WAKE_PHRASES)

    def new_microphone(self) -> None:
        self._decoder.open(None)

    def hear(self, pcm: bytes) -> Heard:
        """Streamed in frames of 20 ms, as a session does."""
        self._decoder.begin()
        for start in range(0, len(pcm), 640):
            self._decoder.feed(pcm[start : start + 640])
        result = self._decoder.finish()
        meaning = NotUnderstood() if result["rejected"] else self.understand(result["text"])
        guess = self.understand(result["guess"])
        if isinstance(guess, ToolWanted) and isinstance(meaning, ToolWanted) and guess != meaning:
            meaning = NotUnderstood()  # it is asked about
        return Heard(meaning, guess)

    def understand(self, text: str) -> Meaning:
        return self._understanding.understand(text)


def listen(voices: list[str], condition: Condition, strictness: float, full: bool) -> Score:
    """All sentences in one condition, by all voices if ``full``; runs in a process of its own."""
    listener = Listener(read_tools(TOOLS), strictness)
    clips = dict(synthesise(voices))
    others = [clips[voice, text] for voice in voices for text in FOREIGN] if condition.noise == "voices" else []
    score = Score()
    for index, voice in enumerate(voices):
        listener.new_microphone()  # each voice is another room, heard for the first time
        for seed, text in enumerate(KNOWN + FOREIGN):
            if not full and seed % len(voices) != index:  # each sentence is said by one of the voices
                continue
            pcm = in_room(clips[voice, text], condition.snr, seed, others)
            started = time.process_time()
            heard = listener.hear(pcm)
            score.cpu_s += time.process_time() - started
            score.audio_s += len(pcm) / 2 / RATE
            if text in KNOWN:
                wanted = listener.understand(text)
                score.known += 1
                score.right += heard.meaning == wanted
                score.wrong += heard.acted and heard.meaning != wanted
                score.asked_right += heard.asked and heard.guess == wanted
                score.asked_wrong += heard.asked and heard.guess != wanted
            else:
                score.foreign += 1
                score.foreign_acted += heard.acted
                score.foreign_asked += heard.asked
    return score


def recordings(skills: Skills, strictness: float) -> None:
    """People saying "turn on the office lights", and one question that is not among the sentences' slots."""
    paths = sorted(RECORDINGS.glob("*.flac")) if RECORDINGS.is_dir() else []
    if not paths:
        print("  recordings        skipped: ../shared/speech/commands is not here")
        return
    listener = Listener(skills, strictness)
    right = 0
    lights = [path for path in paths if path.name.startswith("turn_on_the_office_lights")]
    for path in lights:
        listener.new_microphone()
        samples, rate = soundfile.read(path)
        pcm = np.round(soxr.resample(samples, rate, RATE) * 32767).astype("<i2").tobytes()
        right += listener.hear(pcm).meaning == listener.understand("turn on the office lights")
    print(f"  recordings        {right} of {len(lights)} people understood saying 'turn on the office lights'")


# --- latency over the socket ------------------------------------------------------------------------------------------


async def latency(turns: int) -> None:
    """Real-time frames of 20 ms; from the last sample of speech to the first audio delta of the answer."""
    by_commit: list[float] = []
    by_vad: list[float] = []
    async with _server() as url:
        for turn_detection, found in ((None, by_commit), ({"type": "server_vad"}, by_vad)):
            async with connect(url, max_size=None) as socket:
                await _configure(socket, turn_detection)
                for index in (6, 14, 12, 4, 8, 9, 16, 19)[:turns]:
                    speech = level(espeak(ESPEAK_VOICES[0], KNOWN[index]))
                    found.append(await _turn(socket, speech, turn_detection is None))
    print("  end of speech to first audio, median (ms)")
    print(f"    commit at the end of speech {statistics.median(by_commit) * 1000:8.0f}")
    print(f"    server_vad, 500 ms silence  {statistics.median(by_vad) * 1000:8.0f}")


@asynccontextmanager
async def _server() -> AsyncIterator[str]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings = LocalServerSettings(wake_phrases=WAKE_PHRASES)
    task = asyncio.create_task(serve(settings, ready=port.set_result))
    try:
        yield f"ws://127.0.0.1:{await port}/v1/realtime"
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _configure(socket: ClientConnection, turn_detection: Mapping[str, Any] | None) -> None:
    session = {"type": "realtime", "tools": TOOLS, "audio": {"input": {"turn_detection": turn_detection}}}
    await socket.send(json.dumps({"type": "session.update", "session": session}))
    await _until(socket, "session.updated")


async def _turn(socket: ClientConnection, samples: Samples, commit: bool) -> float:
    """One command and its answer; seconds from the last sample of speech to the first audio that comes back."""
    pcm = np.frombuffer(in_room(samples, 30.0, 1), dtype="<i2")
    pcm24 = soxr.resample(pcm.astype(np.float32), RATE, 24_000).astype("<i2").tobytes()
    end = len(pcm24) - 24_000  # half a second of room follows the speech
    async with asyncio.TaskGroup() as tasks:
        answered = tasks.create_task(_answer(socket))
        spoken_at = await _speak(socket, pcm24[:end] if commit else pcm24 + pcm24[end:] * 2, end)
        if commit:
            await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
            await socket.send(json.dumps({"type": "response.create"}))
    return answered.result() - spoken_at


async def _speak(socket: ClientConnection, pcm: bytes, end: int) -> float:
    """Send audio in real time; gives the moment at which byte ``end`` had been sent."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    for index, start in enumerate(range(0, len(pcm), 960)):
        await asyncio.sleep(max(0.0, started + (index + 1) * 0.02 - loop.time()))
        audio = base64.b64encode(pcm[start : start + 960]).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    return started + end / 48_000


async def _answer(socket: ClientConnection) -> float:
    """Answer tool calls until a spoken reply is complete; gives the moment of its first audio."""
    heard_at = 0.0
    while True:
        event = json.loads(await socket.recv())
        if event["type"] == "response.output_audio.delta" and not heard_at:
            heard_at = asyncio.get_running_loop().time()
        if event["type"] == "response.done":
            calls = [item for item in event["response"]["output"] if item["type"] == "function_call"]
            if not calls:
                return heard_at
            output = {"type": "function_call_output", "call_id": calls[0]["call_id"], "output": '{"say": "All right."}'}
            await socket.send(json.dumps({"type": "conversation.item.create", "item": output}))
            await socket.send(json.dumps({"type": "response.create"}))


async def _until(socket: ClientConnection, event_type: str) -> dict[str, Any]:
    while True:
        event: dict[str, Any] = json.loads(await socket.recv())
        if event["type"] == event_type:
            return event


if __name__ == "__main__":
    main()

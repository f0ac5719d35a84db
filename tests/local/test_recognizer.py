"""The recogniser with its real child process, and with children that fail."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.local import recognizer_process as module
from assistant.local.grammar import Grammar, compile_grammar
from assistant.local.pronounce import arpabet
from assistant.local.recognizer import Recognizer, RecognizerError, Transcript
from assistant.local.recognizer_process import RecognizerProcess
from assistant.local.recognizer_wire import HEADER, MAX_PAYLOAD, Frame, Kind, decode_header, grammar_payload
from assistant.local.recognizer_worker import Decoder
from assistant.local.skills import read_tools
from assistant.local.voice import ipa
from tests.local.household import TOOLS, tool
from tests.speech import concat, in_room, mix, say

GRAMMAR, _ = compile_grammar(read_tools(TOOLS), wake_phrases=("hey jarvis",))
VOICES = ("en-us", "en-us+m1", "en-us+Storm")
KNOWN = (
    "turn on the kitchen light",
    "turn the living room lights off",
    "set a timer for five minutes",
    "what time is it",
    "hey jarvis turn off the bedroom light",
)
FOREIGN = (
    "the children are playing in the garden",
    "i think we should go to the store",
    "did you see the game last night",
    "my sister is coming over for dinner",
)


async def pronounce(words: Sequence[str]) -> Mapping[str, str]:
    return {word: arpabet(ipa(word)) for word in words}


@contextlib.asynccontextmanager
async def engine(means: Path | None = None, *, fickle: str | None = None) -> AsyncIterator[RecognizerProcess]:
    command = (sys.executable, str(Path(__file__).with_name("fickle_worker.py")), fickle) if fickle else None
    process = RecognizerProcess(pronounce, means, **({"command": command} if command else {}))
    task = asyncio.create_task(process.run())
    try:
        yield process
    finally:
        task.cancel()
        await asyncio.wait({task})


def spoken(text: str, voice: str = "en-us") -> bytes:
    """A sentence in a quiet room: 35 dB."""
    return in_room(say(text, voice, 165), before=0.4, after=0.4).tobytes()


async def hear(recognizer: Recognizer, text: str, voice: str = "en-us") -> Transcript:
    utterance = recognizer.begin()
    pcm = spoken(text, voice)
    for start in range(0, len(pcm), 3200):
        utterance.feed(pcm[start : start + 3200])
    return await utterance.finish()


async def opened(process: RecognizerProcess, grammar: Grammar = GRAMMAR) -> Recognizer:
    recognizer = process.open()
    await recognizer.set_grammar(grammar)
    return recognizer


def test_known_sentences_are_heard_and_foreign_ones_rejected() -> None:
    async def main() -> None:
        async with engine() as process:
            recognizer = await opened(process)
            known = {(text, voice): await hear(recognizer, text, voice) for text in KNOWN for voice in VOICES}
            foreign = [await hear(recognizer, text, voice) for text in FOREIGN for voice in VOICES]
        right = sum(
            not heard.rejected and set(heard.text.split()) - {"lights"} == set(text.split()) - {"lights"}
            for (text, _), heard in known.items()
        )
        wrong = {key: heard.text for key, heard in known.items() if heard.text != key[0]}
        assert right >= 0.8 * len(known), wrong
        assert sum(heard.rejected for heard in foreign) >= 0.9 * len(foreign), foreign

    asyncio.run(main())


def test_the_first_utterance_on_a_cold_microphone_is_understood_and_teaches_the_mean(tmp_path: Path) -> None:
    mean = tmp_path / "local" / "default.txt"

    async def main() -> Transcript:
        async with engine(mean.parent) as process:
            return await hear(await opened(process), KNOWN[1])

    assert asyncio.run(main()) == Transcript(KNOWN[1], rejected=False)
    learnt = mean.read_text()
    assert len(learnt.split(",")) == 13
    mean.write_text("rubbish, not numbers")
    assert asyncio.run(main()) == Transcript(KNOWN[1], rejected=False)
    assert mean.read_text() != "rubbish, not numbers"


async def so_far(recognizer: Recognizer, text: str) -> str:
    utterance = recognizer.begin()
    utterance.feed(spoken(text))
    heard = await utterance.so_far()
    utterance.abandon()
    assert await utterance.so_far() == ""
    return heard


def test_what_was_heard_is_known_before_the_end() -> None:
    async def main() -> None:
        async with engine() as process:
            recognizer = await opened(process)
            assert await so_far(recognizer, KNOWN[0]) == "", "a cold recogniser only collects"
            await hear(recognizer, KNOWN[0])
            assert await so_far(recognizer, KNOWN[2]) == KNOWN[2]
            assert await so_far(recognizer, "set a timer for") == "set a timer for"
            assert await so_far(recognizer, FOREIGN[0]) == ""
            utterance = recognizer.begin()
            utterance.feed(spoken(KNOWN[2])[:-12_800])
            both = await asyncio.gather(utterance.so_far(), utterance.so_far())
            assert sorted(both) == ["", KNOWN[2]], "one question at a time; the other has to do without"
            assert (await utterance.finish()).text == KNOWN[2], "asking changes nothing"

    asyncio.run(main())


def test_an_utterance_is_heard_from_its_beginning_once_the_sentences_are_loaded() -> None:
    async def main() -> None:
        async with engine() as process:
            await hear(await opened(process), KNOWN[0])  # the microphone is known
            recognizer = process.open()
            utterance = recognizer.begin()
            pcm = spoken(KNOWN[2])
            utterance.feed(pcm[: len(pcm) // 2])
            assert await utterance.so_far() == ""
            await recognizer.set_grammar(GRAMMAR)
            utterance.feed(pcm[len(pcm) // 2 :])
            assert await utterance.so_far() == KNOWN[2]
            assert (await utterance.finish()).text == KNOWN[2]

    asyncio.run(main())


def test_a_child_that_dies_has_heard_nothing_so_far() -> None:
    async def main() -> None:
        async with engine() as process:
            recognizer = await opened(process)
            await hear(recognizer, KNOWN[0])
            utterance = recognizer.begin()
            utterance.feed(spoken(KNOWN[2]))
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            asking = asyncio.create_task(utterance.so_far())
            await asyncio.sleep(0)
            os.kill(process.pid, signal.SIGKILL)
            assert await asking == ""
            assert (await utterance.finish()).text == KNOWN[2]

    asyncio.run(main())


def test_silence_is_an_empty_transcript() -> None:
    async def main() -> Transcript:
        async with engine() as process:
            recognizer = await opened(process)
            await hear(recognizer, KNOWN[0])
            utterance = recognizer.begin()
            utterance.feed(bytes(3200))
            utterance.feed(b"")
            return await utterance.finish()

    assert asyncio.run(main()) == Transcript("", rejected=False)


def test_a_word_that_the_dictionary_lacks() -> None:
    grammar, _ = compile_grammar(read_tools([tool("t", {}, ["play on the tradfri speaker"]), *TOOLS]))

    async def main() -> Transcript:
        async with engine() as process:
            return await hear(await opened(process, grammar), "play on the tradfri speaker")

    assert asyncio.run(main()).text == "play on the tradfri speaker"


def test_sessions_do_not_disturb_each_other() -> None:
    """Interleaved frames of two streams with different grammars; the grammar of one changes in between."""
    other, _ = compile_grammar(read_tools([tool("t", {}, ["open the garage door"])]))

    async def main() -> list[Transcript]:
        async with engine() as process:
            first, second = await opened(process), await opened(process, other)
            await hear(first, KNOWN[0])
            utterances = (first.begin(), second.begin())
            pcms = (spoken(KNOWN[0]), spoken("open the garage door"))
            for start in range(0, max(map(len, pcms)), 640):
                for utterance, pcm in zip(utterances, pcms, strict=True):
                    utterance.feed(pcm[start : start + 640])
            heard = [await utterance.finish() for utterance in utterances]
            await second.close()
            await first.set_grammar(other)
            return [*heard, await hear(first, "open the garage door")]

    assert [heard.text for heard in asyncio.run(main())] == [KNOWN[0], "open the garage door", "open the garage door"]


def test_what_is_said_before_there_is_a_grammar_waits_for_it() -> None:
    async def main() -> Transcript:
        async with engine() as process:
            recognizer = process.open()
            hearing = asyncio.create_task(hear(recognizer, KNOWN[0]))
            await asyncio.sleep(0)
            await recognizer.set_grammar(GRAMMAR)
            return await hearing

    assert set(asyncio.run(main()).text.split()) >= {"kitchen", "on"}


def test_what_is_said_while_the_grammar_changes_is_heard_with_the_new_one() -> None:
    other, _ = compile_grammar(read_tools([tool("t", {}, ["open the garage door"])]))

    async def main() -> list[Transcript]:
        async with engine() as process:
            recognizer = await opened(process)
            await hear(recognizer, KNOWN[0])
            pcm = spoken("open the garage door")
            results = []
            for grammar in (other, other):
                utterance = recognizer.begin()
                utterance.feed(pcm[: len(pcm) // 2])
                changing = asyncio.create_task(recognizer.set_grammar(grammar))
                outdated = asyncio.create_task(recognizer.set_grammar(GRAMMAR)) if not results else None
                await asyncio.sleep(0)
                utterance.feed(pcm[len(pcm) // 2 :])
                results.append(await utterance.finish())
                await changing
                if outdated:
                    await outdated
            return results

    first, second = asyncio.run(main())
    assert first.text != "open the garage door"  # the last grammar that was set is the household's
    assert second.text == "open the garage door"


def test_a_child_that_is_killed_in_the_middle_of_an_utterance_costs_nothing_but_time() -> None:
    async def main() -> None:
        async with engine() as process:
            recognizer = await opened(process)
            await hear(recognizer, KNOWN[0])
            first = process.pid
            assert first is not None
            pcm = spoken(KNOWN[1])
            utterance = recognizer.begin()
            utterance.feed(pcm[: len(pcm) // 2])
            os.kill(first, signal.SIGKILL)
            utterance.feed(pcm[len(pcm) // 2 :])
            assert await utterance.finish() == Transcript(KNOWN[1], rejected=False)
            assert process.pid not in (None, first)
            assert (await hear(recognizer, KNOWN[0])).text == KNOWN[0]

    asyncio.run(main())


def test_a_child_that_has_grown_gets_a_successor_and_nothing_that_is_said_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LARGE_MB", 10.0)
    monkeypatch.setattr(module, "_LARGE_AFTER_S", 0.0)

    async def main() -> None:
        async with engine() as process:
            recognizer, other = await opened(process), await opened(process)
            first, pcm = process.pid, spoken(KNOWN[2])
            begun = other.begin()
            begun.feed(pcm[: len(pcm) // 2])
            await hear(recognizer, KNOWN[0])
            monkeypatch.setattr(module, "_LARGE_AFTER_S", 3600.0)
            assert (await hear(recognizer, KNOWN[1])).text == KNOWN[1]
            begun.feed(pcm[len(pcm) // 2 :])
            assert (await begun.finish()).text == KNOWN[2]
            assert process.generation == 2 and process.pid not in (None, first)

    asyncio.run(main())
    assert [line for line in caplog.messages if "MB: a new one takes its place" in line]
    assert "unexpectedly" not in caplog.text


@pytest.mark.parametrize("how", ["dies", "hangs", "babbles", "refuses"])
def test_a_child_that_fails_twice_fails_the_utterance_and_not_the_server(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 1.5 if how == "hangs" else 15.0)
    monkeypatch.setattr(module, "_RESTART_PAUSE_S", 0.01)

    async def main() -> None:
        async with engine(fickle=how) as process:
            recognizer = await opened(process)
            for _ in range(1 if how == "hangs" else 2):
                utterance = recognizer.begin()
                utterance.feed(bytes(32_000))
                with pytest.raises(RecognizerError, match="twice" if how != "refuses" else "no"):
                    await utterance.finish()

    asyncio.run(main())


def test_the_successor_of_a_child_that_hung_gets_the_utterance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 1.0)
    monkeypatch.setattr(module, "_RESTART_PAUSE_S", 0.01)

    async def main() -> Transcript:
        async with engine(fickle=str(tmp_path / "hung")) as process:
            utterance = (await opened(process)).begin()
            utterance.feed(bytes(32_000))
            finished = utterance.finish()
            monkeypatch.setattr(module, "_ANSWER_S", 15.0)  # for the successor, which may take long to start
            return await finished

    assert asyncio.run(main()) == Transcript("hello", rejected=False)


def test_an_utterance_is_bounded() -> None:
    async def main() -> int:
        async with engine(fickle="dies") as process:
            recognizer = await opened(process)
            utterance = recognizer.begin()
            for _ in range(70):
                utterance.feed(bytes(32_000))
            utterance.abandon()
            utterance.feed(bytes(2))
            return len(utterance._audio)  # type: ignore[attr-defined]

    assert asyncio.run(main()) == 60 * 32_000


def test_the_child_ends_with_its_owner() -> None:
    async def main() -> int:
        async with engine() as process:
            await opened(process)
            assert process.pid is not None
            return process.pid

    pid = asyncio.run(main())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@given(st.sampled_from(Kind), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=64))
def test_frames_read_back(kind: Kind, stream: int, utterance: int, payload: bytes) -> None:
    raw = Frame(kind, stream, utterance, payload).encode()
    length, frame = decode_header(raw[: HEADER.size])
    assert raw[HEADER.size :] == payload
    assert length == len(payload)
    assert frame == Frame(kind, stream, utterance)


@given(st.binary(min_size=HEADER.size, max_size=HEADER.size))
def test_a_damaged_header_is_a_value_error_or_a_sane_frame(raw: bytes) -> None:
    try:
        length, frame = decode_header(raw)
    except ValueError:
        return
    assert length <= MAX_PAYLOAD
    assert frame.kind in Kind


def test_a_decoder_that_is_used_again_starts_as_cold_as_a_new_one() -> None:
    """A decoder that was live would otherwise decode its next cold start with the running mean, and refuse it."""
    decoder = Decoder(now=lambda: 0.0)  # a second look, for which a busy machine has no time, rounds the mean
    assert decoder.load(json.loads(grammar_payload(GRAMMAR, {}))) == []

    def means() -> list[str]:
        """The cepstral mean after each of some sentences, the first of them heard cold."""
        found = []
        decoder.open(None)
        for text in KNOWN[:2]:
            decoder.begin()
            decoder.feed(spoken(text))
            found.append(decoder.finish()["cmn"])
        return found

    fresh = means()
    assert means() == fresh


def among_others(text: str) -> bytes:
    """A sentence while two others talk, each 15 dB below."""
    pcm = in_room(say(text, "en-us", 165), before=0.4, after=0.4)
    first = concat(*(say(other, "en-us+f3", 165, level_dbfs=-35.0) for other in FOREIGN))
    second = concat(*(say(other, "en-us+m3", 165, level_dbfs=-35.0) for other in reversed(FOREIGN)))
    return mix(pcm, first[: len(pcm)], second[: len(pcm)]).tobytes()


@pytest.mark.parametrize("slow", [False, True])
def test_what_other_voices_hide_is_guessed_unless_the_machine_is_too_slow(slow: bool) -> None:
    clock = itertools.count(step=1 if slow else 0)
    decoder = Decoder(suppress_noise=True, now=lambda: float(next(clock)))
    assert decoder.load(json.loads(grammar_payload(GRAMMAR, {}))) == []
    decoder.open(None)
    heard = []
    for pcm in (spoken(KNOWN[2]), among_others(KNOWN[0]), among_others(KNOWN[1])):
        decoder.begin()
        decoder.feed(pcm)
        heard.append(decoder.finish())
    assert [result["rejected"] for result in heard] == [False, True, True]
    guesses = [KNOWN[0] in heard[1]["guess"], KNOWN[1] in heard[2]["guess"]]
    assert guesses == [not slow] * 2, heard
    decoder.open(None)
    decoder.begin()
    decoder.feed(spoken(KNOWN[2]))
    assert decoder.finish()["text"] == KNOWN[2], "a second look leaves nothing behind"


class _Heap(ctypes.Structure):
    """What glibc's mallinfo2 gives."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "used", "free", "keepcost"]
    ]


def test_loading_a_grammar_again_and_again_takes_no_memory() -> None:
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Heap
    decoder = Decoder()
    spec = json.loads(grammar_payload(GRAMMAR, {}))
    for _ in range(5):
        assert decoder.load(spec) == []
    before = mallinfo().used
    for _ in range(20):
        decoder.load(spec)
    assert mallinfo().used - before < 100_000, "20 kB for each time is what it took once"

"""What happens in the kitchen. Each scene fails with a sentence unless everything in it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from assistant.demo.kitchen import Person, Utterance
from assistant.demo.stage import Entry, SceneFailed, Stage

TURN_TIMEOUT: Final = 20.0
PAUSE: Final = 0.6
"""Between the wake word and the request, for those who wait for a sound."""


@dataclass(slots=True)
class Timing:
    """Milliseconds of one turn."""

    label: str
    wake: float | None = None  # end of the wake word -> heard
    commit: float | None = None  # last voiced sample -> request complete
    answer: float | None = None  # request complete -> first audio of the answer received
    speaker: float | None = None  # first audio received -> first sample handed to the speaker
    total: float | None = None  # last voiced sample -> first sample of the answer


@dataclass(slots=True)
class Play:
    """The people, and what was measured."""

    stage: Stage
    alice: Person = field(default_factory=lambda: Person("en-us+f2", 165))
    bob: Person = field(default_factory=lambda: Person("en-gb-x-rp", 165))
    timings: list[Timing] = field(default_factory=list)
    silence_after_barge_in: float | None = None  # ms from the first sound of the interruption
    sent_without_request: int | None = None  # bytes of audio


Scene: TypeAlias = Callable[[Play], Awaitable[None]]


async def _turn(play: Play, label: str, request: Utterance, wake: Utterance | None) -> Entry:
    """Follow one turn from the request to the beginning of the answer, and measure it."""
    stage = play.stage
    commit = await stage.wait("the end of the request", TURN_TIMEOUT, name="commit_input")
    first_audio = await stage.wait("the first audio of the answer", TURN_TIMEOUT, name="answer_audio")
    started = await stage.wait("the beginning of the answer", TURN_TIMEOUT, name="playback_started")
    timing = Timing(
        label,
        commit=(commit["at"] - request.ends) * 1000,
        answer=(first_audio["at"] - commit["at"]) * 1000,
        speaker=(started["at"] - first_audio["at"]) * 1000,
        total=(started["at"] - request.ends) * 1000,
    )
    if wake is not None:
        woken = next(
            entry for entry in reversed(stage.entries) if entry["name"] == "woken" and entry["at"] < commit["at"]
        )
        timing.wake = (woken["at"] - wake.ends) * 1000
    play.timings.append(timing)
    return started


async def a_question(play: Play) -> None:
    """Scene 1: a question, after a pause"""
    stage = play.stage
    wake = await stage.say(play.alice, "hey jarvis")
    await stage.wait("the wake word", 3, name="woken")
    await asyncio.sleep(PAUSE)
    request = await stage.say(play.alice, "what time is it")
    await _turn(play, "what time is it", request, wake)
    if "current_time" not in [entry.get("tool") for entry in stage.entries if entry["name"] == "run_tool"]:
        raise SceneFailed("the clock was not asked; the request was misheard")
    await stage.wait("the end of the turn", TURN_TIMEOUT, name="end_turn", outcome="answered")


async def a_timer(play: Play) -> None:
    """Scene 2: a timer, in one breath with the wake word; it rings, and the wake word silences it"""
    stage = play.stage
    request = await stage.say(play.bob, "hey jarvis, set a timer for five seconds")
    await _turn(play, "set a timer for five seconds", request, None)
    tool = [entry for entry in stage.entries if entry["name"] == "run_tool"][-1]
    if '"amount": 5' not in tool["arguments"].replace('":5', '": 5'):
        raise SceneFailed(f"the timer was set wrongly: {tool['arguments']}")
    await stage.wait("the end of the turn", TURN_TIMEOUT, name="end_turn", outcome="answered")
    await stage.wait("the timer", 10, name="start_alert")
    await asyncio.sleep(2.5)
    await stage.say(play.bob, "hey jarvis")
    await stage.wait("silence", 3, name="stop_alert", dismissed=True)
    await stage.wait("the end of the turn", TURN_TIMEOUT, name="end_turn", outcome="no_speech")


async def an_interruption(play: Play) -> None:
    """Scene 3: a long answer, interrupted by talking"""
    stage = play.stage
    wake = await stage.say(play.alice, "hey jarvis")
    await stage.wait("the wake word", 3, name="woken")
    await asyncio.sleep(PAUSE)
    request = await stage.say(play.alice, "what can you do")
    await _turn(play, "what can you do", request, wake)
    await asyncio.sleep(2.0)
    interruption = await stage.say(play.alice, "never mind")
    stopped = await stage.wait("the interruption", 3, name="hold_playback")
    play.silence_after_barge_in = (stopped["at"] - interruption.begins) * 1000
    await stage.wait("the truncation", 3, name="truncate_item")
    await stage.wait("the end of the interrupting turn", TURN_TIMEOUT, name="end_turn", outcome="answered")


async def a_false_alarm(play: Play) -> None:
    """Scene 4: talk without a wake word, and a wake word without a request: nothing is sent"""
    stage = play.stage
    # The session of the last scene may still be open; what counts is that no audio enters it.
    first, before = len(stage.entries), stage.sent_bytes()
    await stage.say(play.bob, "turn on the kitchen light, would you")
    await asyncio.sleep(1.0)
    await stage.say(play.bob, "hey jarvis")
    await stage.wait("the wake word", 3, name="woken")
    await stage.wait("the end of the wait for a request", 10, name="end_turn", outcome="no_speech")
    await asyncio.sleep(0.5)
    sent = [entry for entry in stage.entries[first:] if entry["name"] in ("open_uplink", "open_session", "send_text")]
    if sent:
        raise SceneFailed(f"something was sent: {sent[0]['name']}")
    play.sent_without_request = stage.sent_bytes() - before
    if play.sent_without_request:
        raise SceneFailed(f"{play.sent_without_request} bytes of audio left the machine")
    stage.show("0 bytes of audio were sent")


SCENES: Final[tuple[Scene, ...]] = (a_question, a_timer, an_interruption, a_false_alarm)

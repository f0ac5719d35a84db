"""``assistant doctor --echo``: may speech interrupt an answer on these devices?"""

from __future__ import annotations

import asyncio

from assistant import wiring
from assistant.audio import echo_report
from assistant.audio.echo_report import EchoReport
from assistant.audio.echo_test import INAUDIBLE_DBFS, MAX_DELAY_MS, MAX_SUSPICIONS, MIN_REMOVED_DB, EchoTest
from assistant.audio.ports import Microphone, Speaker
from assistant.cli.common import complain, run_async, say
from assistant.config import Config
from assistant.errors import EXIT_OK, EXIT_UNAVAILABLE

SPEECH = (
    "This is a test of the echo in this room. Please be quiet until it is over. "
    "The weather today is mostly sunny with a light breeze from the west. "
    "Your timer for ten minutes has been set. The recipe needs two eggs, a cup of flour and a pinch of salt. "
)


def main(config: Config) -> int:
    if config.echo.canceller == "off":
        complain("assistant doctor: echo.canceller is off: there is nothing to test")
        return EXIT_UNAVAILABLE
    return run_async(_run(config))


async def _run(config: Config) -> int:
    loop, audio = asyncio.get_running_loop(), config.audio
    report = await measure(
        config, wiring.microphone(audio.input.device, loop), wiring.speaker(audio.output.device, loop)
    )
    show(report)
    path = echo_report.save(config.state_folder, report)
    say(f"written to {path}; the daemon reads it when it starts")
    return EXIT_OK


async def measure(config: Config, microphone: Microphone, speaker: Speaker) -> EchoReport:
    """The echo test on two devices that are not open yet, with the settings and the voice of the config."""
    from assistant.adapters.livekit_aec import WebRtcEchoCanceller
    from assistant.adapters.webrtc_vad import WebRtcVad
    from assistant.local.voice import Voice

    audio = config.audio
    voice = await asyncio.to_thread(Voice, wiring.local_voice(config), config.local.speed_wpm)
    speech = await asyncio.to_thread(lambda: b"".join(voice.speak(SPEECH)))
    test = EchoTest(
        microphone,
        speaker,
        await asyncio.to_thread(WebRtcEchoCanceller, noise_suppression=config.echo.noise_suppression),
        (WebRtcVad(config.vad.aggressiveness), WebRtcVad(config.vad.aggressiveness)),
        volume=audio.output.volume,
        duck_db=config.barge_in.duck_db,
        endpointing=wiring.endpointing_settings(config),
    )
    return await test.run(speech, (audio.input.device, audio.output.device), say)


def show(report: EchoReport) -> None:
    """The report for people, and what follows from it."""
    delay = "no echo found" if report.delay_ms is None else f"{report.delay_ms:.0f} ms"
    say(f"delay of the echo:      {delay}")
    say(f"level of the echo:      {report.echo_dbfs:.0f} dBFS at volume {report.volume}")
    say(f"removed:                {report.removed_db:.0f} dB")
    say(f"taken for a person:     {report.interruptions} times in {report.speech_s:.0f} s of its own speech")
    say(f"suspected of being one: {report.suspicions} times (each time the answer would get softer for a moment)")
    if report.passed:
        say("passed: with barge_in.mode auto, speaking interrupts an answer")
        return
    say("not passed: with barge_in.mode auto, only the wake word interrupts an answer")
    if report.delay_ms is not None and report.delay_ms > MAX_DELAY_MS:
        say(f"  the echo comes later than {MAX_DELAY_MS:.0f} ms: wireless speakers are often like that")
    if report.echo_dbfs > INAUDIBLE_DBFS and report.removed_db < MIN_REMOVED_DB:
        say("  the echo could not be removed: does the microphone hear this speaker, and nothing else?")
    if report.interruptions or report.suspicions > MAX_SUSPICIONS:
        say(
            "  move the microphone away from the speaker, turn the volume down, or use a better speaker; then try again"
        )

"""``assistant doctor --echo``: may speech interrupt an answer on these devices?"""

from __future__ import annotations

import asyncio

from assistant import echo_choice, wiring
from assistant.audio import echo_report
from assistant.audio.device_echo import DeviceEchoPath
from assistant.audio.echo import EchoPath
from assistant.audio.echo_report import MAX_DELAY_MS, EchoReport, Shortfall
from assistant.audio.echo_test import EchoTest
from assistant.audio.ports import Microphone, Speaker
from assistant.audio.reference import ReferenceBuffer
from assistant.cli.common import complain, run_async, say
from assistant.config import Config
from assistant.errors import EXIT_OK, EXIT_UNAVAILABLE

SPEECH = (
    "This is a test of the echo in this room. Please be quiet until it is over. "
    "The weather today is mostly sunny with a light breeze from the west. "
    "Your timer for ten minutes has been set. The recipe needs two eggs, a cup of flour and a pinch of salt. "
)

ADVICE = {
    Shortfall.LATE: f"more than {MAX_DELAY_MS:.0f} ms; wireless speakers are often like that: use a wire",
    Shortfall.LEFT: "is another speaker heard than the one that is played on, or is an effect such as loudness on?",
    Shortfall.ALARMS: "if nobody spoke, move the microphone away from the speaker, or turn the volume down",
}
DEVICE_LEFT = "do microphone and speaker both belong to the canceller? docs/echo.md says how"


def main(config: Config) -> int:
    """Runs the test, prints what it found, and keeps it in the state folder."""
    if echo_choice.canceller(config) == "off":
        auto = "microphone or speaker is a file, or livekit cannot be loaded"
        why = auto if config.echo.canceller == "auto" else "echo.canceller is off"
        complain(f"assistant doctor: {why}: there is nothing to test")
        return EXIT_UNAVAILABLE
    return run_async(_run(config))


async def _run(config: Config) -> int:
    loop, audio = asyncio.get_running_loop(), config.audio
    report = await measure(config, wiring.microphone(audio.input, loop), wiring.speaker(audio.output.device, loop))
    show(report, config.barge_in.mode)
    path = echo_report.save(config.state_folder, report)
    say(f"written to {path}; an assistant that runs has to be started anew to know of it")
    return EXIT_OK


async def measure(config: Config, microphone: Microphone, speaker: Speaker) -> EchoReport:
    """The echo test on two devices that are not open yet, with the settings and the voice of the config."""
    from assistant.local.voice import Voice

    def path(reference: ReferenceBuffer) -> EchoPath | DeviceEchoPath:
        made = echo_choice.echo_path(config, reference)
        assert made is not None, "there is nothing to test where echo is not cancelled"
        return made

    audio = config.audio
    await asyncio.to_thread(echo_choice.canceller, config)  # loads what the path needs
    voice = await asyncio.to_thread(Voice, wiring.local_voice(config), config.local.speed_wpm)
    speech = await asyncio.to_thread(lambda: b"".join(voice.speak(SPEECH)))
    test = EchoTest(
        microphone,
        speaker,
        path,
        volume=audio.output.volume,
        duck_db=config.barge_in.duck_db,
        endpointing=wiring.endpointing_settings(config),
    )
    return await test.run(speech, (audio.input.device, audio.output.device), say)


def show(report: EchoReport, mode: str) -> None:
    """The report for people, and what follows from it. mode: ``barge_in.mode``."""
    device = report.canceller == "device"
    late = "" if report.delay_ms is None else f", {report.delay_ms:.0f} ms late"
    say(f"canceller:              {'the microphone itself' if device else report.canceller} (echo.canceller)")
    if report.room_dbfs is not None:
        say(f"the room itself:        {report.room_dbfs:.0f} dBFS")
    say(f"{'left of the echo:' if device else 'the echo:        '}       {report.echo_dbfs:.0f} dBFS{late}")
    if report.removed_db is not None:
        say(f"removed of it:          {report.removed_db:.0f} dB")
    say(f"taken for a person:     {_times(report.interruptions)} in {report.speech_s:.0f} s of its own speech")
    say(f"suspected of being one: {_times(report.suspicions)}; at each the answer gets softer for a moment")
    if report.passed:
        say(f"passed: with barge_in.mode auto, speaking interrupts an answer, up to volume {report.volume}")
    else:
        say("not passed: with barge_in.mode auto, only the wake word interrupts an answer")
        for shortfall in report.shortfalls:
            advice = DEVICE_LEFT if device and shortfall is Shortfall.LEFT else ADVICE[shortfall]
            say(f"  {shortfall.value}: {advice}")
        if report.stumbles:
            say(f"  the sound stumbled {_times(report.stumbles)} meanwhile: try again while the machine is less busy")
    if mode != "auto":
        say(f"barge_in.mode is {mode}: as long as it is, this changes nothing")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"

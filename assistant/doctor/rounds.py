"""The doctor's rounds: all checks for one config, in the order in which things depend on each other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from assistant import echo_choice, wiring
from assistant.audio import echo_report
from assistant.brains import Brains
from assistant.config import Config, providers_in_use
from assistant.control import client, socket_path
from assistant.doctor import brain, machine
from assistant.doctor.findings import Check, Finding, Result, advice, examine, ok, skipped
from assistant.doctor.sound import SoundCheck, judge_echo
from assistant.errors import DeviceError

log = logging.getLogger(__name__)


async def rounds(config: Config, *, offline: bool) -> AsyncIterator[Result]:
    """Look at everything, and tell each result as it comes.

    offline: do not talk to a provider. Opens the devices, plays a chirp, and starts the embedded server if it is used.
    """
    loop = asyncio.get_running_loop()
    audio = config.audio
    sound = SoundCheck(
        wiring.microphone(audio.input, loop), wiring.speaker(audio.output.device, loop), audio.output.volume
    )
    local = wiring.local_server(config, _server_trouble)
    brains = Brains(config, local)
    status = await asyncio.to_thread(running_status, config)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(sound.close)
        helpers = [asyncio.ensure_future(brains.run())]
        if local is not None:
            helpers.append(asyncio.ensure_future(local.run()))
            stack.callback(local.stop)
        stack.push_async_callback(_end, helpers)
        checks = [
            Check("config", partial(_config, config)),
            Check("secrets", partial(machine.secrets, config)),
            Check("disk", partial(machine.disk, config.state_folder)),
            Check("clock", machine.clock),
            Check("running", partial(machine.running, status)),
            Check("microphone", partial(_heard, sound, status)),
            Check("speaker", partial(_played, sound, audio.output.device)),
            Check("barge-in", partial(_barge_in, config)),
            Check("wake word", lambda: machine.wake_words(lambda: wiring.wake_words(config)), 60.0),
            Check("plugins", partial(_plugins, config), 30.0),
            *_brains(config, brains, offline=offline),
        ]
        async for result in examine(checks):
            yield result


def _server_trouble(trouble: str | None) -> None:
    if trouble is not None:
        log.error("the embedded server: %s", trouble)


async def _config(config: Config) -> Sequence[Finding]:
    findings = [advice(warning.render(config.label), "") for warning in config.warnings]
    return findings or [ok(f"{config.label}: no mistakes")]


async def _heard(sound: SoundCheck, status: Mapping[str, Any] | None) -> Sequence[Finding]:
    if status is not None and status["muted"]:
        return [skipped("it is muted, and so it is left closed")]
    try:
        return await sound.listen()
    except DeviceError as error:
        if status is None:
            raise
        return [skipped(f"the assistant that runs has it: {error}")]


async def _played(sound: SoundCheck, device: str | None) -> Sequence[Finding]:
    if device == "none":
        return [advice("audio.output.device is none: answers are not heard", "see assistant devices")]
    return await sound.play()


async def _barge_in(config: Config) -> Sequence[Finding]:
    def look() -> Finding:
        report, tested = echo_report.load(config.state_folder), echo_choice.tested(config)
        return judge_echo(report, tested is not None, config, echo_choice.canceller(config))

    return [await asyncio.to_thread(look)]


async def _plugins(config: Config) -> Sequence[Finding]:
    registry = await asyncio.to_thread(wiring.tool_registry, config, None)
    return await machine.plugins(registry.plugins, registry.unknown)


def _brains(config: Config, brains: Brains, *, offline: bool) -> list[Check]:
    checks = []
    for provider in providers_in_use(config):
        if offline and provider != "local":
            continue
        if provider != "local":
            checks.append(Check("network", partial(brain.network, config.brain(provider).url)))
        checks.append(Check("brain", partial(brain.round_trip, provider, brains.endpoint(provider)), 45.0))
    return checks


def running_status(config: Config) -> Mapping[str, Any] | None:
    try:
        answer: Mapping[str, Any] = client.request(socket_path(config.state_folder), "status", timeout=5.0)["status"]
    except client.NotRunning:
        return None
    except client.Refused as error:  # it is there, and hangs
        return {"troubles": [{"part": "control socket", "text": str(error)}], "muted": False}
    return answer


async def _end(helpers: Sequence[asyncio.Future[None]]) -> None:
    await asyncio.wait(helpers, timeout=2.0)
    for helper in helpers:
        helper.cancel()
    await asyncio.gather(*helpers, return_exceptions=True)

"""Secrets, models, plugins, disk, clock, and the assistant that runs."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from assistant.audio.ports import WakeWordDetector
from assistant.config import Config, providers_in_use
from assistant.doctor.findings import Finding, advice, ok, problem, skipped
from assistant.errors import ConfigError, ModelLoadError
from assistant.supervision import disk_problem
from assistant.tools.entry import PluginInfo, PluginStatus
from assistant.types import FRAME_MS, FRAME_SAMPLES

MICROSOFT: Final = ("azure", "azure_preview", "voice_live")
SLOW: Final = 2.0
"""Times real time; below it the wake word competes with everything else on this machine."""

_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


async def secrets(config: Config) -> list[Finding]:
    """Is there a key for each provider, and can nobody else read it? Never what it is."""
    findings = []
    for provider in providers_in_use(config):
        if provider == "local":
            findings.append(ok("local needs no key"))
            continue
        try:
            secret = config.secret_for(provider)
        except ConfigError as error:
            findings.append(problem(str(error), ""))
            continue
        if secret is not None:
            findings.append(ok(f"{provider}: there is a key"))
        elif provider in MICROSOFT:
            findings.append(ok(f"{provider}: keyless sign-in"))
        elif provider == "custom":
            findings.append(ok("custom: no key is set, so none is sent"))
        else:
            findings.append(problem(f"{provider}: there is no key", f"see {provider}.api_key_env in config.yaml"))
    findings += [
        advice(warning.message, "") for warning in config.warnings if warning.key.endswith(("api_key_file", "pin_file"))
    ]
    return findings


async def wake_words(load: Callable[[], WakeWordDetector]) -> list[Finding]:
    """Do the models load, and how fast are they here?"""

    def measure() -> float:
        detector = load()
        noise = np.random.default_rng(1).normal(0, 1500, (200, FRAME_SAMPLES)).astype("<i2")
        for frame in noise[:50]:
            detector.process(frame.tobytes())
        began = time.process_time()
        for frame in noise[50:]:
            detector.process(frame.tobytes())
        return 150 * FRAME_MS / 1000 / max(1e-6, time.process_time() - began)

    try:
        speed = await asyncio.to_thread(measure)
    except ModelLoadError as error:
        return [problem(str(error), "")]
    told = f"{speed:.0f} times as fast as real time on one core"
    return [ok(told)] if speed > SLOW else [problem(told, "use fewer wake words, or a faster machine")]


async def plugins(found: Sequence[PluginInfo], unknown: Sequence[str]) -> list[Finding]:
    """Which plugins are not as they should be?"""
    findings = [advice(line, "") for line in unknown]
    count = 0
    for plugin in found:
        if plugin.status is PluginStatus.ENABLED:
            count += 1
        elif plugin.status is not PluginStatus.DISABLED:
            findings.append(advice(f"{plugin.name}: {plugin.status}: {plugin.reason}", "the others work without it"))
    return [ok(f"{count} are enabled"), *findings]


async def disk(folder: Path) -> list[Finding]:
    """Can state be kept?"""
    trouble = await asyncio.to_thread(disk_problem, folder)
    if trouble is not None:
        return [problem(trouble, "")]
    status = await asyncio.to_thread(os.statvfs, folder)
    return [ok(f"{folder}: {status.f_bavail * status.f_frsize / 1e9:.1f} GB are free")]


async def clock() -> list[Finding]:
    """Is the clock kept right by the network? Timers, alarms, budgets and TLS go by it."""
    if time.time() < 1_735_700_000:  # 2025
        return [problem("the clock is wrong by years", "set it: TLS and alarms go by it")]
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(512)) if hasattr(libc, "adjtimex") else -1
    now = time.strftime("%Y-%m-%d %H:%M %Z")
    if state < 0:
        return [skipped(f"{now}; this system does not tell whether it is synchronised")]
    if state == _TIME_ERROR:
        return [advice(f"{now}; nothing keeps it right", "install systemd-timesyncd or chrony: alarms go by it")]
    return [ok(f"{now}, synchronised")]


async def running(status: Mapping[str, Any] | None) -> list[Finding]:
    """How is the assistant that runs, if one does?"""
    if status is None:
        return [skipped("no assistant is running with this config")]
    findings = [advice(f"{trouble['part']}: {trouble['text']}", "") for trouble in status["troubles"]]
    if status["muted"]:
        findings.append(advice("it is muted: the microphone is closed", "assistant control unmute"))
    if findings:
        return findings
    hours = status["uptime_s"] / 3600
    return [ok(f"{status['state']}, for {hours:.1f} hours, without troubles")]

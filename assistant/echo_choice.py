"""Who cancels echo, and what may interrupt an answer: out of the config, and of what the echo test has found.

===================  ==========================  =======================================================
``echo.canceller``   the microphone is           ``barge_in.mode: auto`` is ``speech``
===================  ==========================  =======================================================
``webrtc``           cleaned here                where the echo test was passed with it
``device``           without echo as it comes    where the echo test was passed with it
``off``              taken as it is              never
``auto``             as with ``webrtc``; as with ``off`` where a device is a file, or livekit is missing
===================  ==========================  =======================================================
"""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

from assistant.adapters import livekit_aec
from assistant.audio import echo_report
from assistant.audio.device_echo import DeviceEchoPath
from assistant.audio.echo import EchoPath
from assistant.audio.echo_report import EchoReport
from assistant.audio.reference import ReferenceBuffer
from assistant.config import Config
from assistant.config.values import NO_DEVICE, WAV_PREFIX
from assistant.core.policy import BargeIn
from assistant.errors import ModelLoadError

Canceller: TypeAlias = Literal["webrtc", "device", "off"]

log = logging.getLogger(__name__)


def canceller(config: Config) -> Canceller:
    """Who cancels echo with this config, on this machine. ``auto`` loads a library, once."""
    if config.echo.canceller != "auto":
        return config.echo.canceller
    devices = (config.audio.input.device, config.audio.output.device)
    if any(name == NO_DEVICE or (name or "").startswith(WAV_PREFIX) for name in devices):
        return "off"
    try:
        livekit_aec.load()
    except ModelLoadError as error:
        log.warning("%s", error)
        return "off"
    return "webrtc"


def barge_in(config: Config) -> BargeIn:
    """What may interrupt an answer. ``auto`` is half-duplex until the echo test was passed on these devices."""
    if config.barge_in.mode != "auto":
        return BargeIn(config.barge_in.mode)
    report = tested(config)
    return BargeIn.SPEECH if report is not None and report.passed else BargeIn.WAKE_WORD


def speech_volume(config: Config) -> float:
    """The volume up to which that holds, in percent. Who set the mode by hand has answered for every volume."""
    report = tested(config) if config.barge_in.mode == "auto" else None
    return 100.0 if report is None else report.volume


def tested(config: Config) -> EchoReport | None:
    """What the echo test has found, if it holds for these devices and this canceller."""
    report = echo_report.load(config.state_folder)
    if report is None:
        return None
    audio = config.audio
    return report if report.covers(audio.input.device, audio.output.device, canceller(config)) else None


def echo_path(
    config: Config, reference: ReferenceBuffer, leak_db: float | None = None
) -> EchoPath | DeviceEchoPath | None:
    """What frames of the microphone go through; None where they are taken as they are.

    reference: what the speaker plays. leak_db: what is usually left of it, if that is known.
    Raises ModelLoadError if ``webrtc`` was asked for and cannot be loaded.
    """
    from assistant.adapters.webrtc_vad import WebRtcVad

    def vad() -> WebRtcVad:
        return WebRtcVad(config.vad.aggressiveness)

    match canceller(config):
        case "webrtc":
            aec = livekit_aec.WebRtcEchoCanceller(noise_suppression=config.echo.noise_suppression)
            return EchoPath(aec, reference, (vad(), vad()), leak_db)
        case "device":
            return DeviceEchoPath(reference, vad(), leak_db)
        case "off":
            return None

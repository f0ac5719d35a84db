"""From the configuration to the parts: each function builds one part, and knows no other.

The daemon (and ``assistant ask``) puts them together.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from assistant import echo_choice
from assistant.adapters.openwakeword_models import wake_phrase, wake_word_name
from assistant.audio.analysis import Analyzer
from assistant.audio.hearing import Ask, Hearing
from assistant.audio.ports import Microphone, Speaker, WakeWordDetector
from assistant.audio.reference import ReferenceBuffer
from assistant.audio.stop_word import STOP, StopWord
from assistant.audio.uplink import Uplink
from assistant.audio.wake_history import WakeHistory
from assistant.config import Config, Persona, Provider, WakeWord, providers_in_use
from assistant.config.sections import AudioInput
from assistant.config.values import WAV_PREFIX
from assistant.core import personas as core_personas
from assistant.core.capture_health import CaptureHealth
from assistant.core.connecting import Connect, ConnectHints
from assistant.core.endpointing import Endpointer, EndpointingSettings
from assistant.core.events import Event
from assistant.core.policy import END_CONVERSATION, ConversationSettings, FollowUp
from assistant.core.pricing import Price
from assistant.core.stop_word import StopGate
from assistant.core.wake_gate import WakeGate, WakeWordSettings
from assistant.errors import ConfigError
from assistant.journal import Journal
from assistant.ledger.bookkeeper import Brain
from assistant.ledger.budget import Caps
from assistant.local.language import language
from assistant.local.process import LocalServerProcess
from assistant.phrasebook import Phrasebook
from assistant.plugin import Ringer, WallClock
from assistant.realtime.dialects import OFFLINE_KEY
from assistant.realtime.settings import (
    AzureSemanticVad,
    SemanticVad,
    ServerVad,
    SessionSettings,
    Transcription,
    TurnDetection,
)
from assistant.records import Records
from assistant.scribe import Scribe
from assistant.tools.audit import AuditLog
from assistant.tools.consent import Consent
from assistant.tools.registry import ToolRegistry
from assistant.tools.runner import ToolRunner
from assistant.tools.threads import DaemonThreads

END_CONVERSATION_SPEC: Final = {
    "type": "function",
    "name": END_CONVERSATION,
    "description": "End the conversation. Call it when the user says goodbye or wants nothing more, after a few words "
    "of farewell; the microphone then closes until the next wake word.",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
}
"""The one tool that belongs to no plugin: the conversation itself answers it."""

log = logging.getLogger(__name__)

TOOL_MARGIN_S = 5.0
"""How much longer than the longest time limit of a tool the conversation waits for its answer."""


def conversation_settings(config: Config, tools: ToolRegistry) -> ConversationSettings:
    limits = [tool.options.time_limit_s or config.tools.time_limit_s for tool in tools.tools.values()]
    session, endpointing = config.session, config.endpointing
    return ConversationSettings(
        barge_in=echo_choice.barge_in(config),
        volume=config.audio.output.volume,
        speech_volume=echo_choice.speech_volume(config),
        duck_db=config.barge_in.duck_db,
        follow_up=FollowUp(config.follow_up.mode),
        follow_up_window=config.follow_up.window_s,
        no_speech_timeout=endpointing.no_speech_timeout_s,
        max_utterance=endpointing.max_utterance_s,
        response_timeout=session.response_timeout_s,
        tool_timeout=max(limits, default=0.0) + TOOL_MARGIN_S,
        max_tool_rounds=session.max_tool_rounds,
        keep_open=session.keep_open_s,
        context=session.context_s,
        fallback=session.fallback == "local" and config.provider != "local",
        max_session_turns=session.max_turns,
        server_turn_detection=session.turn_detection != "local",
        server_stop_grace=_server_stop_grace(config),
        personas=personas(config),
        wake_earcon_delay=0.35 if config.audio.earcons else None,
    )


def endpointing_settings(config: Config) -> EndpointingSettings:
    endpointing, barge_in = config.endpointing, config.barge_in
    return EndpointingSettings(
        start_ms=endpointing.start_ms,
        start_window_ms=endpointing.start_window_ms,
        barge_in_ms=barge_in.speech_ms,
        barge_in_window_ms=barge_in.speech_window_ms,
        pre_roll_ms=endpointing.pre_roll_ms,
        end_silence_ms=endpointing.end_silence_ms,
        complete_silence_ms=endpointing.complete_silence_ms,
        unfinished_silence_ms=endpointing.unfinished_silence_ms,
        max_utterance_ms=round(endpointing.max_utterance_s * 1000),
    )


def _server_stop_grace(config: Config) -> float:
    """Longer than the server's own patience: semantic VAD waits up to 2, 4 or 8 s for the rest of a sentence."""
    session = config.session
    if session.turn_detection != "semantic_vad":
        return 3.0
    return {"high": 3.0, "medium": 5.0, "auto": 5.0, "low": 9.0}[session.semantic_vad.eagerness]


def personas(config: Config) -> dict[str, core_personas.Persona]:
    """Who answers to which wake word."""
    return {
        wake_word_name(word.model): core_personas.Persona(word.persona, _kind(config, word.persona))
        for word in config.wake.words
        if word.persona is not None
    }


def _kind(config: Config, name: str) -> str:
    """Provider and voice if they are other than the assistant's own: they cannot change while a session is open."""
    persona = config.personas[name]
    provider, voice = provider_of(config, name), persona.voice or config.session.voice
    return "" if (provider, voice) == (config.provider, config.session.voice) else f"{provider} {voice}"


def provider_of(config: Config, persona: str) -> Provider:
    """Which brain answers as this persona."""
    if persona == core_personas.FALLBACK.name:
        return "local"
    return (config.personas[persona].provider if persona else None) or config.provider


def session_settings(config: Config, tools: ToolRegistry, persona: str = "") -> SessionSettings:
    """What a session is asked for. ``persona``: a name out of the config; "" is the assistant itself."""
    session = config.session
    if persona == core_personas.FALLBACK.name:  # what was set for the far brain is not meant for this one
        heard = Transcription("hearth-local") if session.transcription.model else None
        return SessionSettings(session.instructions, transcription=heard, tools=tool_specs(config, tools))
    other = config.personas[persona] if persona else Persona()
    truncation: Literal["auto", "disabled"] | float | None
    truncation = session.retention_ratio if session.truncation == "retention_ratio" else session.truncation
    transcription = session.transcription
    return SessionSettings(
        instructions=session.instructions if other.instructions is None else other.instructions,
        voice=other.voice or session.voice,
        speed=session.speed if session.speed != 1.0 else None,
        max_output_tokens=session.max_output_tokens if session.max_output_tokens != "inf" else None,
        turn_detection=_turn_detection(config),
        transcription=Transcription(transcription.model, transcription.language, transcription.prompt)
        if transcription.model
        else None,
        noise_reduction=session.noise_reduction,
        tools=tool_specs(config, tools, persona),
        temperature=session.temperature,
        reasoning_effort=session.reasoning_effort,
        parallel_tool_calls=session.parallel_tool_calls,
        truncation=truncation,
        tracing=session.tracing,
        echo_cancellation=session.echo_cancellation,
    )


def near_settings(config: Config, tools: ToolRegistry, persona: str) -> SessionSettings | None:
    """What the embedded brain is asked for before the provider is; None if there is nothing to ask it for."""
    names = config.session.local_first
    if not names or provider_of(config, persona) == "local":
        return None
    allowed = config.personas[persona].tools if persona else None
    near = [spec for spec in tools.specs(offline=True, allowed=names) if OFFLINE_KEY in spec]
    if allowed is not None:
        offered = {spec["name"] for spec in tools.specs(offline=False, allowed=allowed)}
        near = [spec for spec in near if spec["name"] in offered]
    return replace(session_settings(config, tools, core_personas.FALLBACK.name), tools=near) if near else None


def _turn_detection(config: Config) -> TurnDetection | None:
    session = config.session
    match session.turn_detection:
        case "local":
            return None
        case "server_vad":
            vad = session.server_vad
            return ServerVad(vad.threshold, vad.prefix_padding_ms, vad.silence_duration_ms)
        case "semantic_vad":
            return SemanticVad(session.semantic_vad.eagerness)
        case "azure_semantic_vad":
            azure = session.azure_semantic_vad
            return AzureSemanticVad(azure.model, azure.silence_duration_ms, azure.remove_filler_words, azure.languages)


def tool_specs(config: Config, tools: ToolRegistry, persona: str = "") -> list[dict[str, Any]]:
    """What the model may call as this persona. The codec leaves out what only our own server understands."""
    allowed = config.personas[persona].tools if persona else None
    specs = tools.specs(offline=True, allowed=allowed)
    if config.follow_up.mode != "never":
        goodbye = {"sentences": list(language(config.language).goodbye), "topic": ""}
        specs.append({**END_CONVERSATION_SPEC, "x-offline": goodbye})
    return specs


def local_server(config: Config, on_trouble: Callable[[str | None], None]) -> LocalServerProcess | None:
    """The embedded server as our own child, or None if another brain answers, or a server that already runs.

    on_trouble: as of LocalServerProcess.
    """
    if "local" not in providers_in_use(config) or config.local.url is not None:
        return None
    return LocalServerProcess(("--config", str(config.file)) if config.file else (), on_trouble)


def records(
    config: Config,
    journal: Journal,
    on_exhausted: Callable[[], None],
    wall: Callable[[], float] = time.time,
    scribe: Scribe | None = None,
) -> Records:
    """The ledger of costs and the log of turns. Call it on the event loop, and close it."""
    return Records(
        config.state_folder,
        journal,
        prices=prices(config),
        caps=caps(config),
        on_exhausted=on_exhausted,
        wall_clock=wall,
        scribe=scribe,
    )


def billed(config: Config, provider: str) -> Brain:
    """A provider as the ledger knows it."""
    return Brain(provider, config.brain(provider).model, free=provider == "local")


def prices(config: Config) -> dict[str, Price]:
    return {model: Price.per_million(price.model_dump()) for model, price in config.prices.items()}


def caps(config: Config) -> Caps:
    return Caps.of(config.money.daily_cap, config.money.monthly_cap, config.money.currency)


def tool_registry(
    config: Config, alerts: Ringer | None, clock: WallClock | None = None, threads: DaemonThreads | None = None
) -> ToolRegistry:
    """All plugins, loaded and not yet started."""
    registry = ToolRegistry(
        config.state_folder / "plugins",
        clock=clock,
        ringer=alerts,
        threads=threads,
        tiers=config.tools.tiers,
        language=config.language,
    )
    registry.load(config.tools.folders, disabled=config.tools.disabled, settings=config.plugins)
    registry.unknown += (lines := _unknown_tools(config, registry))
    for line in lines:
        log.warning("%s", line)
    return registry


def _unknown_tools(config: Config, registry: ToolRegistry) -> tuple[str, ...]:
    """What personas may use and nobody offers, a line each."""
    known = sorted({*registry.tools, *(plugin.name for plugin in registry.plugins)})
    lines = []
    for name, persona in config.personas.items():
        for tool in persona.tools or ():
            if tool not in known:
                close = difflib.get_close_matches(tool, known, n=1)
                hint = f": did you mean {close[0]}?" if close else ", or it is off"
                lines.append(f"personas.{name}.tools: there is no tool or plugin named {tool}{hint}")
    return tuple(lines)


def tool_runner(
    config: Config, registry: ToolRegistry, threads: DaemonThreads | None = None, clock: WallClock | None = None
) -> ToolRunner:
    def pin() -> str | None:
        try:
            secret = config.pin()
        except ConfigError as error:
            log.error("%s", error)
            return None
        return secret.get_secret_value() if secret else None

    return ToolRunner(
        registry,
        default_time_limit_s=config.tools.time_limit_s,
        output_limit=config.tools.result_limit_chars,
        consent=Consent(pin),
        audit=AuditLog(audit_file(config), keep_arguments_s=config.log.keep_s),
        audit_arguments=config.tools.log_arguments,
        pool=threads,
        clock=clock,
    )


def audit_file(config: Config) -> Path:
    """Where the audit log of tool calls is kept."""
    return config.state_folder / "tools.sqlite3"


def hearing(
    config: Config,
    send: Callable[[bytes], None],
    emit: Callable[[Event], None],
    now: Callable[[], float],
    wall: Callable[[], float] = time.time,
    ask: Ask | None = None,
) -> Hearing:
    """Wake gate, endpointing and uplink, for analysed frames."""
    uplink = Uplink(config.audio.ring_buffer_s, send)
    thresholds = {wake_word_name(word.model): word.threshold for word in config.wake.words}
    hints = ConnectHints(_connect(config), thresholds)
    history = WakeHistory(
        config.state_folder, keep_audio=config.wake.keep_audio, now=wall, keep_audio_s=config.log.keep_s
    )
    endpointer = Endpointer(endpointing_settings(config))
    confirm = config.barge_in.confirm_ms
    return Hearing(wake_gate(config), endpointer, uplink, emit, now, hints, history, ask, confirm_ms=confirm)


def _connect(config: Config) -> Connect:
    if config.session.connect == "auto":
        return Connect.AFTER_SPEECH if config.provider == "local" else Connect.WAKE
    return Connect(config.session.connect)


def analyzer(config: Config, reference: ReferenceBuffer | None = None) -> Analyzer:
    """The models that look at every frame. Takes some hundred milliseconds: call it on a thread.

    reference: what the speaker plays, for echo cancellation.
    """
    from assistant.adapters.webrtc_vad import WebRtcVad

    echo = None
    if reference is not None:
        report = echo_choice.tested(config)
        echo = echo_choice.echo_path(config, reference, report.leak_db if report else None)
    recording = (config.audio.input.device or "").startswith(WAV_PREFIX)  # it may hold silence, and keeps its own time
    vad = WebRtcVad(config.vad.aggressiveness)
    stop = stop_word(config) if echo is not None else None
    return Analyzer(wake_words(config), vad, echo, None if recording else CaptureHealth(), stop)


def stop_word(config: Config) -> StopWord | None:
    """What hears a spoken "stop" into what is played; None where that is not wanted."""
    if config.barge_in.mode == "off" or not config.barge_in.stop_word:
        return None
    from assistant.adapters.openwakeword_onnx import OpenWakeWordDetector

    microphone, own_voice = OpenWakeWordDetector([STOP]), OpenWakeWordDetector([STOP])
    return StopWord(microphone, own_voice, StopGate(config.barge_in.stop_threshold))


def wake_gate(config: Config) -> WakeGate:
    """What decides which scores are a hit."""
    return WakeGate(map(wake_word_settings, config.wake.words), require_speech=config.wake.require_speech)


def wake_word_settings(word: WakeWord) -> WakeWordSettings:
    """How sure the detector must be of a wake word."""
    return WakeWordSettings(
        name=wake_word_name(word.model),
        threshold=word.threshold,
        threshold_speaking=word.threshold_speaking,
        patience=(word.patience, word.patience_window),
        refractory_ms=word.refractory_ms,
        verifier_threshold=None if word.verifier is None else word.verifier_threshold,
    )


def wake_words(config: Config) -> WakeWordDetector:
    """The detector of all wake words of the config. Raises ModelLoadError."""
    from assistant.adapters.verifier_file import read_verifier
    from assistant.adapters.wake_engines import load_detector

    models = [(word.engine, word.model) for word in config.wake.words]
    files = {wake_word_name(word.model): word.verifier for word in config.wake.words if word.verifier is not None}
    verifiers = {name: read_verifier(file, name) for name, file in files.items()}
    return load_detector(models, idle_gate=config.wake.idle_gate, verifiers=verifiers)


def verifier_thresholds(config: Config) -> dict[str, float]:
    """How sure its verifier must be, for each wake word that has one."""
    return {
        wake_word_name(word.model): word.verifier_threshold for word in config.wake.words if word.verifier is not None
    }


def phrasebook(config: Config) -> Phrasebook:
    """What is said when no brain answers."""
    folder = config.state_folder / "phrases"
    return Phrasebook(folder, config.language, local_voice(config), config.local.speed_wpm)


def local_voice(config: Config) -> str:
    """The espeak-ng voice of the embedded server."""
    return config.local.voice or language(config.language).voice


def wake_phrases(config: Config) -> tuple[str, ...]:
    """The wake words as they are spoken: the embedded server hears them before a command in the same breath."""
    return tuple(wake_phrase(word.model) for word in config.wake.words)


def microphone(audio: AudioInput, loop: asyncio.AbstractEventLoop, *, paced: bool = True) -> Microphone:
    """The microphone that the config names. It is not open yet. paced: whether a recording takes its time."""
    device = audio.device
    if device is not None and device.startswith(WAV_PREFIX):
        from assistant.adapters.wav_device import WavMicrophone

        return WavMicrophone(device.removeprefix(WAV_PREFIX), loop=loop, paced=paced, channel=audio.channel)
    from assistant.adapters.pyaudio_device import PyAudioMicrophone

    return PyAudioMicrophone(device, audio.channel)


def speaker(device: str | None, loop: asyncio.AbstractEventLoop, available: Callable[[], int] | None = None) -> Speaker:
    """The speaker that the config names. It is not open yet.

    available: makes a recording hold only what is played, as fast as it comes; says how many samples there are.
    """
    if device is not None and (device == "none" or device.startswith(WAV_PREFIX)):
        from assistant.adapters.wav_device import WavSpeaker

        path = None if device == "none" else device.removeprefix(WAV_PREFIX)
        return WavSpeaker(path, loop=loop, available=available)
    from assistant.adapters.pyaudio_device import PyAudioSpeaker

    return PyAudioSpeaker(device)

"""``assistant serve``: the embedded realtime server alone, for the daemon and for other clients."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import signal
import sys

from assistant import wiring
from assistant.cli.common import load_config, run_async, say
from assistant.config import Config
from assistant.errors import EXIT_OK, HearthError
from assistant.local.chat import ChatSettings
from assistant.local.engines import SttSettings
from assistant.local.faults import parse_fault
from assistant.local.process import KEY_VARIABLE, READY_PREFIX
from assistant.local.server import LocalServerSettings, serve
from assistant.local.voices import VoiceSettings


def main(options: argparse.Namespace) -> int:
    if options.mcp or options.mcp_http:
        from assistant.cli import serve_mcp  # needs an extra, and is no part of the realtime server

        return serve_mcp.main(options)
    config = load_config(options, log_level=options.log_level)
    settings = _settings(config, options)
    _refuse_open_door(settings)
    run_async(_serve(settings, until_eof=options.until_eof))
    return EXIT_OK


def _refuse_open_door(settings: LocalServerSettings) -> None:
    """Raises HearthError if others than this machine's users could use the server without a key."""
    try:
        here = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:  # a name, of wherever it leads to
        here = False
    if not here and not settings.key:
        raise HearthError(
            f"{settings.host} can be reached by other machines: put a key that clients must show into {KEY_VARIABLE}, "
            "or listen on 127.0.0.1"
        )


def _settings(config: Config, options: argparse.Namespace) -> LocalServerSettings:
    local = config.local
    return LocalServerSettings(
        host=options.host or local.host,
        port=local.port if options.port is None else options.port,
        key=os.environ.get(KEY_VARIABLE),
        language=config.language,
        stt=SttSettings(local.stt.engine, local.stt.uri, local.stt.model, local.stt.noise_suppression),
        chat=_chat(config),
        voice=wiring.local_voice(config),
        speed=local.speed_wpm,
        tts=VoiceSettings(local.tts.engine, local.tts.uri, local.tts.model, local.tts.voice),
        strictness=local.strictness,
        wake_phrases=wiring.wake_phrases(config),
        state_folder=config.state_folder / "local",
        log_transcripts=config.log.transcripts,
        session_limit_s=options.session_limit,
        max_sessions=options.max_sessions,
        pacing="realtime" if options.realtime else "burst",
        faults=tuple(parse_fault(spec) for spec in options.fault),
    )


def _chat(config: Config) -> ChatSettings | None:
    chat = config.local.chat
    if config.local.brain != "chat" or chat.url is None or chat.model is None:  # the last two are checked before
        return None
    key = config.secret_of_chat()
    return ChatSettings(chat.url, chat.model, key.get_secret_value() if key else None, chat.patience_s)


async def _serve(settings: LocalServerSettings, *, until_eof: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_eof:
        # The daemon holds the other end; when it is gone, however it went, so are we.
        loop.add_reader(sys.stdin.fileno(), lambda: stop.set() if not os.read(sys.stdin.fileno(), 4096) else None)

    def ready(port: int) -> None:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        say(f"{READY_PREFIX}ws://{host}:{port}/v1")

    try:
        async with asyncio.TaskGroup() as group:
            server = group.create_task(serve(settings, ready=ready))
            waiting = group.create_task(stop.wait())
            await asyncio.wait({server, waiting}, return_when=asyncio.FIRST_COMPLETED)
            server.cancel()
            waiting.cancel()
    finally:
        if until_eof:
            loop.remove_reader(sys.stdin.fileno())

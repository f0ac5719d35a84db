"""The embedded realtime server: sockets, paths and keys.

::

    ws://127.0.0.1:PORT/v1/realtime            GA dialect (?model= is echoed)
    ws://127.0.0.1:PORT/openai/v1/realtime     the same, for clients of Azure OpenAI

Any other path is 404; a wrong or missing key is 401 when the server has one. The key may come as
``Authorization: Bearer``, ``api-key`` header, ``api-key`` query, or as the subprotocol that browsers use.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from assistant.errors import ConnectError
from assistant.local.grammar import DEFAULT_STRICTNESS
from assistant.local.language import language
from assistant.local.pronounce import arpabet
from assistant.local.recognizer import Engine, RecognizerProcess
from assistant.local.response import Pacing
from assistant.local.session import Session, SessionOptions
from assistant.local.voice import DEFAULT_SPEED, DEFAULT_VOICE, Voice, has_voice, ipa

_log = logging.getLogger(__name__)

PATHS: Final = ("/v1/realtime", "/openai/v1/realtime")
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_SESSIONS: Final = 16
"""Connections at once; more are answered with 503. Each that has tools or sends audio has a decoder of about 27 MB."""

_KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."


@dataclass(frozen=True, slots=True)
class LocalServerSettings:
    """How to serve.

    port: 0 takes a free one, which ``ready`` is told.
    key: what clients must show; None lets everybody in who can reach the address.
    voice, speed: of espeak-ng, words per minute.
    strictness: see ``grammar``; wake_phrases: what may stand before a command, such as "hey jarvis".
    state_folder: keeps how the microphone sounds from one run to the next; None keeps nothing.
    session_limit_s: a session is closed with ``session_expired`` after this.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    language: str = "en"
    voice: str = DEFAULT_VOICE
    speed: int = DEFAULT_SPEED
    strictness: float = DEFAULT_STRICTNESS
    wake_phrases: tuple[str, ...] = ()
    state_folder: Path | None = None
    session_limit_s: float = 3600.0
    log_transcripts: bool = False
    pacing: Pacing = "burst"


async def serve(settings: LocalServerSettings, *, ready: Callable[[int], None]) -> None:
    """Serve until cancelled; then sockets are closed with 1001 and the recogniser child is ended.

    Raises ConfigError (unknown voice), ModelLoadError (espeak-ng missing) or ConnectError (address in use).
    """
    mean = settings.state_folder / "cepstral-mean.txt" if settings.state_folder is not None else None
    with SharedVoice(settings.voice, settings.speed) as voice:
        engine = RecognizerProcess(voice.pronounce, mean)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(engine.run())
                try:
                    await _listen(settings, engine, voice, ready)
                finally:
                    running.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the caller wants the error, not how it came about
                raise group.exceptions[0] from None
            raise


async def _listen(
    settings: LocalServerSettings, engine: Engine, voice: SharedVoice, ready: Callable[[int], None]
) -> None:
    options = SessionOptions(
        voice=settings.voice,
        language=language(settings.language),
        strictness=settings.strictness,
        wake_phrases=settings.wake_phrases,
        limit_s=settings.session_limit_s,
        pacing=settings.pacing,
        log_transcripts=settings.log_transcripts,
    )
    sessions: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        sessions.add(connection)
        try:
            assert connection.request is not None
            model = parse_qs(urlsplit(connection.request.path).query).get("model", [None])[0]
            await Session(connection, engine.open(), voice, options, model).run()
        finally:
            sessions.discard(connection)

    def admit(connection: ServerConnection, request: Request) -> Response | None:
        if urlsplit(request.path).path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, f"There is nothing here; try {PATHS[0]}\n")
        if settings.key is not None and not _has_key(request, settings.key):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "The key is missing or wrong.\n")
        if len(sessions) >= MAX_SESSIONS:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many sessions.\n")
        return None

    quiet = logging.getLogger(f"{__name__}.websocket")
    quiet.setLevel(logging.CRITICAL)  # broken handshakes are everyday noise, and its tracebacks would hide ours
    try:
        server = await websockets_serve(
            handle,
            settings.host,
            settings.port,
            process_request=admit,
            select_subprotocol=_subprotocol,
            max_size=MAX_MESSAGE_BYTES,
            compression=None,  # audio in base64 does not compress, and it costs a Pi much
            logger=quiet,
            server_header=None,
            close_timeout=1.0,
        )
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        reason = error.strerror or str(error)
        raise ConnectError(
            f"cannot listen on {where}: {reason}; choose another local.port (0 takes a free one)"
        ) from None
    async with server:
        port: int = next(iter(server.sockets)).getsockname()[1]
        _log.info("listening on %s:%d", settings.host, port)
        ready(port)
        await server.serve_forever()


def _has_key(request: Request, key: str) -> bool:
    """Constant in time for each place where a key may stand."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    offered = [token if scheme.lower() == "bearer" else "", request.headers.get("api-key", "")]
    offered += parse_qs(urlsplit(request.path).query).get("api-key", [])
    for line in request.headers.get_all("Sec-WebSocket-Protocol"):
        names = [name.strip() for name in line.split(",")]
        offered += [name.removeprefix(_KEY_SUBPROTOCOL) for name in names if name.startswith(_KEY_SUBPROTOCOL)]
    matches = [hmac.compare_digest(token.strip().encode(), key.encode()) for token in offered]
    return any(matches)


def _subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


class SharedVoice:
    """The voice of all sessions, on a thread of its own: one sentence after the other, in the order they are asked for.

    A context manager; leaving it waits for the sentence at work, 3 ms.
    """

    def __init__(self, voice: str, speed: int) -> None:
        self._default = Voice(voice, speed)
        self._speed = speed
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="voice")

    def __enter__(self) -> SharedVoice:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def sentence(self, text: str, voice: str, speed_factor: float) -> Sequence[bytes]:
        """See ``response.Speech``. A voice that espeak-ng does not know, such as a cloud's, is the default one."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._sentence, text, voice, speed_factor)

    async def pronounce(self, words: Sequence[str]) -> dict[str, str]:
        """American ARPAbet for the recogniser."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: {word: arpabet(ipa(word)) for word in words})

    def _sentence(self, text: str, voice: str, speed_factor: float) -> list[bytes]:
        chosen = self._default if voice == self._default.name else _voice(voice, self._speed) or self._default
        return chosen.sentence(text, speed_factor=speed_factor)


@lru_cache(maxsize=32)
def _voice(name: str, speed: int) -> Voice | None:
    return Voice(name, speed) if has_voice(name) else None

"""The embedded realtime server: sockets, paths and keys.

::

    /v1/realtime?model=                               GA dialect, as at OpenAI; preview if the client asks for it by
                                                      "OpenAI-Beta: realtime=v1" or by the subprotocol of that name
    /openai/v1/realtime?model=                        GA dialect, as at Azure OpenAI
    /openai/realtime?api-version=&deployment=         preview dialect, as at Azure OpenAI
    /voice-live/realtime?api-version=&model=          Voice Live, as at Azure

Any other path is 404; a wrong or missing key is 401 when the server has one. The key may come as
``Authorization: Bearer``, ``api-key`` header, ``api-key`` or ``Authorization`` query, or as the subprotocol that
browsers use.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websockets_serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from assistant.errors import ConnectError
from assistant.local.chat import Chat, ChatSettings
from assistant.local.dialects import wire
from assistant.local.engines import SttSettings, make_engine
from assistant.local.faults import Fault, Faults
from assistant.local.grammar import DEFAULT_STRICTNESS
from assistant.local.language import language
from assistant.local.recognizer import Engine
from assistant.local.response import Pacing
from assistant.local.session import Session, SessionOptions
from assistant.local.voice import DEFAULT_SPEED, DEFAULT_VOICE
from assistant.local.voices import EspeakVoices, Voices, VoiceSettings, open_voices
from assistant.realtime.dialects import Dialect

_log = logging.getLogger(__name__)

PATHS: Final[Mapping[str, Dialect]] = {
    "/v1/realtime": Dialect.GA,
    "/openai/v1/realtime": Dialect.GA,
    "/openai/realtime": Dialect.PREVIEW,
    "/voice-live/realtime": Dialect.VOICE_LIVE,
}
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MAX_SESSIONS: Final = 16
"""Each session that has tools or sends audio has a decoder of about 27 MB."""

_KEY_SUBPROTOCOL: Final = "openai-insecure-api-key."
_BETA_SUBPROTOCOL: Final = "openai-beta.realtime-v1"


@dataclass(frozen=True, slots=True)
class LocalServerSettings:
    """How to serve.

    port: 0 takes a free one, which ``ready`` is told.
    key: what clients must show; None lets everybody in who can reach the address.
    voice, speed: of espeak-ng, words per minute.
    chat: a language model that answers; None = the sentences of the tools.
    stt: what hears; see ``engines``. tts: what speaks; see ``voices``.
    strictness: see ``grammar``; wake_phrases: what may stand before a command, such as "hey jarvis".
    state_folder: keeps how the microphone sounds from one run to the next; None keeps nothing.
    session_limit_s: a session is closed with ``session_expired`` after this.
    pacing: answers go out as fast as they are made, or no faster than they are played.
    max_sessions: connections at once; more are answered with 503.
    faults: misbehaviour on demand, see ``faults``.
    """

    host: str = "127.0.0.1"
    port: int = 0
    key: str | None = field(default=None, repr=False)
    language: str = "en"
    stt: SttSettings = field(default_factory=SttSettings)
    chat: ChatSettings | None = None
    tts: VoiceSettings = field(default_factory=VoiceSettings)
    voice: str = DEFAULT_VOICE
    speed: int = DEFAULT_SPEED
    strictness: float = DEFAULT_STRICTNESS
    wake_phrases: tuple[str, ...] = ()
    state_folder: Path | None = None
    session_limit_s: float = 3600.0
    log_transcripts: bool = False
    pacing: Pacing = "burst"
    max_sessions: int = MAX_SESSIONS
    faults: tuple[Fault, ...] = ()


async def serve(settings: LocalServerSettings, *, ready: Callable[[int], None]) -> None:
    """Serve until cancelled; then sockets are closed with 1001 and the recogniser child is ended.

    Raises ConfigError (unknown voice), ModelLoadError (a package or a model is missing) or ConnectError (address in
    use).
    """
    means = settings.state_folder / "means" if settings.state_folder is not None else None
    with EspeakVoices(settings.voice, settings.speed) as espeak:
        engine = await make_engine(settings.stt, language(settings.language), espeak.pronounce, means)
        try:
            async with (
                open_voices(settings.tts, espeak, settings.voice, settings.language) as voices,
                asyncio.TaskGroup() as tasks,
            ):
                running = tasks.create_task(engine.run())
                try:
                    await _listen(settings, engine, voices, ready)
                finally:
                    running.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:  # the caller wants the error, not how it came about
                raise group.exceptions[0] from None
            raise


async def _listen(settings: LocalServerSettings, engine: Engine, voices: Voices, ready: Callable[[int], None]) -> None:
    faults = Faults(settings.faults)
    options = SessionOptions(
        voice=settings.voice,
        language=language(settings.language),
        chat=Chat(settings.chat) if settings.chat is not None else None,
        strictness=settings.strictness,
        wake_phrases=settings.wake_phrases,
        limit_s=settings.session_limit_s,
        pacing=settings.pacing,
        log_transcripts=settings.log_transcripts,
        faults=faults,
    )
    sessions: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        sessions.add(connection)
        try:
            assert connection.request is not None
            query = _query(urlsplit(connection.request.path))
            model = query.get("model") or query.get("deployment")
            await Session(
                connection,
                engine.open(query.get("device", "")),
                voices,
                options,
                model,
                wire(_dialect(connection.request)),
            ).run()
        finally:
            sessions.discard(connection)

    def admit(connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if url.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, f"There is nothing here; try {next(iter(PATHS))}\n")
        if settings.key is not None and not _has_key(request, settings.key):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "The key is missing or wrong.\n")
        if PATHS[url.path] is not Dialect.GA and "api-version" not in _query(url):
            return connection.respond(HTTPStatus.NOT_FOUND, f"{url.path} wants an api-version.\n")
        if url.path == "/openai/v1/realtime" and "api-version" in _query(url):
            return connection.respond(HTTPStatus.BAD_REQUEST, f"{url.path} takes no api-version.\n")
        if len(sessions) >= settings.max_sessions:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many sessions.\n")
        if (fault := faults.take("handshake")) is not None:
            refusal = connection.respond(HTTPStatus(int(fault.value)), "This failure was asked for.\n")
            refusal.headers["Retry-After"] = "1"
            return refusal
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
    query = _query(urlsplit(request.path))
    offered += [query.get("api-key", ""), query.get("Authorization", "").removeprefix("Bearer ")]
    names = _subprotocols(request)
    offered += [name.removeprefix(_KEY_SUBPROTOCOL) for name in names if name.startswith(_KEY_SUBPROTOCOL)]
    matches = [hmac.compare_digest(token.strip().encode(), key.encode()) for token in offered]
    return any(matches)


def _query(url: SplitResult) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(url.query).items()}


def _subprotocols(request: Request) -> list[str]:
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",")]


def _dialect(request: Request) -> Dialect:
    """What a connection speaks: its path decides, and at OpenAI's own path the client's wish for the beta."""
    path = urlsplit(request.path).path
    wants_beta = "realtime=v1" in request.headers.get_all("OpenAI-Beta") or _BETA_SUBPROTOCOL in _subprotocols(request)
    return Dialect.PREVIEW if path == "/v1/realtime" and wants_beta else PATHS[path]


def _subprotocol(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None

"""The built-in recogniser: a child process that may die.

Ownership: ``RecognizerProcess.run`` owns the child, its pipes and the task that reads them; it starts the child again
when it dies, and another one when it has grown large, until it is cancelled. A ``_Stream`` (one session) holds what is
needed to make a new child know what the old one knew: the grammar, and the audio of the utterances that are not
finished. An utterance is given to a new child once; when that one dies too, or does not answer in time, the utterance
fails with RecognizerError.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from assistant.local.grammar import Grammar
from assistant.local.means import Means
from assistant.local.recognizer import MAX_UTTERANCE_S, Recognizer, RecognizerError, Transcript, Utterance
from assistant.local.recognizer_wire import HEADER, RATE, Frame, Kind, decode_header, grammar_payload, pack
from assistant.memory import resident_mb

_log = logging.getLogger(__name__)

WORKER_COMMAND: Final = (sys.executable, "-m", "assistant.local.recognizer_worker")

_ANSWER_S: Final = 15.0  # a child that is silent for longer is stuck and gets killed
_START_S: Final = 20.0
_LARGE_MB: Final = 300.0
_LARGE_AFTER_S: Final = 3600.0
"""A child that is larger than this gets a successor when nobody waits for it. It is looked at each hour, after a
result. Usual are 100 MB; a house of many words and several sessions may need more, and pays one start an hour."""

_RESTART_PAUSE_S: Final = 0.2
_RESTART_PAUSE_MAX_S: Final = 10.0

Pronounce = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Gives ARPAbet phones for words that the recogniser's dictionary lacks."""


class RecognizerProcess:
    """pocketsphinx in a child process; see ``recognizer_worker``.

    pronounce: asked for words that the dictionary lacks.
    mean_folder: keeps the cepstral means (how microphones and rooms sound) over restarts.
    noise_suppression: remove steady noise first.
    command: how to start the child.
    """

    def __init__(
        self,
        pronounce: Pronounce,
        mean_folder: Path | None = None,
        *,
        noise_suppression: bool = True,
        command: Sequence[str] = WORKER_COMMAND,
    ) -> None:
        self._pronounce = pronounce
        self._command = (*command, "--suppress-noise") if noise_suppression else tuple(command)
        self.means = Means(mean_folder)
        self._child: asyncio.subprocess.Process | None = None
        self._successor: asyncio.subprocess.Process | None = None  # has loaded its models, and waits for its turn
        self._generation = 0
        self._up = asyncio.Event()
        self._numbers = itertools.count(1)
        self._answers: dict[tuple[Kind, int, int], asyncio.Future[Frame]] = {}

    @property
    def pid(self) -> int | None:
        """Process id of the child, for tests and for ``doctor``; None while it is down."""
        return self._child.pid if self._child and self._up.is_set() else None

    def open(self, device: str = "") -> Recognizer:
        return _Stream(self, next(self._numbers), device, self._pronounce)

    async def run(self) -> None:
        """Keep a child running. Cancelling it ends the child; utterances in flight fail."""
        pause = _RESTART_PAUSE_S
        loop = asyncio.get_running_loop()
        try:
            while True:
                started = loop.time()
                child = self._successor or await self._start()
                self._successor = None
                if child is not None and await self._serve(child):
                    continue
                if loop.time() - started > 30:
                    pause = _RESTART_PAUSE_S
                _log.warning("the recogniser ended unexpectedly; it is started again in %.1f s", pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RESTART_PAUSE_MAX_S)
        finally:
            if self._successor is not None:
                await _end(self._successor)
            self.means.save()

    async def _start(self) -> asyncio.subprocess.Process | None:
        """A child that has loaded its models; None if it does not get so far."""
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        frame = None
        try:
            async with asyncio.timeout(_START_S):
                frame = await _read_frame(child.stdout)
        except TimeoutError:
            _log.error("the recogniser has not started within %.0f s", _START_S)
        finally:
            if frame is None:
                _kill(child)
                await _end(child)
        return child if frame is not None else None

    async def _serve(self, child: asyncio.subprocess.Process) -> bool:
        """Read its answers until it is gone, or so large that it gets a successor; says whether it has one."""
        look_from = asyncio.get_running_loop().time() + _LARGE_AFTER_S
        self._child = child
        self._generation += 1
        self._up.set()
        try:
            assert child.stdout is not None
            while self._successor is None or self._answers:
                if (frame := await _read_frame(child.stdout)) is None:
                    break
                self._answer(frame)
                now = asyncio.get_running_loop().time()
                if self._successor is not None or frame.kind is not Kind.RESULT or self._answers or now < look_from:
                    continue
                look_from = now + _LARGE_AFTER_S
                if (used := resident_mb(child.pid)) > _LARGE_MB:
                    _log.warning("the recogniser has grown to %.0f MB: a new one takes its place", used)
                    self._successor = await self._start()
            return self._successor is not None
        finally:
            self._up.clear()
            self._child = None
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(_ChildLost())
                    future.exception()  # whoever waits gets it; nobody may be waiting
            self._answers.clear()
            await _end(child)

    def _answer(self, frame: Frame) -> None:
        kinds = (frame.kind,) if frame.kind is not Kind.FAILED else (Kind.RESULT, Kind.SO_FAR, Kind.LOADED)
        for kind in kinds:
            future = self._answers.pop((kind, frame.stream, frame.utterance), None)
            if future is not None and not future.done():
                future.set_result(frame)

    # -- for streams --------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int | None:
        """Which child is running, counted from 1; None while there is none."""
        return self._generation if self._up.is_set() else None

    async def wait_up(self) -> None:
        """Wait for a child. Raises RecognizerError after 20 s without one."""
        try:
            async with asyncio.timeout(_START_S):
                await self._up.wait()
        except TimeoutError:
            raise RecognizerError("the recogniser does not start; see the log for its error") from None

    def send(self, frame: Frame) -> None:
        """Give a frame to the child; lost without a word when there is none, since streams replay."""
        if self._child is not None and self._child.stdin is not None and self._up.is_set():
            # The pipe's buffer is bounded by what streams may hold: a minute of audio each.
            with contextlib.suppress(ConnectionError, RuntimeError):
                self._child.stdin.write(frame.encode())

    def expect(self, kind: Kind, stream: int, utterance: int = 0) -> asyncio.Future[Frame]:
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[kind, stream, utterance] = future
        return future

    async def answer(self, future: asyncio.Future[Frame]) -> Frame:
        """Wait for an answer. Raises _ChildLost when the child is gone; kills one that does not answer."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                frame = await future
        except TimeoutError:
            _log.warning("the recogniser did not answer for %.0f s; it is ended", _ANSWER_S)
            if self._child is not None:
                self._up.clear()  # from now on, not when its death is noticed: nobody may talk to it any more
                _kill(self._child)
            raise _ChildLost from None
        if frame.kind is Kind.FAILED:
            raise RecognizerError(f"the recogniser failed: {frame.json().get('message')}")
        return frame


class _ChildLost(Exception):
    """The child died before it answered."""


class _Stream:
    """The recogniser of one session."""

    def __init__(self, process: RecognizerProcess, number: int, device: str, pronounce: Pronounce) -> None:
        self._process = process
        self._number = number
        self._device = device
        self._pronounce = pronounce
        self._grammar: Grammar | None = None
        self._has_grammar = asyncio.Event()
        self._pronunciations: dict[str, str] = {}
        self._synced: int | None = None  # generation of the child that knows our grammar
        self._epoch = 0  # counts the times that a child learnt our grammar; it then forgets what it was hearing
        self._utterances = itertools.count(1)
        self._current: _Utterance | None = None
        self._syncing = asyncio.Lock()

    async def set_grammar(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._has_grammar.set()
        self._synced = None
        try:
            await self.sync()
        except _ChildLost:
            try:
                await self.sync()
            except _ChildLost:
                raise RecognizerError("the recogniser ended twice while it loaded the sentences") from None

    async def sync(self) -> None:
        """Make the running child know our grammar, if it does not yet; wait for the first grammar.

        Raises _ChildLost or RecognizerError.
        """
        await self._has_grammar.wait()
        async with self._syncing:
            await self._process.wait_up()
            generation = self._process.generation
            while self._synced != generation or generation is None:
                if generation is None or generation != self._process.generation:
                    raise _ChildLost
                grammar = self._grammar
                assert grammar is not None
                self._send(Kind.OPEN, payload=pack({"cmn": self._process.means.get(self._device)}))
                await self._load(grammar)
                if grammar is self._grammar:  # else it was changed meanwhile: once more
                    self._synced = generation
                    self._epoch += 1

    async def _load(self, grammar: Grammar) -> None:
        for _ in range(2):
            future = self._process.expect(Kind.LOADED, self._number)
            self._send(Kind.GRAMMAR, payload=grammar_payload(grammar, self._pronunciations))
            missing: list[str] = (await self._process.answer(future)).json()["missing"]
            if not missing:
                return
            # "AH" rather than nothing for a word that cannot be pronounced: the others must still work.
            found = await self._pronounce(missing)
            self._pronunciations = {word: found.get(word) or "AH" for word in missing}
        raise RecognizerError("the recogniser knows no pronunciation for some words of the sentences")

    def begin(self) -> Utterance:
        if self._current is not None:
            self._current.abandon()
        self._current = _Utterance(self, next(self._utterances))
        return self._current

    async def close(self) -> None:
        if self._current is not None:
            self._current.abandon()
        self._send(Kind.CLOSE)

    # -- for utterances -----------------------------------------------------------------------------------------

    @property
    def ready(self) -> int | None:
        """The epoch, if the running child knows our grammar. An utterance is heard by the child only if the epoch in
        which it began is still the same when it ends."""
        generation = self._process.generation
        return self._epoch if generation is not None and generation == self._synced else None

    def _send(self, kind: Kind, utterance: int = 0, payload: bytes = b"") -> None:
        self._process.send(Frame(kind, self._number, utterance, payload))

    def send_utterance(self, kind: Kind, utterance: int, payload: bytes = b"") -> None:
        self._send(kind, utterance, payload)

    def expect(self, kind: Kind, utterance: int) -> asyncio.Future[Frame]:
        return self._process.expect(kind, self._number, utterance)

    async def so_far(self, future: asyncio.Future[Frame]) -> str:
        try:
            return str((await self._process.answer(future)).json()["text"])
        except (_ChildLost, RecognizerError):
            return ""

    async def transcript(self, future: asyncio.Future[Frame]) -> Transcript:
        result: dict[str, Any] = (await self._process.answer(future)).json()
        self._process.means.learn(self._device, result.get("cmn"))
        return Transcript(result["text"], bool(result["rejected"]), result["guess"])

    def ended(self, utterance: _Utterance) -> None:
        if self._current is utterance:
            self._current = None


class _Utterance:
    """One utterance: forwards audio to the child, and keeps it in case that the child must be replaced."""

    def __init__(self, stream: _Stream, number: int) -> None:
        self._stream = stream
        self._number = number
        self._audio = bytearray()
        self._open = True
        self._epoch: int | None = None
        self._asked: asyncio.Future[Frame] | None = None  # what was heard so far
        self._catch_up()

    @property
    def _is_heard(self) -> bool:
        return self._epoch is not None and self._epoch == self._stream.ready

    def feed(self, pcm: bytes) -> None:
        room = MAX_UTTERANCE_S * RATE * 2 - len(self._audio)
        if not self._open or room <= 0:
            return
        pcm = pcm[:room]
        self._audio += pcm
        if self._is_heard:
            self._stream.send_utterance(Kind.AUDIO, self._number, pcm)
        else:
            self._catch_up()

    def _catch_up(self) -> None:
        """Let the child hear it from its beginning, once it knows our sentences: the session may just have opened."""
        self._epoch = self._stream.ready
        if self._epoch is not None:
            self._stream.send_utterance(Kind.BEGIN, self._number)
            self._stream.send_utterance(Kind.AUDIO, self._number, bytes(self._audio))

    def abandon(self) -> None:
        if self._open:
            self._close()
            if self._is_heard:
                self._stream.send_utterance(Kind.ABANDON, self._number)

    async def so_far(self) -> str:
        if not self._open or not self._is_heard or (self._asked is not None and not self._asked.done()):
            return ""
        self._asked = self._stream.expect(Kind.SO_FAR, self._number)
        self._stream.send_utterance(Kind.ASK, self._number)
        return await self._stream.so_far(self._asked)

    def finish(self) -> Awaitable[Transcript]:
        first = None
        if self._open:
            self._close()
            if self._is_heard:
                first = self._end()
        return self._result(first)

    async def _result(self, future: asyncio.Future[Frame] | None) -> Transcript:
        try:
            if future is not None:
                return await self._stream.transcript(future)
            return await self._replay()
        except _ChildLost:
            pass
        _log.info("an utterance is given to the new recogniser once more")
        try:
            return await self._replay()
        except _ChildLost:
            raise RecognizerError("the recogniser ended twice on the same utterance") from None

    async def _replay(self) -> Transcript:
        """All of it again, to a child that has not heard it."""
        await self._stream.sync()
        self._stream.send_utterance(Kind.BEGIN, self._number)
        self._stream.send_utterance(Kind.AUDIO, self._number, bytes(self._audio))
        return await self._stream.transcript(self._end())

    def _end(self) -> asyncio.Future[Frame]:
        future = self._stream.expect(Kind.RESULT, self._number)
        self._stream.send_utterance(Kind.FINISH, self._number)
        return future

    def _close(self) -> None:
        self._open = False
        self._stream.ended(self)


async def _read_frame(stream: asyncio.StreamReader) -> Frame | None:
    """The next frame; None when the child is gone or talks nonsense."""
    try:
        length, frame = decode_header(await stream.readexactly(HEADER.size))
        payload = await stream.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except ValueError as error:
        _log.error("the recogniser sent a damaged frame: %s", error)
        return None
    return Frame(frame.kind, frame.stream, frame.utterance, payload)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Close its input, which ends it; kill it if it does not listen. Also when we are being cancelled."""
    assert child.stdin is not None
    child.stdin.close()
    if child.returncode is None:
        try:
            async with asyncio.timeout(0.5):
                await child.wait()
        except (TimeoutError, asyncio.CancelledError) as reason:
            _kill(child)
            await child.wait()
            if isinstance(reason, asyncio.CancelledError):
                raise
    with contextlib.suppress(ConnectionError):
        await child.stdin.wait_closed()


def _kill(child: asyncio.subprocess.Process) -> None:
    # Not child.kill(): that polls first, and may take the exit status away from asyncio's own watcher.
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)

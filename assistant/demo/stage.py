"""Runs the real daemon in the kitchen, follows what happens, and shows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from assistant.demo.kitchen import Kitchen, Person, Utterance

Entry: TypeAlias = dict[str, Any]

_POLL: Final = 0.01
_STOP_GRACE: Final = 5.0

CONFIG: Final = """\
# Written by `assistant demo`: the defaults, in a kitchen that exists only as files.
provider: local
session:
  transcription: {model: hearth-local}   # so that the screen can show what was recognised
barge_in:
  mode: speech                           # there is no echo in this kitchen
audio:
  input: {device: "wav:room.pipe"}
  output: {device: "wav:speaker.wav"}
  earcons: true
log:
  level: info
  events_file: events.jsonl
state_dir: state
"""


class SceneFailed(Exception):
    """Something that should have happened did not."""


class Stage:
    """One running daemon in one kitchen.

    ``wait`` looks at the journal from where the last ``wait`` ended, so a scene reads as a list of what follows.
    """

    def __init__(self, folder: Path, kitchen: Kitchen, config: str = CONFIG, *, quiet: bool = False) -> None:
        """config: the daemon's config file. quiet: show nothing."""
        self.folder = folder
        self.kitchen = kitchen
        self._config = config
        self._quiet = quiet
        self.entries: list[Entry] = []
        self._position = 0
        self._file: Any = None
        self._process: asyncio.subprocess.Process | None = None
        self._began = time.monotonic()
        self._answer: list[str] = []

    # --- the daemon -------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[None]:
        """Start the daemon as a stranger would; leaving sends SIGTERM and checks that it ends well and soon."""
        config = self.folder / "config.yaml"
        config.write_text(self._config, encoding="utf-8")
        with (self.folder / "daemon.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "assistant", "run", "--config", str(config)), stderr=log, stdout=log
            )
        try:
            # The scene runs in this group's body: what it raises ends the reader, too.
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._follow(), name="journal")
                yield
                following.cancel()
            self._process.terminate()
            async with asyncio.timeout(_STOP_GRACE):
                status = await self._process.wait()
            if status != 0:
                raise SceneFailed(f"the daemon ended with status {status}; see {self.folder / 'daemon.log'}")
        except TimeoutError:
            raise SceneFailed(f"the daemon did not end within {_STOP_GRACE:.0f} s of SIGTERM") from None
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            if self._file is not None:
                self._file.close()

    # --- what happens -----------------------------------------------------------------------------------------------

    async def say(self, person: Person, text: str) -> Utterance:
        """Somebody says something; returns when it has been heard."""
        self.show(f'someone says "{text}"')
        return await self.kitchen.say(person.utter(text))

    async def wait(self, what: str, within: float, **wanted: Any) -> Entry:
        """The next entry of the journal whose fields are as wanted; everything before it is passed over."""

        def fits(entry: Entry) -> bool:
            return all(entry.get(key) == value for key, value in wanted.items())

        return await self.wait_until(what, within, fits)

    async def wait_until(self, what: str, within: float, fits: Callable[[Entry], bool]) -> Entry:
        deadline = time.monotonic() + within
        while True:
            while self._position < len(self.entries):
                entry = self.entries[self._position]
                self._position += 1
                if fits(entry):
                    return entry
            if self._process is not None and self._process.returncode is not None:
                raise SceneFailed(f"the daemon has ended; see {self.folder / 'daemon.log'}")
            if time.monotonic() > deadline:
                raise SceneFailed(f"{what}: did not happen within {within:.0f} s")
            await asyncio.sleep(_POLL)

    def sent_bytes(self) -> int:
        """Bytes of microphone audio that have left the machine so far."""
        return next((entry["sent_bytes"] for entry in reversed(self.entries) if entry["name"] == "uplink"), 0)

    async def _follow(self) -> None:
        """Read the journal as it is written."""
        while True:
            self._read()
            await asyncio.sleep(_POLL)

    def _read(self) -> None:
        if self._file is None:
            path = self.folder / "events.jsonl"
            if not path.exists():
                return
            self._file = path.open(encoding="utf-8")
        while True:
            start = self._file.tell()
            line = self._file.readline()
            if not line.endswith("\n"):
                self._file.seek(start)  # half a line: the rest of it comes later
                return
            entry = json.loads(line)
            self.entries.append(entry)
            self._show_entry(entry)

    # --- the screen -------------------------------------------------------------------------------------------------

    def show(self, text: str, at: float | None = None) -> None:
        if not self._quiet:
            print(f"  {(time.monotonic() if at is None else at) - self._began:7.2f} s  {text}", flush=True)

    def begin_scene(self, title: str) -> None:
        print(f"\n{title}", flush=True)

    def _show_entry(self, entry: Entry) -> None:
        at = entry["at"]
        match entry:
            case {"kind": "note", "name": "ready"}:
                self.show("the daemon is ready: microphone, speaker and models are open", at)
            case {"kind": "event", "name": "woken", "word": word, "score": score}:
                self.show(f"heard the wake word {word} (score {score:.2f})", at)
            case {"kind": "event", "name": "session_ready"}:
                self.show("session open", at)
            case {"kind": "command", "name": "commit_input"}:
                self.show("end of the request", at)
            case {"kind": "event", "name": "user_transcript", "text": text}:
                self.show(f'recognised "{text}"', at)
            case {"kind": "command", "name": "run_tool", "tool": tool, "arguments": arguments}:
                self.show(f"calls the tool {tool} {arguments}", at)
            case {"kind": "event", "name": "tool_finished", "output": output}:
                self.show(f"the tool says {output[:100]}", at)
            case {"kind": "event", "name": "answer_text", "delta": delta}:
                self._answer.append(delta)
            case {"kind": "event", "name": "response_done"} if self._answer:
                self.show(f'answers "{_shorten("".join(self._answer))}"', at)
                self._answer.clear()
            case {"kind": "event", "name": "playback_started"}:
                self.show("the speaker begins", at)
            case {"kind": "event", "name": "playback_stopped", "played_ms": played, "interrupted": interrupted}:
                self.show(f"the speaker {'was interrupted' if interrupted else 'has finished'} after {played} ms", at)
            case {"kind": "command", "name": "truncate_item", "heard_ms": heard}:
                self.show(f"tells the server that {heard} ms were heard", at)
            case {"kind": "command", "name": "start_alert"}:
                self.show("the timer rings", at)
            case {"kind": "command", "name": "stop_alert"}:
                self.show("the ringing stops", at)
            case {"kind": "command", "name": "end_turn", "turn": turn, "outcome": outcome, "detail": detail}:
                self.show(f"turn {turn}: {outcome}{f' ({detail})' if detail else ''}", at)
            case _:
                pass


def _shorten(text: str, limit: int = 160) -> str:
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + " …"

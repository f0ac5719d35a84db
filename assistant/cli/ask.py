"""``assistant ask``: one request in writing, answered aloud. The quickstart of the realtime API in one command."""

from __future__ import annotations

import argparse
import asyncio
import sys

from assistant import wiring
from assistant.assembly import Assistant
from assistant.cli.common import complain, load_config, run_async
from assistant.config import Config
from assistant.control import client, socket_path
from assistant.core import events as ev
from assistant.errors import EXIT_FAILURE, EXIT_OK, EXIT_UNAVAILABLE, DeviceError
from assistant.journal import Entry, Journal


def main(options: argparse.Namespace) -> int:
    if not options.text.strip():
        complain('assistant ask: there is nothing to ask: assistant ask "what time is it"')
        return EXIT_FAILURE
    config = load_config(options, log_level="warning")
    if client.running(socket_path(config.state_folder)):
        complain(
            "assistant ask: an assistant is running with this state folder, and the tools are there: stop it, or use "
            "`assistant control ask`, which answers in the room"
        )
        return EXIT_UNAVAILABLE
    return run_async(_ask(config, options))


class _Printer:
    """Shows the answer as it comes, and remembers how the turn ended."""

    def __init__(self) -> None:
        self.outcome: str | None = None
        self.detail = ""
        self._mid_line = False

    def __call__(self, entry: Entry) -> None:
        match entry:
            case {"kind": "event", "name": "answer_text", "delta": delta}:
                print(delta, end="", flush=True)
                self._mid_line = True
            case {"kind": "command", "name": "run_tool", "tool": tool, "arguments": arguments}:
                self._end_line()
                print(f"[{tool} {arguments}]", file=sys.stderr, flush=True)
            case {"kind": "command", "name": "end_turn", "outcome": outcome, "detail": detail}:
                self.outcome, self.detail = outcome, detail
                self._end_line()

    def _end_line(self) -> None:
        if self._mid_line:
            print(flush=True)
            self._mid_line = False


async def _ask(config: Config, options: argparse.Namespace) -> int:
    if options.out is not None:
        return await _turn(config, options.text, f"wav:{options.out}", at_once=True)
    if options.quiet:
        return await _turn(config, options.text, "none", at_once=True)
    try:
        return await _turn(config, options.text, config.audio.output.device)
    except* DeviceError as errors:
        complain(f"assistant ask: no sound: {errors.exceptions[0]}")
    return await _turn(config, options.text, "none", at_once=True)


async def _turn(config: Config, text: str, device: str | None, *, at_once: bool = False) -> int:
    """One request. ``at_once``: nobody listens, so the answer need not take its time."""
    loop = asyncio.get_running_loop()
    journal, printer = Journal(), _Printer()
    journal.subscribe(printer)

    def available() -> int:
        return assistant.player.available()

    assistant = Assistant(config, journal, wiring.speaker(device, loop, available if at_once else None))
    async with assistant.running():
        await assistant.tools.ready()
        assistant.engine.dispatch(ev.TextSubmitted(loop.time(), text))
        await assistant.engine.idle.wait()
    if printer.outcome == "answered":
        return EXIT_OK
    complain(f"assistant ask: no answer{f': {printer.detail}' if printer.detail else ''}")
    return EXIT_FAILURE

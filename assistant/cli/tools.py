"""``assistant tools``: what the assistant can do, and trying it."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from assistant import wiring
from assistant.cli.common import complain, load_config, run_async, say
from assistant.cli.tools_check import review
from assistant.cli.tools_new import write_plugin
from assistant.config import Config
from assistant.control import client, socket_path
from assistant.errors import EXIT_FAILURE, EXIT_OK
from assistant.tools.audit import read_calls
from assistant.tools.registry import ToolRegistry

CALL_TIMEOUT_S = 310.0
"""No tool may take longer than 300 s."""


def main(options: argparse.Namespace) -> int:
    if options.action == "new":
        return _new(options.name, options.folder)
    config = load_config(options, log_level="critical" if options.action in ("list", "check") else "warning")
    if options.action == "list":
        return _list(config, as_json=options.json)
    if options.action == "check":
        return _check(wiring.tool_registry(config, None))
    if options.action == "log":
        return _show_log(wiring.audit_file(config), options.last, as_json=options.json)
    if options.action == "reload":
        for line in client.request(socket_path(config.state_folder), "reload", plugin=options.plugin)["lines"]:
            say(line)
        return EXIT_OK
    try:
        return _call_running(config, options.name, options.arguments, by_owner=options.yes)
    except client.NotRunning:
        return run_async(_call(config, options.name, options.arguments, by_owner=options.yes))


def _list(config: Config, *, as_json: bool) -> int:
    registry = wiring.tool_registry(config, None)
    later = _later_tools(config, registry)
    if as_json:
        plugins = [
            {"name": p.name, "status": p.status.value, "reason": p.reason, "source": p.source, "tools": list(p.tools)}
            for p in registry.plugins
        ]
        tools = [*registry.specs(offline=True), *later]
        say(json.dumps({"plugins": plugins, "tools": tools}, ensure_ascii=False, indent=2))
        return EXIT_OK
    for plugin in registry.plugins:
        say(f"{plugin.name}: {plugin.status}{f' ({plugin.reason})' if plugin.reason else ''}")
        for name in plugin.tools:
            spec = registry.tools[name].spec(True) if name in registry.tools else {}
            tier = registry.tier(registry.tools[name]) if name in registry.tools else "deny"
            say(_tool_line(name, tier, spec.get("description", "")))
            for sentence in spec.get("x-offline", {}).get("sentences", ())[:2]:
                say(f'  {"":<20} "{sentence}"')
    if later:
        say("found by the running assistant:")
        for tool in later:
            say(_tool_line(tool["name"], tool["tier"], tool["description"]))
    for line in registry.unknown:
        say(f"warning: {line}")
    return EXIT_OK


def _tool_line(name: str, tier: str, description: str) -> str:
    mark = "" if tier == "safe" else f"[{tier}] "
    return f"  {name:<20} {mark}{description.partition(chr(10))[0]}".rstrip()


def _later_tools(config: Config, registry: ToolRegistry) -> list[dict[str, Any]]:
    """What the running assistant has beyond the plugins' files; if none runs, the registry looks for it itself."""
    if not config.plugins or not registry.more_to_come:  # nobody was told where to look
        return []
    try:
        running = client.request(socket_path(config.state_folder), "tools")["tools"]
    except client.NotRunning:
        run_async(_find_later_tools(registry))
        return []
    return [tool for tool in running if tool["name"] not in registry.tools]


async def _find_later_tools(registry: ToolRegistry) -> None:
    """Let the plugins whose tools come later find them. The others are not started: a list must ring no timer."""
    try:
        await registry.start(late_only=True)
        await registry.ready()
    finally:
        await registry.stop()


def _new(name: str, folder: Path) -> int:
    plugin, test = write_plugin(name, folder)
    say(f"wrote {plugin} and {test}")
    say(f"next: add {folder} to tools.folders in config.yaml; run the test with: pytest {test}")
    return EXIT_OK


def _check(registry: ToolRegistry) -> int:
    findings = review(registry)
    for finding in findings:
        say(f"{'problem' if finding.serious else 'advice'}: {finding.text}")
    if not findings:
        say(f"{len(registry.tools)} tools of {len(registry.plugins)} plugins: nothing to complain about")
    return EXIT_FAILURE if any(finding.serious for finding in findings) else EXIT_OK


def _show_log(file: Path, last: int, *, as_json: bool) -> int:
    try:
        calls = read_calls(file, max(0, last))
    except sqlite3.Error as error:
        complain(f"assistant tools log: {file} cannot be read: {error}")
        return EXIT_FAILURE
    for call in calls:
        if as_json:
            say(json.dumps(asdict(call), ensure_ascii=False))
            continue
        at = datetime.fromtimestamp(call.at).astimezone().isoformat(" ", "seconds")
        turn = f"turn {call.turn}" if call.turn else "by hand" if not call.caller else "lent"
        details = f"{at}  {turn:<8}  {call.tool:<20} {call.tier:<8} {call.status:<9} {call.duration_ms:8.1f} ms"
        say("  ".join(filter(None, [details, call.caller, call.arguments])))
    return EXIT_OK


def _call_running(config: Config, name: str, arguments: str, *, by_owner: bool) -> int:
    """Let the running assistant call it: its plugins hold their state."""
    path = socket_path(config.state_folder)
    answer = client.request(path, "call", tool=name, arguments=arguments, yes=by_owner, timeout=CALL_TIMEOUT_S)
    return _told(answer["output"], answer["status"], answer["known"])


def _told(output: str, status: str, known: Sequence[str]) -> int:
    say(output)
    if status == "asked":
        complain("assistant tools call: nothing was done, since this tool needs consent: add --yes to give it")
    if status == "unknown":
        complain(f"assistant tools call: known tools are {', '.join(known) or 'none'}")
    return EXIT_OK if status == "ok" else EXIT_FAILURE


async def _call(config: Config, name: str, arguments: str, *, by_owner: bool) -> int:
    registry = wiring.tool_registry(config, None)
    runner = wiring.tool_runner(config, registry)
    await registry.start()
    try:
        if registry.find(name) is None:
            await registry.ready()
        outcome = await runner.call(name, arguments, by_owner=by_owner)
    finally:
        await registry.stop()
        await runner.close()
    return _told(outcome.output, outcome.status, sorted(registry.tools))

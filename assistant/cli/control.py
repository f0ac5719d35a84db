"""``assistant status``, ``events`` and ``control``: looking at the running assistant, and steering it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from assistant.cli.common import load_config, say
from assistant.control import client, socket_path
from assistant.errors import EXIT_FAILURE, EXIT_OK


def main(options: argparse.Namespace) -> int:
    path = socket_path(load_config(options, log_level="warning").state_folder)
    match options.command:
        case "status":
            return _status(client.request(path, "status")["status"], as_json=options.json)
        case "events":
            for event in client.events(path):
                say(json.dumps(event, ensure_ascii=False))
        case "control":
            fields = {name: getattr(options, name) for name in ("text", "percent") if hasattr(options, name)}
            client.request(path, options.action, **fields)
    return EXIT_OK


def _status(status: Mapping[str, Any], *, as_json: bool) -> int:
    """Print it; the exit status says whether all is well."""
    if as_json:
        say(json.dumps(status, ensure_ascii=False, indent=2))
    else:
        for line in _lines(status):
            say(line)
    return EXIT_FAILURE if status["troubles"] else EXIT_OK


def _lines(status: Mapping[str, Any]) -> list[str]:
    up = timedelta(seconds=round(status["uptime_s"]))
    lines = [
        f"state:      {status['state']}{', muted: the microphone is closed' if status['muted'] else ''}",
        f"running:    {up} (pid {status['pid']}, version {status['version']})",
        f"brain:      {status['provider']}, session {status['link']}",
        f"volume:     {status['volume']} %",
    ]
    if (last := status["last_turn"]) is not None:
        lines.append(
            f"last turn:  {last['turn']}: {last['outcome']}{f' ({detail})' if (detail := last['detail']) else ''}"
        )
    if (money := status["money"]) is not None:
        lines.append(f"cost:       {money['today']:.2f} {money['currency']} today, {money['month']:.2f} this month")
    lines += [
        f"plugin:     {plugin['name']}: {plugin['status']}: {plugin['reason']}"
        for plugin in status["plugins"]
        if plugin["status"] not in ("enabled", "disabled")
    ]
    lines += [f"trouble:    {trouble['part']}: {trouble['text']}" for trouble in status["troubles"]]
    return lines if status["troubles"] else [*lines, "troubles:   none"]

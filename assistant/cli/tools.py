"""``assistant tools``: what the assistant can do, and trying it."""

from __future__ import annotations

import argparse
import json

from assistant import wiring
from assistant.cli.common import complain, load_config, run_async, say
from assistant.config import Config
from assistant.errors import EXIT_FAILURE, EXIT_OK
from assistant.tools.registry import ToolRegistry


def main(options: argparse.Namespace) -> int:
    config = load_config(options, log_level="critical" if options.action == "list" else "warning")
    if options.action == "list":
        return _list(wiring.tool_registry(config, None), as_json=options.json)
    return run_async(_call(config, options.name, options.arguments))


def _list(registry: ToolRegistry, *, as_json: bool) -> int:
    if as_json:
        plugins = [
            {"name": p.name, "status": p.status.value, "reason": p.reason, "source": p.source, "tools": list(p.tools)}
            for p in registry.plugins
        ]
        say(json.dumps({"plugins": plugins, "tools": registry.specs(offline=True)}, ensure_ascii=False, indent=2))
        return EXIT_OK
    for plugin in registry.plugins:
        say(f"{plugin.name}: {plugin.status}{f' ({plugin.reason})' if plugin.reason else ''}")
        for name in plugin.tools:
            spec = registry.tools[name].spec(True) if name in registry.tools else {}
            say(f"  {name:<20} {spec.get('description', '').splitlines()[0] if spec.get('description') else ''}")
            for sentence in spec.get("x-offline", {}).get("sentences", ())[:2]:
                say(f'  {"":<20} "{sentence}"')
    for line in registry.unknown:
        say(f"warning: {line}")
    return EXIT_OK


async def _call(config: Config, name: str, arguments: str) -> int:
    registry = wiring.tool_registry(config, None)
    runner = wiring.tool_runner(config, registry)
    await registry.start()  # a plugin whose state a running daemon holds says so
    try:
        outcome = await runner.call(name, arguments)
    finally:
        await registry.stop()
        await runner.close()
    say(outcome.output)
    if outcome.status == "unknown":
        complain(f"assistant tools call: known tools are {', '.join(sorted(registry.tools)) or 'none'}")
    return EXIT_OK if outcome.status == "ok" else EXIT_FAILURE

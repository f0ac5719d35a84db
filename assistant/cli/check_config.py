"""``assistant check-config``: is the configuration right, and what is in force?"""

from __future__ import annotations

import argparse

from assistant.cli.common import load_config, say
from assistant.config import render
from assistant.errors import EXIT_CONFIG, EXIT_OK
from assistant.tools.registry import PluginStatus


def main(options: argparse.Namespace) -> int:
    from assistant import wiring

    config = load_config(options, log_level="error")
    registry = wiring.tool_registry(config, None)
    say(render(config).rstrip())
    wrong = [
        problem
        for plugin in registry.plugins
        if plugin.status is PluginStatus.CONFIG_ERROR
        for problem in plugin.problems
    ]
    for warning in config.warnings:
        say(f"# warning: {warning.render(config.label)}")
    for line in registry.unknown:
        say(f"# warning: {config.label}: {line}")
    if wrong:
        return EXIT_CONFIG
    say(f"# {config.label}: ok")
    return EXIT_OK

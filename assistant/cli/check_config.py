"""``assistant check-config``: is the configuration right, and what is in force?"""

from __future__ import annotations

import argparse
from dataclasses import replace

from assistant.cli.common import load_config, say
from assistant.config import Config, render
from assistant.errors import EXIT_OK, ConfigError, ConfigProblem
from assistant.tools.registry import PluginStatus


def main(options: argparse.Namespace) -> int:
    from assistant import wiring

    config = load_config(options, log_level="critical")
    registry = wiring.tool_registry(config, None)
    wrong = [
        _with_line(config, plugin.name, problem)
        for plugin in registry.plugins
        if plugin.status is PluginStatus.CONFIG_ERROR
        for problem in plugin.problems
    ]
    for warning in config.warnings:
        say(f"# warning: {warning.render(config.label)}")
    for line in registry.unknown:
        say(f"# warning: {config.label}: {line}")
    if wrong:
        raise ConfigError(config.label, wrong)
    say(render(config).rstrip())
    say(f"# {config.label}: ok")
    return EXIT_OK


def _with_line(config: Config, plugin: str, problem: ConfigProblem) -> ConfigProblem:
    """A plugin knows its keys, and the config their lines."""
    lines = config.plugin_section(plugin)[1]
    key = problem.key.removeprefix(f"plugins.{plugin}").removeprefix(".")
    return replace(problem, line=lines.get(key, lines.get("")))

"""What several commands do: read the config, set up logging, run a coroutine to its end."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

from assistant import logs
from assistant.config import Config, load
from assistant.errors import HearthError

T = TypeVar("T")


def load_config(options: argparse.Namespace, *, log_level: str | None = None) -> Config:
    """The config that ``--config`` names or the first one found. Sets up logging; warnings are logged."""
    config = load(options.config)
    logs.set_up(log_level or config.log.level)
    for warning in config.warnings:
        logging.getLogger("assistant").warning("%s", warning.render(config.label))
    return config


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; an error of a task within it comes out as that error, not as a group."""
    try:
        return asyncio.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that people should see: ours before others, the first before later ones."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting = [*error.exceptions, *waiting]
        else:
            leaves.append(error)
    return next((error for error in leaves if isinstance(error, HearthError)), leaves[0])


def say(line: str = "") -> None:
    print(line, flush=True)


def complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

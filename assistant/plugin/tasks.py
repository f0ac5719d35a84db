"""Ending tasks that do not want to end, and naming faults without quoting anybody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any


def fault(error: BaseException) -> str:
    """Kind and place of an exception, without its message, which may hold what somebody said."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"


async def end_tasks(tasks: Collection[asyncio.Task[Any]], limit_s: float) -> set[asyncio.Task[Any]]:
    """Cancel tasks and wait for their end; give those that could not be ended.

    A task that swallows its cancellation is ended by closing its coroutine: GeneratorExit passes where
    CancelledError was caught. Without that, ``asyncio.run`` would wait for such a task for ever at exit.
    """
    waiting = set(tasks)
    for last_resort in (False, True):
        for task in waiting:
            if last_resort and (work := task.get_coro()) is not None:
                try:
                    work.close()
                except BaseException as error:
                    logging.getLogger("hearth.plugin").debug("%s refuses to end: %s", task.get_name(), fault(error))
            task.cancel()
        if waiting:
            done, waiting = await asyncio.wait(waiting, timeout=0.1 if last_resort else limit_s)
            for task in done:
                if not task.cancelled():
                    task.exception()  # seen, so that asyncio does not report it when the task is collected
    return waiting

"""``assistant run``: the daemon."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os

from assistant import wiring
from assistant.cli.common import load_config, run_async
from assistant.config import Config
from assistant.daemon import Daemon
from assistant.errors import EXIT_OK
from assistant.journal import Journal, JournalFile


def main(options: argparse.Namespace) -> int:
    os.umask(0o077)  # whatever is written here, by plugins and children too, is for nobody else
    run_async(_run(load_config(options), options))
    return EXIT_OK


async def _run(config: Config, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal()
    events = options.events or config.log.events_file
    file = JournalFile(events) if events else None
    if file is not None:
        journal.subscribe(file)
    try:
        microphone = wiring.microphone(options.mic or config.audio.input.device, loop)
        speaker = wiring.speaker(options.speaker or config.audio.output.device, loop)
        daemon = Daemon(config, journal, microphone, speaker)
        # Code stays until the end. A full collection holds up every thread, the speaker's too, while it walks over it.
        gc.collect()
        gc.freeze()
        await daemon.run()
    finally:
        gc.unfreeze()  # or else libraries complain at exit about what is left
        if file is not None:
            file.close()

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
    config = with_devices(load_config(options), options.mic, options.speaker)
    run_async(_run(config, options))
    return EXIT_OK


def with_devices(config: Config, microphone: str | None, speaker: str | None) -> Config:
    """The same config with other devices: what depends on them (echo, barge-in) has to follow."""
    audio = config.audio
    if microphone:
        audio = audio.model_copy(update={"input": audio.input.model_copy(update={"device": microphone})})
    if speaker:
        audio = audio.model_copy(update={"output": audio.output.model_copy(update={"device": speaker})})
    return config.model_copy(update={"audio": audio})


async def _run(config: Config, options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal()
    events = options.events or config.log.events_file
    file = JournalFile(events, keep_s=config.log.keep_s) if events else None
    if file is not None:
        journal.subscribe(file)
    try:
        microphone = wiring.microphone(config.audio.input, loop)
        speaker = wiring.speaker(config.audio.output.device, loop)
        daemon = Daemon(config, journal, microphone, speaker)
        # Code stays until the end. A full collection holds up every thread, the speaker's too, while it walks over it.
        gc.collect()
        gc.freeze()
        await daemon.run()
    finally:
        gc.unfreeze()  # or else libraries complain at exit about what is left
        if file is not None:
            file.close()

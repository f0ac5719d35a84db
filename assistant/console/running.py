"""The console of a running assistant, put together from its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from assistant.assembly import Assistant
from assistant.audio.meter import Meter
from assistant.console.looking import Looking
from assistant.console.server import Shown, serve
from assistant.console.settings import SettingsPart
from assistant.console.talking import TalkPart
from assistant.happenings import Happenings


async def run(
    assistant: Assistant,
    happenings: Happenings,
    meter: Meter,
    devices: Callable[[], Mapping[str, Any]],
    restart: Callable[[], None] | None,
) -> None:
    """Serve until cancelled. ``devices`` and ``restart`` as in the parts."""
    config, controls = assistant.config, assistant.controls
    talk = TalkPart(lambda: assistant.config, assistant.room, time.time)
    await serve(
        Shown(config, controls, happenings, meter),
        Looking(config, controls, devices),
        SettingsPart(config, assistant.reconfigure, restart),
        talk,
        closing=talk.close,
    )

"""Music through everything: a real MPD, the offline brain in its own process, the conversation, a timer that rings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from assistant import wiring
from assistant.assembly import Assistant
from assistant.config import load
from assistant.core import events as ev
from assistant.journal import Journal
from tests.plugins.scripted_home import eventually
from tests.real_mpd import RealMpd, real_mpd

CONFIG = """\
provider: local
state_dir: state
plugins:
  media: {{host: 127.0.0.1, port: {port}}}
audio: {{output: {{device: none}}}}
follow_up: {{mode: never}}
"""


@pytest.mark.daemon
def test_music_is_soft_during_a_turn_and_a_ring_and_stop_ends_what_it_is_meant_for(tmp_path: Path) -> None:
    async def main(mpd: RealMpd) -> None:
        (tmp_path / "config.yaml").write_text(CONFIG.format(port=mpd.port))
        config = load(tmp_path / "config.yaml")
        loop = asyncio.get_running_loop()
        speaker = wiring.speaker("none", loop, available=lambda: assistant.player.available())
        assistant = Assistant(config, Journal(), speaker)

        async def say(text: str) -> None:
            assistant.engine.dispatch(ev.TextSubmitted(loop.time(), text))
            await assistant.engine.idle.wait()

        mpd.ask("setvol 80")
        async with assistant.running():
            assistant.engine.dispatch(ev.TextSubmitted(loop.time(), "play some music"))
            await eventually(lambda: mpd.volume == 40)
            await assistant.engine.idle.wait()
            assert mpd.state == "play"
            await eventually(lambda: mpd.volume == 80)
            await say("set a timer for one second")
            await eventually(lambda: mpd.volume == 80)
            await eventually(lambda: mpd.volume == 40)  # it rings
            await say("stop")
            await eventually(lambda: mpd.volume == 80)
            assert mpd.state == "play", "only the timer was meant"
            await say("stop")
            await eventually(lambda: mpd.state == "pause")
            await eventually(lambda: mpd.volume == 80)

    with real_mpd() as mpd:
        asyncio.run(main(mpd))

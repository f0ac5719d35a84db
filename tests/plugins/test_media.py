"""The media plugin against a real MPD: radio, music, and music that is lowered while the assistant is busy."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.plugin import ToolError
from assistant.testing.plugins import PluginHarness
from tests.plugins.scripted_home import eventually
from tests.real_mpd import PASSWORD, RealMpd, real_mpd, silence, write_song

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "media"


@pytest.fixture
def mpd() -> Iterator[RealMpd]:
    with real_mpd() as running:
        yield running


@contextlib.contextmanager
def station() -> Iterator[str]:
    """The address of a radio station on loopback."""
    sound = silence()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/radio.wav":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "audio/wav")
            self.send_header("Content-Length", str(len(sound)))
            self.end_headers()
            with contextlib.suppress(OSError):  # the player has heard enough
                self.wfile.write(sound)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def plugin_of(home: PluginHarness) -> Any:
    return home.registry._entries["media"].instance


def harness(mpd: RealMpd, state: Path, **settings: Any) -> PluginHarness:
    return PluginHarness(PLUGIN, state, settings={"host": "127.0.0.1", "port": mpd.port, **settings})


def use(mpd: RealMpd, state: Path, check: Callable[[PluginHarness], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        async with harness(mpd, state, **settings) as home:
            await plugin_of(home).link.ready(20)
            # The first look at the volume, and the names of the library, come with the connection.
            await eventually(lambda: "albums" in plugin_of(home).context.entity_lists)
            await check(home)

    asyncio.run(main())


def becomes(home: PluginHarness, state: str) -> None:
    home.registry.tell("state", {"state": state})


# --- music ------------------------------------------------------------------------------------------------------------


def test_music_is_found_played_and_told_of(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        assert (await home.say("what is playing")).answer == "Nothing is playing."
        assert (await home.say("play the album first light")).answer == "Playing 2 songs from First Light."
        assert mpd.state == "play"
        said = await home.say("what is playing")
        assert said.answer == "Morning Song by The Testers."
        assert (await home.say("next song")).answer == "Evening Song by The Testers."
        with pytest.raises(ToolError, match="last one"):
            await home.call("next_song")
        assert (await home.say("play the previous song")).answer == "Morning Song by The Testers."
        assert (await home.say("pause the music")).answer == "Paused."
        assert mpd.state == "pause"
        assert (await home.say("what is playing")).answer == "It is paused: Morning Song by The Testers."
        assert (await home.say("resume")).answer == "Okay."
        assert mpd.state == "play"
        assert (await home.say("stop the music")).answer == "Stopped."
        assert mpd.state == "stop"
        with pytest.raises(ToolError, match="Nothing is playing"):
            await home.call("pause_music")

    use(mpd, tmp_path, check)


def test_music_is_found_by_artist_by_title_and_by_what_people_mix_up(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        assert (await home.say("play some music")).answer == "Playing your music, shuffled."
        assert int(mpd.status()["playlistlength"]) == 4
        assert (await home.say("play something by the testers")).answer == "Playing 3 songs by The Testers."
        assert (await home.say("play the song sailing")).answer == "Playing Sailing by The Testers."
        assert (await home.call("play_music", artist="testers", title="evening"))["say"] == (
            "Playing Evening Song by The Testers."
        )
        assert (await home.call("play_music", title="second wind"))["songs"] == 1  # an album, not a title
        with pytest.raises(ToolError, match=r"There is no music called x by nobody\."):
            await home.call("play_music", artist="nobody", title="x")
        assert mpd.state == "play"  # what is not found does not end what plays

    use(mpd, tmp_path, check)


def test_music_that_is_new_is_known_by_name_at_once(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        write_song(mpd.folder / "music" / "new.flac", "Late Arrivals", "Debut", "Hello")
        mpd.ask("update")
        await eventually(lambda: "Late Arrivals" in plugin_of(home).context.entity_lists["artists"])
        assert (await home.say("play late arrivals")).answer == "Playing Hello by Late Arrivals."

    use(mpd, tmp_path, check)


def test_a_station_plays_and_a_dead_one_says_so(mpd: RealMpd, tmp_path: Path) -> None:
    with station() as address:
        stations = {
            "Radio Test": {"url": f"{address}/radio.wav", "names": ["test radio"]},
            "Dead Air": {"url": f"{address}/nothing"},
        }

        async def check(home: PluginHarness) -> None:
            assert (await home.say("play test radio")).answer == "Playing Radio Test."
            assert mpd.state == "play"
            assert (await home.say("what is playing")).answer == "Radio Test."
            with pytest.raises(ToolError, match="Dead Air cannot be played now"):
                await home.call("play_radio", station="Dead Air")
            assert (await home.say("play the radio")).tool == "play_radio"
            with pytest.raises(ToolError, match=r"There are: Radio Test, Dead Air"):
                await home.call("play_radio", station="Radio Nowhere")

        use(mpd, tmp_path, check, stations=stations)


def test_stop_pauses_what_plays(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        home.registry.tell("stop", {})  # nothing plays: nothing happens
        await home.call("play_music")
        ringing = {"alert": "timers-1", "state": "started"}
        home.registry.tell("alert", ringing)
        home.registry.tell("stop", {})  # it is meant for what rings
        home.registry.tell("alert", {**ringing, "state": "stopped", "dismissed": True})  # by the wake word
        home.registry.tell("turn", {"turn": 1, "state": "begun"})
        home.registry.tell("stop", {})
        assert (await home.say("what is playing")).tool == "now_playing"
        assert mpd.state == "play"
        home.registry.tell("turn", {"turn": 1, "state": "ended"})
        home.registry.tell("stop", {})
        await eventually(lambda: mpd.state == "pause")
        # A ring that was ended by the button, with no turn: a while later "stop" means the music again.
        await home.call("resume_music")
        home.registry.tell("alert", {**ringing, "state": "stopped", "dismissed": True})
        await home.advance(seconds=20)
        home.registry.tell("stop", {})
        await eventually(lambda: mpd.state == "pause")

    use(mpd, tmp_path, check)


# --- ducking ----------------------------------------------------------------------------------------------------------


def test_music_is_softer_while_the_assistant_is_busy_and_as_before_afterwards(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        mpd.ask("setvol 73")
        for busy in ("listening", "thinking", "speaking", "follow_up"):
            becomes(home, busy)
            await eventually(lambda: mpd.volume == 36)
        home.registry.tell("alert", {"alert": "timers-1", "state": "started"})
        becomes(home, "idle")
        home.registry.tell("alert", {"alert": "timers-1", "state": "stopped", "dismissed": False})
        await eventually(lambda: mpd.volume == 73)
        home.registry.tell("alert", {"alert": "timers-2", "state": "started"})
        await eventually(lambda: mpd.volume == 36)
        home.registry.tell("alert", {"alert": "timers-2", "state": "stopped", "dismissed": False})
        await eventually(lambda: mpd.volume == 73)

    use(mpd, tmp_path, check)


def test_the_volume_that_somebody_sets_meanwhile_stays(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        plugin = plugin_of(home)
        becomes(home, "listening")
        await eventually(lambda: mpd.volume == 50)
        mpd.ask("setvol 80")
        await eventually(lambda: type(plugin.ducking).__name__ == "HandsOff")
        becomes(home, "idle")
        await eventually(lambda: type(plugin.ducking).__name__ == "Normal")
        assert mpd.volume == 80
        # The user's own wish counts for afterwards, too.
        becomes(home, "speaking")
        await eventually(lambda: mpd.volume == 40)
        assert (await home.say("turn the music down")).answer == "The music is at 70 percent."
        assert mpd.volume == 35
        becomes(home, "idle")
        await eventually(lambda: mpd.volume == 70)
        assert (await home.say("set the music to 20 percent")).answer == "The music is at 20 percent."
        assert mpd.volume == 20

    use(mpd, tmp_path, check)


@pytest.mark.parametrize("kill", [False, True])
def test_a_turn_that_ends_while_mpd_is_away(mpd: RealMpd, tmp_path: Path, kill: bool) -> None:
    """Ended in good order it comes back with the lowered volume; killed it comes back with one from before."""

    async def check(home: PluginHarness) -> None:
        plugin = plugin_of(home)
        mpd.ask("setvol 80")
        await home.call("play_music")
        becomes(home, "listening")
        await eventually(lambda: mpd.volume == 40)
        await asyncio.to_thread(mpd.stop, kill=kill)
        await eventually(lambda: plugin.link.problem is not None)
        if kill:
            with pytest.raises(ToolError, match="cannot be used now"):
                await home.call("pause_music")
        becomes(home, "idle")
        await asyncio.to_thread(mpd.start)
        before = mpd.volume
        await plugin.link.ready(20)
        await eventually(lambda: type(plugin.ducking).__name__ == "Normal")
        assert mpd.volume == (before if kill else 80)
        assert (await home.call("play_music"))["songs"] == 4

    use(mpd, tmp_path, check)


def test_a_connection_that_breaks_off_right_after_the_volume_was_set(
    mpd: RealMpd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check(home: PluginHarness) -> None:
        plugin = plugin_of(home)
        real, broken = plugin.player.do, []

        async def do(command: str, *arguments: object) -> Any:
            answer = await real(command, *arguments)
            if command == "setvol" and not broken:
                broken.append(command)
                raise ToolError("the connection is lost")
            return answer

        monkeypatch.setattr(plugin.player, "do", do)
        becomes(home, "listening")
        await eventually(lambda: mpd.volume == 50)
        becomes(home, "idle")
        await eventually(lambda: mpd.volume == 100)
        assert broken

    use(mpd, tmp_path, check)


def test_an_mpd_that_is_restarted_during_a_turn_is_lowered_again(mpd: RealMpd, tmp_path: Path) -> None:
    async def check(home: PluginHarness) -> None:
        plugin = plugin_of(home)
        mpd.ask("setvol 80")
        becomes(home, "listening")
        await eventually(lambda: mpd.volume == 40)
        await asyncio.to_thread(mpd.stop)
        (mpd.folder / "state").unlink()  # it has forgotten everything: software mixers begin at 100
        await eventually(lambda: plugin.link.problem is not None)
        await asyncio.to_thread(mpd.start)
        await plugin.link.ready(20)
        await eventually(lambda: mpd.volume == 50)
        becomes(home, "idle")
        await eventually(lambda: mpd.volume == 100)

    use(mpd, tmp_path, check)


def test_an_assistant_that_ends_or_dies_meanwhile_leaves_no_soft_music(mpd: RealMpd, tmp_path: Path) -> None:
    async def lower(home: PluginHarness) -> None:
        mpd.ask("setvol 90")
        becomes(home, "listening")
        await eventually(lambda: mpd.volume == 45)

    use(mpd, tmp_path, lower)
    assert mpd.volume == 90  # it was raised by its stop

    async def die(home: PluginHarness) -> None:
        await lower(home)
        plugin_of(home)._settle = _nothing

    use(mpd, tmp_path, die)
    assert mpd.volume == 45

    async def come_back(home: PluginHarness) -> None:
        await eventually(lambda: mpd.volume == 90)

    use(mpd, tmp_path, come_back)


async def _nothing() -> None:
    return


# --- settings ---------------------------------------------------------------------------------------------------------


def test_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def wrong(mpd: RealMpd) -> None:
        with pytest.raises(AssertionError, match=r"self-check failed: MPD at 127\.0\.0\.1: it refuses the password"):
            async with harness(mpd, tmp_path):
                raise RuntimeError("it must not be well")
        assert "refuses the password" in caplog.text
        assert "not-the-password" not in caplog.text

    with real_mpd(password=PASSWORD) as mpd:
        monkeypatch.setenv("MPD_PASSWORD", "not-the-password")
        asyncio.run(wrong(mpd))
        monkeypatch.setenv("MPD_PASSWORD", PASSWORD)

        async def right(home: PluginHarness) -> None:
            assert (await home.call("play_music"))["songs"] == 4

        use(mpd, tmp_path, right)


def test_a_player_that_is_not_there(tmp_path: Path) -> None:
    async def main(port: int) -> None:
        with pytest.raises(AssertionError, match=r"MPD at 127\.0\.0\.1: it cannot be reached \(connection refused\)"):
            async with PluginHarness(PLUGIN, tmp_path, settings={"host": "127.0.0.1", "port": port}):
                raise RuntimeError("it must not be well")

    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        asyncio.run(main(taken.getsockname()[1]))


def test_without_a_host_there_are_no_tools_and_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpd", None)

    async def main() -> None:
        async with PluginHarness(PLUGIN, tmp_path) as home:
            assert not home.registry.specs(offline=True)

    asyncio.run(main())


def test_without_the_library_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpd", None)
    (info,) = PluginHarness(PLUGIN, tmp_path, settings={"host": "127.0.0.1"}).registry.plugins
    assert "pip install 'hearth-assistant[media]'" in str(info.reason)

"""A browser as a room: a real Chromium hears a wake word and a command, plays the answer, and is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import expect

from assistant.testing.scripted_server import Peer
from tests.console.browser import address, chromium, needs_chromium, shoot
from tests.house import House, room, write_wav
from tests.test_daemon import TONE, base, serving

pytestmark = [pytest.mark.daemon, needs_chromium]

TAP = """
// Everything that the page sends to the speaker, kept for the test.
window.heard = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...more) {
  if (target === this.context.destination && this instanceof AudioWorkletNode) {
    const tap = this.context.createScriptProcessor(1024, 1, 1);
    tap.onaudioprocess = ({ inputBuffer }) => window.heard.push(...inputBuffer.getChannelData(0));
    connect.call(this, tap);
    connect.call(tap, target);
  }
  return connect.call(this, target, ...more);
};
"""


def test_a_browser_hears_answers_and_is_interrupted(tmp_path: Path) -> None:
    cut: list[dict[str, Any]] = []

    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.expect("input_audio_buffer.commit")
        await peer.expect("response.create")
        await peer.answer("A long tone.", TONE * 20)
        cut.append(await peer.expect("conversation.item.truncate"))
        await peer.drain()

    microphone = tmp_path / "microphone.wav"
    spoken = room(10.0, "hey jarvis", 0.6, "what time is it", 6.0, "stop please stop right now", 1.0)
    write_wav(microphone, np.concatenate([spoken, np.zeros(32_000, np.int16)]))
    with serving(script) as server, House(tmp_path, base(server), more="console: {enabled: true, port: 0}") as house:
        house.start(room(100.0, seed=2))
        where = address(house)
        with chromium(microphone) as browser:
            page = browser.new_page()
            page.add_init_script(TAP)
            page.goto(f"{where}#talk")
            page.get_by_role("button", name="Talk here").click()
            state = page.locator("#talk-state")
            expect(state).to_have_text("Say the wake word", timeout=20_000)
            expect(page.locator("#talk-captions .note")).to_contain_text("hey jarvis", timeout=20_000)
            expect(state).to_have_text("Speaking", timeout=20_000)
            shoot(page, "talk-light")
            expect(page.locator("#talk-captions .hearth")).to_have_class("hearth cut", timeout=20_000)
            expect(page.locator("#state")).to_have_text("Ready")  # the kitchen has not noticed
            heard = np.array(page.evaluate("window.heard"))
            page.get_by_role("button", name="Hang up").click()
            expect(state).to_have_text("Not talking")
        assert len(server.peers) == 1
        assert house.process is not None
        house.process.terminate()
        assert house.end(within=10) == 0
    assert "Traceback" not in house.log, house.log
    seconds = sounds_for(heard, 330)
    assert 1.0 < seconds < 19.0
    assert abs(cut[0]["audio_end_ms"] / 1000 - seconds) < 0.25, (cut[0], seconds)


def test_a_button_stands_for_the_wake_word_and_the_daemon_ends_in_the_middle(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.open_session()
        await peer.answer_everything("A long tone.", TONE * 20)

    microphone = tmp_path / "microphone.wav"
    write_wav(microphone, np.concatenate([room(*["what time is it", 0.5] * 12), np.zeros(32_000, np.int16)]))
    with serving(script) as server, House(tmp_path, base(server), more="console: {enabled: true, port: 0}") as house:
        house.start(room(100.0, seed=2))
        where = address(house)
        with chromium(microphone) as browser:
            page = browser.new_page()
            page.goto(f"{where}#talk")
            page.get_by_label("Hands-free").uncheck()
            page.get_by_role("button", name="Talk here").click()
            state = page.locator("#talk-state")
            expect(state).to_have_text("Hold the button and speak", timeout=20_000)
            assert server.peers == []  # nothing leaves while the button is not held
            hold = page.get_by_role("button", name="Hold to talk")
            hold.dispatch_event("pointerdown")
            expect(state).to_have_text("Listening")
            expect(hold).to_have_class("held")
            page.wait_for_timeout(1500)  # this long one speaks
            hold.dispatch_event("pointerup")
            expect(state).to_have_text("Speaking", timeout=20_000)
            assert house.process is not None
            house.process.terminate()
            assert house.end(within=5) == 0
            expect(state).to_have_text("Not talking")
    assert "Traceback" not in house.log, house.log


def sounds_for(samples: npt.NDArray[np.float64], pitch: int) -> float:
    """For how many seconds a tone of this pitch is what one hears most; there are short sounds around it."""
    step = 24_000 // 10  # whole waves
    windows = samples[: len(samples) // step * step].reshape(-1, step)
    spectra = np.abs(np.fft.rfft(windows))
    return float(np.sum((spectra.argmax(axis=1) == pitch // 10) & (spectra.max(axis=1) > step * 0.02))) / 10

"""The page of the moment in a real Chromium, on a whole daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.console.browser import address, chromium, free_port, needs_chromium, shoot
from tests.house import House, room
from tests.test_daemon import answer_everything, base, serving

pytestmark = [pytest.mark.daemon, needs_chromium]


def test_a_page_shows_the_turn_steers_the_assistant_and_comes_back_after_a_restart(tmp_path: Path) -> None:
    section = f"console: {{enabled: true, port: {free_port()}}}"
    with serving(answer_everything) as server, House(tmp_path, base(server), more=section) as house:
        house.start(room(60.0))
        where = address(house)
        with chromium() as browser:
            page = browser.new_page()
            failures: list[str] = []
            page.on("pageerror", lambda error: failures.append(str(error)))
            page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
            page.goto(where)
            state = page.locator("#state")
            expect(state).to_have_text("Ready")
            page.locator("#request").fill("what time is it")
            page.locator("#request").press("Enter")
            expect(page.locator(".captions .you")).to_have_text("what time is it")
            expect(page.locator(".captions li.hearth")).to_contain_text("A tone.", timeout=15_000)
            expect(state).to_have_text("Ready", timeout=15_000)
            expect(page.locator("#level")).not_to_have_css("transform", "none")
            shoot(page, "now-light")

            page.get_by_role("button", name="Listen now").click()
            expect(state).to_have_text("Listening")
            page.get_by_role("button", name="Stop").click()
            expect(state).to_have_text("Ready")

            page.get_by_role("button", name="Mute").click()
            expect(state).to_have_text("Muted")
            expect(page.get_by_role("button", name="Listen now")).to_be_disabled()
            assert (tmp_path / "state" / "muted").exists()
            page.emulate_media(color_scheme="dark")
            shoot(page, "now-dark-muted")
            page.get_by_role("button", name="Unmute").click()
            expect(state).to_have_text("Ready")
            assert failures == []

            assert house.process is not None
            house.process.terminate()
            assert house.end(within=10) == 0
            expect(state).to_have_text("Offline")
            page.set_viewport_size({"width": 390, "height": 844})
            shoot(page, "now-phone-offline")
            house.start()
            expect(state).to_have_text("Ready", timeout=30_000)
            expect(page.locator(".captions .you")).to_have_text("what time is it")  # still on the page
    assert "Traceback" not in house.log


def test_a_page_signs_in_with_the_token_and_not_with_another(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the token of the house\n")
    section = "console: {enabled: true, port: 0, host: 0.0.0.0, token_file: token}"
    with House(tmp_path, more=section) as house:
        house.start(room(60.0))
        where = address(house).replace("0.0.0.0", "127.0.0.1")
        with chromium() as browser:
            page = browser.new_page()
            page.goto(where)
            page.get_by_label("Token").fill("not the token")
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator("#wrong")).to_have_text("This is not the token.")
            shoot(page, "signin")
            page.get_by_label("Token").fill("the token of the house")
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator("#state")).to_have_text("Ready")
            assert page.evaluate("document.cookie") == ""
    assert "the token of the house" not in house.log

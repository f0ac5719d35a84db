"""Turns, health and settings in a real Chromium, on a daemon that answers by itself; for everybody to use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.console.browser import address, chromium, needs_chromium, shoot
from tests.house import House, room

pytestmark = [pytest.mark.daemon, needs_chromium]

CONFIG = """\
provider: local
audio:
  input: {{device: "wav:room.wav"}}
  output: {{device: "none", volume: 70}}   # not too loud
console: {{enabled: true, port: 0}}
tools: {{tiers: {{current_date: confirm, look_up_date: deny}}}}
state_dir: state
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(tmp_path, config=CONFIG) as house:
        house.start(room(110.0))
        yield house
        assert "Traceback" not in house.log, house.log


@pytest.fixture
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def faults(page: Page) -> list[str]:
    """What axe-core finds that keeps people out: serious and critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes']]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def test_the_views_show_what_is_and_change_it(house: House, browser: Browser) -> None:
    page = browser.new_page()
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.goto(address(house))
    expect(page.locator("#state")).to_have_text("Ready")
    page.locator("#request").fill("what time is it")
    page.locator("#request").press("Enter")
    expect(page.locator(".captions .tool")).to_contain_text("current time", timeout=20_000)
    expect(page.locator(".captions li.hearth")).to_contain_text("It is", timeout=15_000)
    expect(page.locator("#state")).to_have_text("Ready", timeout=20_000)
    assert faults(page) == []

    page.get_by_role("link", name="Turns").click()
    turn = page.locator("details.turn").first
    expect(turn).to_contain_text("answered")
    expect(turn).to_contain_text("current_time")
    turn.locator("summary").click()
    expect(turn.locator(".waterfall tr").nth(5)).to_be_visible()
    expect(turn.locator(".waterfall")).to_contain_text("first audio received")
    expect(turn).to_contain_text("nothing")  # what it has cost
    shoot(page, "turns-light")
    assert faults(page) == []

    page.get_by_role("link", name="Health").click()
    expect(page.locator("#troubles")).to_have_text("All is well.")
    expect(page.locator("#figures")).to_contain_text("room.wav")
    expect(page.locator("#wake output")).to_have_text(
        "At 0.50: 0 of the wakes kept, 0 near misses more, 0 wakes fewer."
    )
    page.get_by_role("button", name="current time", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#tool .result")).to_contain_text("time")
    assert faults(page) == []
    page.get_by_role("button", name="Close").click()
    call_what_asks(page)
    shoot(page, "health-light")
    assert faults(page) == []
    edit_settings(page, house)
    assert failures == []


def call_what_asks(page: Page) -> None:
    result = page.locator("#tool .result")
    expect(page.get_by_role("button", name="look up date", exact=True)).to_have_count(0)  # denied: not even offered
    page.get_by_role("button", name="current date", exact=True).click()
    asked: list[str] = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Run", exact=True).click()
    assert "asks for a yes" in asked[0]
    expect(result).to_be_hidden()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Run", exact=True).click()
    expect(result).to_have_class("result")
    expect(result).to_contain_text("date")
    page.get_by_role("button", name="Close").click()


def edit_settings(page: Page, house: House) -> None:
    file = house.folder / "config.yaml"
    page.get_by_role("link", name="Settings").click()
    volume = page.get_by_label("Output volume")
    expect(volume).to_have_value("70")
    before = file.read_text()
    volume.fill("130")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_contain_text("config.yaml:4: audio.output.volume: must be from 0 to 100")
    expect(volume).to_have_attribute("aria-invalid", "true")
    assert file.read_text() == before
    volume.fill("40")
    page.get_by_label("Follow up mode").select_option("always")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notice")).to_have_text("Saved.")
    expect(page.locator("#waiting")).to_have_text("After a restart: Follow up mode.")
    assert file.read_text().startswith(before.replace("volume: 70}", "volume: 40}"))
    assert file.read_text().endswith("follow_up: {mode: always}\n")
    shoot(page, "settings-light")
    assert faults(page) == []
    page.get_by_role("link", name="Health").click()
    expect(page.locator("#figures")).to_contain_text("volume 40 %")  # without a restart
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    shoot(page, "health-phone")
    assert faults(page) == []
    for view in ("Settings", "Turns", "Talk", "Now"):
        page.get_by_role("link", name=view, exact=True).click()
        expect(page.locator("nav a[aria-current]")).to_have_text(view)
        shoot(page, f"{view.lower()}-phone")
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{view} is too wide for a phone"

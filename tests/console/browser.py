"""A real Chromium, and a whole daemon with its console for it to look at."""

from __future__ import annotations

import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.house import House

SHOTS = Path(__file__).resolve().parents[2] / "build" / "console"

expect.set_options(timeout=15_000)  # a busy machine is slow, and that is no fault

CHROMIUM = shutil.which("chromium")

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium: apt-get install chromium")


@contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Browser]:
    """A browser; ``microphone`` is a recording that its microphone hears once (it must end in silence)."""
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else FLAGS
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def address(house: House, within: float = 30.0) -> str:
    """Where the daemon serves its console."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if found := re.search(r"console: (http://\S+)", house.log):
            return found[1]
        assert house.process is None or house.process.poll() is None, house.log
        time.sleep(0.05)
    raise AssertionError(f"no console:\n{house.log}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def shoot(page: Page, name: str) -> None:
    """A picture for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    on_a_phone = page.viewport_size is not None and page.viewport_size["width"] < 600
    page.screenshot(path=SHOTS / f"{name}.png", full_page=not on_a_phone)

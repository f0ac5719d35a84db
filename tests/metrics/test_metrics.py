"""The numbers for Prometheus: right, readable by Prometheus, and for this machine only."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.config.loading import parse
from assistant.core.policy import State
from assistant.errors import ConfigError
from assistant.metrics.collect import Metrics
from assistant.metrics.exposition import Family, Histogram, Sample, counter, gauge, render
from assistant.metrics.server import serve
from tests.engine_rig import Rig
from tests.house import House, room
from tests.test_daemon import answer_everything, base, serving

# What Prometheus' own parser accepts of a line: https://prometheus.io/docs/instrumenting/exposition_formats/
_LABEL = r'[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*"'
_LINE = re.compile(rf"([a-zA-Z_:][\w:]*)(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")

STATUS: dict[str, Any] = {
    "version": "1.2",
    "provider": "openai",
    "uptime_s": 90.5,
    "state": "idle",
    "link": "ready",
    "muted": False,
    "money": {"today": 0.25, "month": 3.0, "currency": "EUR"},
    "sent_bytes": 640,
    "troubles": [{"part": "microphone", "text": "lost: /home/anna", "since": 1.0}],
}
AUDIO = {"microphone_frames": 500, "analysed_frames": 498, "dropped_frames": 2, "answer_underruns": 1}


def read(page: str) -> dict[str, float]:
    """The samples of a page, by name and labels as they are written. Each family is declared before its samples."""
    found: dict[str, float] = {}
    family = ""
    assert page.endswith("\n")
    for line in page.removesuffix("\n").split("\n"):
        if line.startswith("# TYPE "):
            family = line.split(" ")[2]
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match is not None, line
        assert match[1].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") == family, line
        key = line.rpartition(" ")[0]
        assert key not in found, f"twice: {key}"
        found[key] = float(match[3])
    return found


def metrics(**changes: Any) -> Metrics:
    return Metrics(lambda: {**STATUS, **changes}, lambda: AUDIO)


# --- the format ------------------------------------------------------------------------------------------------------


@given(st.text(), st.text(), st.floats())
def test_whatever_a_label_or_a_help_text_holds_the_page_stays_readable(label: str, text: str, value: float) -> None:
    [line] = [line for line in render([gauge("g", text, value, part=label)]).split("\n") if line.startswith("g{")]
    match = _LINE.fullmatch(line)
    assert match is not None and match[2] is not None
    escapes = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}
    assert re.sub(r'\\[\\"n]', lambda found: escapes[found[0]], match[2][6:-1]) == label
    assert float(match[3]) == value or math.isnan(value)


def test_buckets_hold_all_that_is_below_them() -> None:
    histogram = Histogram((0.5, 1.0))
    for value in (0.5, 0.6, 0.9, 7.0):
        histogram.observe(value)
    assert read(render([Family("h", "histogram", "", tuple(histogram.samples()))])) == {
        'h_bucket{le="0.5"}': 1,
        'h_bucket{le="1"}': 3,
        'h_bucket{le="+Inf"}': 4,
        "h_sum": 9.0,
        "h_count": 4,
    }


def test_what_is_not_known_is_left_out() -> None:
    assert render([gauge("g", "never known", None), counter("c", "none yet", {}, "kind")]) == "\n"
    assert render([Family("f", "gauge", "one", (Sample(3),))]) == "# HELP f one\n# TYPE f gauge\nf 3\n"


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_the_state_of_the_moment() -> None:
    page = metrics().page()
    found = read(page)
    assert found['hearth_info{version="1.2",provider="openai"}'] == 1
    assert found["hearth_uptime_seconds"] == 90.5
    assert [found[f'hearth_state{{state="{state.value}"}}'] for state in State] == [
        float(state is State.IDLE) for state in State
    ]
    assert found["hearth_session_ready"] == 1 and found["hearth_muted"] == 0
    assert found['hearth_trouble{part="microphone"}'] == 1
    assert found['hearth_cost_today{currency="EUR"}'] == 0.25
    assert found["hearth_microphone_frames_total"] == 500 and found["hearth_dropped_frames_total"] == 2
    assert 1e6 < found["process_resident_memory_bytes"] < 1e11
    assert found["process_open_fds"] >= 3 and found["hearth_threads"] >= 1
    assert "anna" not in page, "the words of a trouble may name things of the house"
    silent = read(metrics(muted=None, money=None, troubles=[]).page())
    assert not [key for key in silent if key.startswith(("hearth_muted", "hearth_cost", "hearth_trouble{"))]


def test_a_trouble_counts_once_however_often_its_words_change() -> None:
    counting = metrics()
    for trouble in ("lost", "cannot be opened", None, "lost", None):
        counting({"at": 0.0, "kind": "note", "name": "health", "part": "speaker", "trouble": trouble})
    assert read(counting.page())['hearth_troubles_total{part="speaker"}'] == 2


def test_turns_of_a_real_engine_are_counted(tmp_path: Path) -> None:
    from assistant.testing.scripted_server import ScriptedServer
    from assistant.testing.virtual_time import run
    from tests.realtime.test_faults import good, turn_and_next

    counting = metrics()

    async def main() -> Rig:
        async with ScriptedServer(good) as server:
            rig, _, _ = await turn_and_next(server, tmp_path)
            return rig

    for entry in run(main()).entries:
        counting(entry)
    found = read(counting.page())
    assert found['hearth_turns_total{outcome="answered"}'] == 2
    assert found["hearth_sessions_lost_total"] == 0


# --- the address -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def served(page: Callable[[], str]) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task: asyncio.Future[None] = asyncio.ensure_future(serve("127.0.0.1", 0, page, ready.set_result))
    try:
        await asyncio.wait_for(asyncio.shield(ready), 5)
        async with aiohttp.ClientSession() as client:
            yield ready.result(), client
    finally:
        task.cancel()
        await asyncio.wait({task})


def test_only_who_asks_for_this_machine_by_its_own_name_is_answered() -> None:
    async def main() -> None:
        async with served(lambda: "up 1\n") as (address, client):
            async with client.get(address) as answer:
                assert (answer.status, await answer.text()) == (200, "up 1\n")
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            async with client.get(address, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 421
            async with client.post(address) as answer:
                assert answer.status == 405
            async with client.get(address.replace("metrics", "state")) as answer:
                assert answer.status == 404

    asyncio.run(main())


def test_a_port_that_is_taken_is_one_line_and_nothing_else_stops(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with served(lambda: "") as (address, _):
            port = int(address.split(":")[2].split("/")[0])
            await asyncio.wait_for(serve("127.0.0.1", port, lambda: ""), 5)

    asyncio.run(main())
    [line] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "health.metrics: cannot listen on 127.0.0.1" in line and "choose another port" in line


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "192.168.1.5:9464", "9464", "127.0.0.1", "127.0.0.1:99999"])
def test_addresses_beyond_this_machine_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only this machine may ask"):
        parse(f'health: {{metrics: "{address}"}}', tmp_path / "config.yaml")


@pytest.mark.daemon
def test_a_whole_daemon_tells_its_turn(tmp_path: Path) -> None:
    from urllib.request import urlopen

    more = "health: {metrics: 127.0.0.1:0}"
    with serving(answer_everything) as server, House(tmp_path, base(server), more) as house:
        house.start(room(1.0, "hey jarvis", 0.6, "what time is it", 30.0))
        house.wait_for("playback_stopped", within=30)
        house.wait_for("end_turn")
        match = re.search(r"metrics: (http://\S+)", house.log)
        assert match is not None, house.log
        with urlopen(match[1], timeout=5) as answer:
            found = read(answer.read().decode())
    assert found['hearth_turns_total{outcome="answered"}'] == 1
    assert found["hearth_answer_latency_seconds_count"] == found["hearth_brain_latency_seconds_count"] == 1
    assert 0 < found["hearth_brain_latency_seconds_sum"] < found["hearth_answer_latency_seconds_sum"] < 10
    assert found["hearth_microphone_frames_total"] >= found["hearth_analysed_frames_total"] > 100
    assert found["hearth_sent_audio_bytes_total"] > 10_000
    assert found["hearth_dropped_frames_total"] == 0

"""``assistant cost`` and ``assistant turns``, and a cap on a running daemon."""

from __future__ import annotations

import base64
import json
import re
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from assistant.cli.turns import quantile, spans, table, waterfall
from assistant.config import Config, parse
from assistant.core.pricing import NANOS, Nanos, Tokens
from assistant.core.traces import EDGES, SPANS
from assistant.ledger import Entry, open_ledger
from assistant.testing.scripted_server import Peer
from assistant.turnlog import VERSION, TurnLog
from tests.house import House, room, run_command
from tests.test_daemon import TONE, outcomes, serving
from tests.test_daemon import base as address_of


def config(folder: Path, more: str = "") -> str:
    path = folder / "config.yaml"
    path.write_text(f"state_dir: state\n{more}", encoding="utf-8")
    return str(path)


def entry(at: float, cost: float | None, model: str = "gpt-realtime", turn: int = 1) -> Entry:
    tokens = Tokens(text_in=100, cached_text_in=300, audio_in=500, cached_audio_in=100, text_out=20, audio_out=600)
    return Entry(at, 1, turn, "openai", model, tokens, None if cost is None else Nanos(round(cost * NANOS)))


def fill_ledger(folder: Path) -> None:
    # Noon of a day is the same local day whenever this runs and wherever the clocks change.
    noon = datetime.now().replace(hour=12, minute=0, second=0, microsecond=0)
    ledger = open_ledger(folder / "state" / "ledger.sqlite3", {})
    ledger.record(entry(noon.timestamp(), 0.75, turn=1))
    ledger.record(entry(noon.timestamp(), 0.25, turn=1))
    ledger.record(entry((noon - timedelta(1)).timestamp(), 2.0, turn=2))
    ledger.record(entry((noon - timedelta(40)).timestamp(), 100.0, turn=3))
    ledger.record(entry(noon.timestamp(), None, model="kitchen"))
    ledger.close()


# --- cost ------------------------------------------------------------------------------------------------------------


def test_cost_shows_today_the_caps_and_every_day(tmp_path: Path) -> None:
    fill_ledger(tmp_path)
    file = config(tmp_path, "money: {daily_cap: 4, monthly_cap: 3.50}")
    result = run_command("cost", "--config", file, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["today", "1.00", "USD", "of", "at", "most", "4.00", "(25%)"]
    assert lines[1].startswith("this month")
    assert max(len(line) for line in lines) <= 80
    [today] = [line for line in lines if f"{datetime.now():%Y-%m-%d}" in line]
    assert today.split()[2:] == ["3", "1.00+?", "40%", "3.0", "min", "1.5", "min"]
    assert not any("100.00" in line for line in lines), "40 days ago is not in the table"
    [unknown] = [line for line in lines if line.startswith("?")]
    assert unknown.endswith("kitchen")


def test_a_price_that_was_added_counts_for_what_was_recorded_before(tmp_path: Path) -> None:
    fill_ledger(tmp_path)
    result = run_command("cost", "--config", config(tmp_path, "prices: {kitchen: gpt-realtime}"), folder=tmp_path)
    assert "?" not in result.stdout


def test_cost_as_json(tmp_path: Path) -> None:
    fill_ledger(tmp_path)
    file = config(tmp_path, "money: {daily_cap: 1, currency: EUR}")
    result = run_command("cost", "--json", "--days", "60", "--config", file, folder=tmp_path)
    data = json.loads(result.stdout)
    assert (data["currency"], data["daily_cap"], data["exhausted"]) == ("EUR", 1.0, "daily")
    assert data["resets_at"] > time.time()
    assert data["today"]["cost"] == 1.0
    assert sum(day["cost"] for day in data["days"]) == 103.0
    assert data["turns"] == {"count": 3, "cost": 103.0}
    by_model = {each["model"]: each for each in data["models"]}
    assert by_model["kitchen"]["unpriced_responses"] == 1
    assert by_model["gpt-realtime"]["tokens"]["audio_out"] == 2400


def test_cost_before_anything_was_spent_makes_no_file(tmp_path: Path) -> None:
    result = run_command("cost", "--config", config(tmp_path), folder=tmp_path)
    assert result.returncode == 0
    assert "nothing has been spent" in result.stdout
    assert not (tmp_path / "state").exists()


def test_a_number_of_days_that_is_none(tmp_path: Path) -> None:
    result = run_command("cost", "--days", "0", "--config", config(tmp_path), folder=tmp_path)
    assert result.returncode == 2
    assert "expected a whole number from 1 to 10000, got '0'" in result.stderr


def test_a_cap_without_a_price_is_a_warning(tmp_path: Path) -> None:
    file = config(
        tmp_path, "provider: custom\ncustom: {url: 'ws://127.0.0.1:9/v1', model: mine}\nmoney: {daily_cap: 1}"
    )
    result = run_command("check-config", "--config", file, folder=tmp_path)
    assert "warning" in result.stdout
    assert "money.daily_cap: no price is known for mine" in result.stdout


# --- turns -----------------------------------------------------------------------------------------------------------


def record(number: int, began: float, **edges: float) -> dict[str, Any]:
    return {
        "v": VERSION,
        "time": began,
        "run": 1,
        "turn": number,
        "trigger": "wake",
        "word": "hey_jarvis",
        "outcome": "answered",
        "detail": "",
        "warm": False,
        "edges": {edge: edges.get(edge) for edge in EDGES},
        "tools": [{"name": "a_tool_with_a_long_name", "at": 2300.0, "ms": 150.0, "status": "ok"}],
        "reconnects": [{"at": 600.0, "cause": "connect"}],
        "sent_ms": 1500,
        "responses": 2,
        "tokens": {
            "text_in": 1,
            "cached_text_in": 20,
            "audio_in": 300,
            "cached_audio_in": 0,
            "text_out": 5,
            "audio_out": 6,
        },
        "provider": "openai",
        "model": "gpt-realtime",
    }


def full(number: int, began: float, shift: float = 0.0) -> dict[str, Any]:
    return record(
        number,
        began,
        wake=0,
        session_open=-300,
        session_ready=900,
        last_voiced=1500,
        commit=2000,
        first_audio=2700 + shift,
        first_sample=2720 + shift,
        playback_end=9000 + shift,
        end=9001 + shift,
    )


def test_a_table_fits_on_a_narrow_screen() -> None:
    lines = list(
        table([full(1, 1e9), record(12345, 1e9), {**full(3, 1e9), "trigger": "follow_up", "outcome": "interrupted"}])
    )
    assert max(len(line) for line in lines) <= 82
    assert lines[1].split()[5:9] == ["500", "700", "20", "1220"]
    assert lines[2].split()[5:9] == ["-", "-", "-", "-"]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_waterfall_is_in_order_and_to_scale(width: int) -> None:
    lines = list(waterfall(full(1, 1e9), width, colour=False))
    assert not any("\x1b" in line for line in lines)
    assert max(len(line) for line in lines) <= max(80, width)
    bars = [line.index("┤") for line in lines if "┤" in line]
    assert bars == sorted(bars)
    times = [int(line[28:37]) for line in lines if "┤" in line]
    assert times == sorted(times)
    assert times[0] == -300
    assert any("session lost: connect" in line for line in lines)
    assert any("tool a_tool_with_a_long_name" in line and "2300" in line for line in lines)
    assert "321 in (20 cached), 11 out, 2 responses" in lines[-1]
    if width >= 80:  # the longest wait has the longest bar
        longest = max((line for line in lines if "┤" in line), key=lambda line: line.count("─"))
        assert longest.startswith("speaker has finished")


def test_colours_only_where_they_can_be_seen() -> None:
    assert any("\x1b" in line for line in waterfall(full(1, 1e9), 80, colour=True))


def test_quantiles_are_of_recent_turns_only() -> None:
    records = [full(0, 100.0, shift=5000)] + [full(n, 1000.0, shift=n) for n in range(100)]
    found = spans(records, since=500.0)
    assert found["commit -> first audio"] == {"count": 100, "p50": 749, "p95": 794}
    assert found["wake -> session ready"]["p50"] == 900
    assert spans([], 0.0)["last voiced -> commit"] == {"count": 0, "p50": None, "p95": None}


def test_a_quantile_is_a_value_that_happened() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.01, 0.25, 0.5, 0.95, 1.0)] == [1, 1, 2, 4, 4]
    assert quantile([], 0.5) is None


def test_turns_by_the_command(tmp_path: Path) -> None:
    file = config(tmp_path)
    nothing = run_command("turns", "--config", file, folder=tmp_path)
    assert nothing.returncode == 0
    assert "no turns yet" in nothing.stdout
    log = TurnLog(tmp_path / "state" / "turns.jsonl")
    now = time.time()
    for number in (1, 2, 1):  # the daemon was started anew
        log.append(full(number, now))
        now += 60
    listed = run_command("turns", "--last", "2", "--config", file, folder=tmp_path)
    assert [line.split()[0] for line in listed.stdout.splitlines()[:3]] == ["turn", "2", "1"]
    assert "last voiced -> first sample         3    1220    1220" in listed.stdout
    drawn = run_command("turns", "2", "--config", file, folder=tmp_path)
    assert drawn.returncode == 0
    assert "turn 2," in drawn.stdout
    assert "\x1b" not in drawn.stdout
    last = json.loads(run_command("turns", "-1", "--json", "--config", file, folder=tmp_path).stdout)
    assert (last["turn"], last["time"]) == (1, pytest.approx(now - 60))
    everything = json.loads(run_command("turns", "--json", "--config", file, folder=tmp_path).stdout)
    assert len(everything["turns"]) == 3
    assert everything["spans_ms"]["last voiced -> commit"]["p95"] == 500
    missing = run_command("turns", "7", "--config", file, folder=tmp_path)
    assert missing.returncode == 1
    assert "there is no turn 7" in missing.stderr


# --- what the pages say ----------------------------------------------------------------------------------------------

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(
    "example", re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "money.md").read_text("utf-8"), re.M | re.S)
)
def test_the_examples_of_money_load(example: str) -> None:
    assert parse(example, Path("/etc/hearth/config.yaml")) != Config()


def test_the_page_about_turns_names_every_moment_and_span() -> None:
    page = (DOCS / "turns.md").read_text("utf-8")
    listed = page[page.index("The moments of a turn") :]
    assert tuple(re.findall(r"`([a-z_]+)`", listed)[: len(EDGES)]) == EDGES
    assert re.findall(r"^\| ([a-z -]+ → [a-z -]+) \|", page, re.M) == [name.replace("->", "→") for name in SPANS]
    head, legend = list(table([]))
    assert head in page
    assert legend in page


# --- a running daemon ------------------------------------------------------------------------------------------------


async def _dear_answers(peer: Peer) -> None:
    """Every answer is a second of a tone, and costs 0.064 USD."""
    await peer.open_session()
    number = 0
    while True:
        event = await peer.receive()
        if event["type"] == "response.create":
            number += 1
            ids = {"response_id": f"r{number}", "item_id": f"i{number}", "output_index": 0, "content_index": 0}
            await peer.send("response.created", response={"id": f"r{number}", "status": "in_progress"})
            await peer.send("response.output_audio_transcript.delta", **ids, delta="A tone.")
            await peer.send("response.output_audio.delta", **ids, delta=base64.b64encode(TONE).decode())
            await peer.send("response.output_audio.done", **ids)
            usage = {"output_tokens": 1000, "output_token_details": {"audio_tokens": 1000}}
            done = {"id": f"r{number}", "status": "completed", "output": [], "usage": usage}
            await peer.send("response.done", response=done)


@pytest.mark.daemon
def test_a_cap_ends_the_session_with_the_turn_and_refuses_the_next(tmp_path: Path) -> None:
    more = "prices: {scripted: gpt-realtime}\nmoney: {daily_cap: 0.05}"
    sound = room(1.0, "hey jarvis turn on the kitchen light", 5.0, "hey jarvis turn on the kitchen light", 5.0)
    with serving(_dear_answers) as server, House(tmp_path, address_of(server), more) as house:
        house.start(sound)
        assert house.end() == 0, house.log
        assert outcomes(house) == ["answered", "failed"]
        assert len(server.requests) == 1, "no second connection"
        [lost, *_] = house.entries("session_lost")
        assert lost["failure"] == "quota"
        [first_end, _] = house.entries("end_turn")
        assert lost["at"] >= first_end["at"], "the answer was heard to its end"
        assert "daily cap of 0.05 USD reached (0.0640 spent)" in house.log
        cost = json.loads(run_command("cost", "--json", folder=tmp_path).stdout)
        assert (cost["exhausted"], cost["today"]["cost"]) == ("daily", 0.064)
        turns = json.loads(run_command("turns", "--json", folder=tmp_path).stdout)["turns"]
        assert [turn["outcome"] for turn in turns] == ["answered", "failed"]
        assert turns[0]["tokens"]["audio_out"] == 1000
        edges = turns[0]["edges"]
        [ready] = house.entries("session_ready")
        assert ready["connected_at"] <= ready["created_at"] <= ready["at"]
        order = ("wake", "last_voiced", "commit", "response_created", "first_audio", "first_sample", "end")
        times = [edges[edge] for edge in order]
        assert None not in times
        assert times == sorted(times)
        assert 300 < edges["commit"] - edges["last_voiced"] < 1000, "about endpointing.end_silence_ms"

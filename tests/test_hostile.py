"""The whole daemon with a plugin that does everything it must not."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from assistant.control import client, socket_path
from tests import hostile
from tests.house import House, room
from tests.test_daemon import answer_everything, base, outcomes, serving

pytestmark = pytest.mark.daemon


def wait_for_door(path: Path, within: float = 20.0) -> None:
    """Until the control socket answers: it opens a moment after the daemon is ready."""
    deadline = time.monotonic() + within
    while True:
        try:
            client.request(path, "status")
            return
        except client.NotRunning:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_daemon_goes_on_answering(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "hostile.py").write_text(Path(hostile.__file__).read_text("utf-8"))
    (plugins / "kind.py").write_text(
        "from assistant.plugin import tool\n\n\n@tool\nasync def kind() -> str:\n    '''Answer.'''\n    return 'ok'\n"
    )
    more = "tools: {folders: [plugins], time_limit_s: 3}"
    path = socket_path(tmp_path / "state")
    outcome: dict[str, str] = {}

    def call(tool: str) -> dict[str, Any]:
        answer = client.request(path, "call", tool=tool, timeout=60)
        outcome[tool] = answer["status"]
        return answer

    with serving(answer_everything) as server, House(tmp_path, base(server), more) as house:
        house.start(room(8.0, "hey jarvis", 0.5, "what time is it", 3.0))
        house.wait_for("ready", within=60)
        wait_for_door(path)
        names = [habit.__name__ for habit in hostile.HABITS if habit is not hostile.good]
        threads = []
        for name in [*names[:4], "blocks_the_loop"]:
            threads.append(threading.Thread(target=call, args=(name,)))
            threads[-1].start()
        assert json.loads(call("kind")["output"]) == "ok", "another plugin's tool, meanwhile"
        for thread in threads:
            thread.join(60)
        assert house.end(within=90) == 0, house.log
        assert outcomes(house) == ["answered"]
    assert outcome == {
        "kind": "ok",
        "never_returns": "timeout",
        "swallows_cancellation": "timeout",
        "raises_system_exit": "crashed",
        "returns_100_mb": "ok",
        "blocks_the_loop": "ok",
    }

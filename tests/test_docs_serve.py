"""docs/serve.md: its examples work, and its tables are those of the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from assistant.config import Config, parse
from assistant.config.brain_sections import LocalVoice
from assistant.local import faults, limits
from assistant.local.server import MAX_SESSIONS, PATHS
from tests.local.client import run, server

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "serve.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def first_column(heading: str) -> list[str]:
    """What stands in code in the first cells of a section's table."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_example_loads(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_MODEL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert parse(example, Path("/etc/hearth/config.yaml")) != Config()


def test_the_program_prints_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with server(key="a-long-secret") as port:
            names: dict[str, Any] = {"__name__": "example"}
            exec(PROGRAM.replace("192.168.1.7:8765", f"127.0.0.1:{port}"), names)
            await names["ask"]("hello")

    run(main)
    assert capsys.readouterr().out.strip() == "Hello."


def test_the_tables_are_those_of_the_program() -> None:
    assert {address.partition("?")[0] for address in first_column("What is spoken where")} == set(PATHS)
    written = {faults.parse_fault(spec).kind for spec in first_column("Faults on demand")}
    assert written == set(get_args(faults.Kind))
    engines = set(get_args(LocalVoice.model_fields["engine"].annotation))
    assert {"espeak", *first_column("Voices")} == engines


def test_the_limits_are_those_of_the_program() -> None:
    text = " ".join(PAGE.split())
    assert f"{MAX_SESSIONS} sessions" in text
    assert f"{limits.REQUESTS_PER_MINUTE} responses and a million tokens a minute" in text
    assert limits.TOKENS_PER_MINUTE == 1_000_000

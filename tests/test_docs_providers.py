"""docs/providers.md: every example loads and names its provider; every setting and variable it names exists."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import get_args

import pytest

from assistant.config import Config, Provider, parse, providers_in_use
from assistant.config.brain_sections import Azure

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "providers.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith(("AZURE_", "OPENAI_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.split("\n")[0])
def test_example_loads(example: str) -> None:
    config = parse(example, Path("/etc/hearth/config.yaml"))
    assert config != Config()
    for provider in providers_in_use(config):
        brain = config.brain(provider)
        assert provider == "local" or (brain.url.startswith("wss://") and brain.model)


def test_every_provider_has_a_row_and_an_example() -> None:
    providers = set(get_args(Provider))
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE.split("## OpenAI")[0], re.MULTILINE)) == providers
    assert {re.match(r"provider: (\w+)", text)[1] for text in EXAMPLES} == providers  # type: ignore[index]


def test_every_credential_has_a_row() -> None:
    [kinds] = [get_args(kind) for kind in get_args(Azure.model_fields["credential"].annotation) if get_args(kind)]
    for kind in kinds:
        assert f"| `{kind}` |" in PAGE


def test_every_setting_that_is_named_exists() -> None:
    config = Config()
    sections = (config, config.session, config.azure, config.voice_live, config.custom)
    known = {name for section in sections for name in type(section).model_fields}
    known |= {"server_vad", "azure_preview", "managed_identity", "workload_identity"}
    not_offered = {"interrupt_response", "idle_timeout_ms"}
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE))
    assert named - known - not_offered == set()
    for section, name in re.findall(r"`(azure|openai|voice_live)\.(\w+)`", PAGE):
        assert name in type(getattr(config, section)).model_fields

"""The settings in force, as YAML that can be shown to anybody."""

from __future__ import annotations

from typing import Any

import yaml

from assistant.config.credentials import masked
from assistant.config.model import Config


class _Dumper(yaml.SafeDumper):
    """Writes long text as a block, and indents lists under their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def render(config: Config) -> str:
    """Every setting with the value in force, defaults included, as YAML.

    Secrets are never part of the settings; what a plugin's section holds under a secret-like key is masked.
    Without such a key the text loads again as the same configuration.
    """
    data: dict[str, Any] = config.model_dump(mode="json")
    data["plugins"] = masked(data["plugins"])
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)

"""The configuration that the rest of Hearth is given: the settings, and where they came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import PrivateAttr, SecretStr

from assistant.config.brains import Brain, resolve, section_of
from assistant.config.credentials import UnusableSecret, find_secret
from assistant.config.document import Document, dotted
from assistant.config.sections import Settings
from assistant.errors import ConfigError, ConfigProblem

DEFAULTS_LABEL: Final = "built-in defaults"

MIN_TOKEN: Final = 12
"""Characters of the console's token: nobody guesses that many over a network."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration came from. ``file`` is None for the built-in defaults.

    No part of it is compared: two configurations are equal if their settings are.
    """

    file: Path | None = field(default=None, compare=False)
    document: Document = field(default_factory=Document, compare=False)
    warnings: tuple[ConfigProblem, ...] = field(default=(), compare=False)


class Config(Settings):
    """All settings, checked. ``Config()`` has the defaults; :func:`assistant.config.load` reads a file."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def file(self) -> Path | None:
        """The file that was read, or None."""
        return self._origin.file

    @property
    def label(self) -> str:
        """The file's name as it is written in problems."""
        return str(self._origin.file or DEFAULTS_LABEL)

    @property
    def warnings(self) -> tuple[ConfigProblem, ...]:
        """What is allowed but probably not meant; worth one log line each."""
        return self._origin.warnings

    def plugin_section(self, name: str) -> tuple[dict[str, Any], Mapping[str, int]]:
        """The raw settings of a plugin, and the line of each key: ``{"rooms.kitchen": 12, "": 10}``.

        Keys are dotted, entries of lists have ``[0]``; ``""`` is the section itself. Both are empty if there are
        no settings for this plugin. A plugin reports what it dislikes as ``ConfigProblem(f"plugins.{name}.{key}",
        message, line)``.
        """
        before = ("plugins", name)
        lines = {dotted(path[2:]): line for path, line in self._origin.document.lines.items() if path[:2] == before}
        return deepcopy(self.plugins.get(name, {})), lines

    def brain(self, provider: str) -> Brain:
        """Where a provider is and what it is asked for, with what the environment adds to the file."""
        return resolve(self, provider)[0]

    def secret_for(self, provider: str) -> SecretStr | None:
        """The API key of a provider (``openai``, ``azure``, ``custom`` ...), or None if there is none.

        It is looked up each time, so that a key can be renewed while the daemon runs: ``api_key_file``, then the
        variable ``api_key_env``, then the systemd credential ``PROVIDER_api_key``. ``local`` needs none, and
        ``azure_preview`` has that of ``azure``.
        Raises ConfigError if the place that was named cannot be used.
        """
        if provider == "local":
            return None
        name = section_of(provider)
        section = getattr(self, name)
        try:
            return find_secret(f"{name}_api_key", section.api_key_env, section.api_key_file)
        except UnusableSecret as error:
            path = (name, "api_key_file" if section.api_key_file else "api_key_env")
            raise ConfigError(self.label, [self._origin.document.problem(path, str(error))]) from None

    def secret_of_chat(self) -> SecretStr | None:
        """The API key of the embedded server's language model: ``local.chat.api_key_file``, then the variable, then
        the systemd credential ``local_chat_api_key``; None if there is none.

        Raises ConfigError if the place that was named cannot be used.
        """
        chat = self.local.chat
        try:
            return find_secret("local_chat_api_key", chat.api_key_env, chat.api_key_file)
        except UnusableSecret as error:
            path = ("local", "chat", "api_key_file" if chat.api_key_file else "api_key_env")
            raise ConfigError(self.label, [self._origin.document.problem(path, str(error))]) from None

    def pin(self) -> SecretStr | None:
        """The PIN for tools of tier ``pin``: ``tools.pin_file``, else the systemd credential ``pin``, else None.

        It is looked up each time. Raises ConfigError if the file cannot be used.
        """
        try:
            return find_secret("pin", None, self.tools.pin_file)
        except UnusableSecret as error:
            raise ConfigError(self.label, [self._origin.document.problem(("tools", "pin_file"), str(error))]) from None

    def console_token(self) -> SecretStr | None:
        """What people sign in with at the console: ``console.token_file``, then the variable, then the systemd
        credential ``console_token``; None if there is none.

        Raises ConfigError if the place that was named cannot be used, or holds what can be guessed.
        """
        console = self.console
        try:
            token = find_secret("console_token", console.token_env, console.token_file)
            if token is not None and len(token.get_secret_value()) < MIN_TOKEN:
                raise UnusableSecret(f"a token has at least {MIN_TOKEN} characters: try 'openssl rand -base64 18'")
        except UnusableSecret as error:
            path = ("console", "token_file" if console.token_file else "token_env")
            raise ConfigError(self.label, [self._origin.document.problem(path, str(error))]) from None
        return token

    @property
    def state_folder(self) -> Path:
        """Where state is kept: ``state_dir``, else $STATE_DIRECTORY (systemd), else the XDG place for state.

        The folder may not exist yet.
        """
        if self.state_dir is not None:
            return self.state_dir
        if given := os.environ.get("STATE_DIRECTORY"):
            return Path(given.split(":")[0])
        if base := os.environ.get("XDG_STATE_HOME"):
            return Path(base) / "hearth"
        return Path.home() / ".local" / "state" / "hearth"

"""Every error that Hearth raises on purpose.

::

    HearthError
    ├── ConfigError            refuses to start (exit 78); all problems at once
    ├── DeviceError            microphone or speaker: reopened with backoff
    ├── ModelLoadError         refuses to start (exit 1)
    ├── ConnectError           retried with backoff; one short sentence to the user
    │   ├── RateLimited        carries ``retry_after``
    │   └── SessionExpired     a new session is opened at once
    ├── AuthenticationError    not retried until the next wake word
    ├── QuotaExhausted         not retried until the next wake word
    ├── ProtocolError          the session is replaced; the event type is logged, never its content
    ├── PluginError
    │   ├── PluginLoadError    plugin off, daemon on
    │   └── PluginConfigError  plugin off, daemon on
    └── ToolError              the message goes to the model as the tool's result
        ├── ToolTimeout
        └── ToolCrashed

A message says where, what, and what to do, in one line, and never holds a secret or what somebody said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69  # sysexits EX_UNAVAILABLE: a device or service that is needed is not there
EXIT_RESTART = 75  # sysexits EX_TEMPFAIL: systemd restarts us
EXIT_CONFIG = 78  # sysexits EX_CONFIG: systemd must not restart us


class HearthError(Exception):
    """Base of all errors below. ``exit_status`` is used when it ends the process."""

    exit_status = EXIT_FAILURE


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing wrong in a config file."""

    key: str
    message: str
    line: int | None = None

    def render(self, file: str) -> str:
        where = f"{file}:{self.line}" if self.line else file
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


class ConfigError(HearthError):
    """The configuration cannot be used; holds every problem, not only the first."""

    exit_status = EXIT_CONFIG

    def __init__(self, file: str, problems: Sequence[ConfigProblem]) -> None:
        self.file = file
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render(file) for problem in self.problems))


class DeviceError(HearthError):
    exit_status = EXIT_UNAVAILABLE


class ModelLoadError(HearthError):
    pass


class ConnectError(HearthError):
    exit_status = EXIT_UNAVAILABLE


class RateLimited(ConnectError):
    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the server asked us to wait, if it said so."""


class SessionExpired(ConnectError):
    pass


class AuthenticationError(HearthError):
    exit_status = EXIT_UNAVAILABLE


class QuotaExhausted(HearthError):
    exit_status = EXIT_UNAVAILABLE


class ProtocolError(HearthError):
    pass


class PluginError(HearthError):
    pass


class PluginLoadError(PluginError):
    pass


class PluginConfigError(PluginError):
    pass


class ToolError(HearthError):
    """Raise it in a tool: the message is told to the model, which tells the user."""


class ToolTimeout(ToolError):
    pass


class ToolCrashed(ToolError):
    pass

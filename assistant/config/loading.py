"""Finding, reading and checking the config file. Every problem is found before one of them is reported."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from assistant.config.checks import find_problems, find_warnings
from assistant.config.document import KeyPath, read_document
from assistant.config.model import Config, Origin
from assistant.config.problems import explain, literal_secrets
from assistant.errors import ConfigError, ConfigProblem

MAX_BYTES: Final = 1_000_000


def load(path: Path | None = None) -> Config:
    """Read the configuration, from ``path`` or from where :func:`find_file` finds one, else the defaults.

    Raises ConfigError with all problems at once, sorted by line.
    """
    file = find_file(path)
    if file is None:
        return Config()
    return parse(_read(file), file)


def find_file(path: Path | None = None) -> Path | None:
    """The file to read: ``path``, $HEARTH_CONFIG, ./config.yaml, the user's, the system's. None: the defaults.

    The first two were asked for by name and are returned even if they do not exist; reading them then says so.
    """
    if path is not None:
        return path
    if named := os.environ.get("HEARTH_CONFIG"):
        return Path(named)
    return next((place for place in _usual_places() if place.is_file()), None)


def _usual_places() -> Iterator[Path]:
    yield Path("config.yaml")
    if base := os.environ.get("XDG_CONFIG_HOME"):
        yield Path(base) / "hearth" / "config.yaml"
    else:
        with contextlib.suppress(RuntimeError):  # a user without a home folder has no file there
            yield Path.home() / ".config" / "hearth" / "config.yaml"
    yield Path("/etc/hearth/config.yaml")


def parse(text: str, file: Path) -> Config:
    """Check the text of a config file. ``file`` is named in problems, and paths in the text are relative to it."""
    document = read_document(text)
    found: dict[KeyPath, ConfigProblem] = {}
    folder = file.absolute().parent
    try:
        config = _validated(document.data, folder)
    except ValidationError as error:
        found.update(explain(error, Config, document))
        config = _without_broken(document.data, found, folder)
    found.update(literal_secrets(document))
    for path, message in find_problems(config):
        if not any(path[: len(broken)] == broken for broken in found):  # else it only follows from that
            found[path] = document.problem(path, message)
    if problems := (*document.problems, *found.values()):
        raise ConfigError(str(file), _by_line(problems))
    warnings = (document.problem(path, message) for path, message in find_warnings(config))
    config._origin = Origin(file, document, tuple(_by_line(warnings)))
    return config


def _validated(data: dict[str, Any], folder: Path) -> Config:
    return Config.model_validate(data, context={"folder": folder})


def _without_broken(data: dict[str, Any], broken: Iterable[KeyPath], folder: Path) -> Config:
    """The configuration with defaults where the file is wrong, so that rules over several settings are checked too."""
    rest = deepcopy(data)
    for path in broken:
        _drop(rest, path)
    try:
        return _validated(rest, folder)
    except ValidationError:
        return Config()


def _drop(data: Any, path: KeyPath) -> None:
    """Take out the key at ``path``. An entry of a list takes the list with it: the others would change their places."""
    steps: list[tuple[dict[str, Any], str]] = []
    for part in path:
        if isinstance(data, dict) and isinstance(part, str):
            steps.append((data, part))
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data) and len(path) > len(steps) + 1:
            data = data[part]
        else:
            break
    if steps:
        steps[-1][0].pop(steps[-1][1], None)


def _by_line(problems: Iterable[ConfigProblem]) -> list[ConfigProblem]:
    return sorted(problems, key=lambda problem: problem.line or 0)


def _read(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(file, "there is no such file") from None
    except OSError as error:
        raise _unreadable(file, f"cannot be read: {error.strerror}") from None
    except ValueError:
        raise _unreadable(file, "not a usable path") from None
    if len(content) > MAX_BYTES:
        raise _unreadable(file, f"larger than {MAX_BYTES // 1000} kB: this is no config file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(file, "not UTF-8 text: save the file as UTF-8", line) from None


def _unreadable(file: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError(str(file), [ConfigProblem("", message, line)])

"""What looks like a secret, and where secrets come from: a file, an environment variable, a systemd credential."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

MASK: Final = "********"

_SECRET_LIKE: Final = re.compile(r"key|token|secret|pass(word|phrase)|credential", re.IGNORECASE)
_NAMES_A_PLACE: Final = re.compile(r"_(env|file)$", re.IGNORECASE)
_NOT_SECRET: Final = frozenset({"max_output_tokens"})
_LITERAL: Final = re.compile(r"(^|[_-])(api[_-]?key|(\w+[_-])?token|secret|password|passphrase)$", re.IGNORECASE)
_LOOKS_LIKE_ONE: Final = re.compile(
    r"^(sk|pk|ghp|xox[a-z])[-_]\S{8,}$"  # the prefixes that services give their keys
    r"|^eyJ[\w-]{10,}\."  # a JSON web token
    r"|^[\w+=-][\w+/=-]{31,}$",  # a long run without spaces; paths begin with / or hold dots
    re.ASCII,
)


class UnusableSecret(Exception):
    """The place where a secret should be cannot be used; the message never holds its content."""


def is_secret_like(key: str) -> bool:
    """True if a value under this key must not be shown."""
    return key not in _NOT_SECRET and _SECRET_LIKE.search(key) is not None


def looks_like_secret(text: str) -> bool:
    """True if a text has the shape of an API key, so that a slip of the hand is not repeated on a screen."""
    return _LOOKS_LIKE_ONE.search(text) is not None


def is_literal_secret(key: str, value: object) -> bool:
    """True if the file itself holds a secret: ``token: abc``, but not ``token_env: HOME_TOKEN``."""
    return isinstance(value, str) and bool(value.strip()) and _LITERAL.search(key) is not None


def instead_of_literal(key: str) -> str:
    """The problem to report for a literal secret."""
    return (
        "a secret does not belong in this file: put it in an environment variable or a file "
        f"and name that with {key}_env or {key}_file"
    )


def masked(value: Any, key: str = "") -> Any:
    """A copy of plain data in which every value under a secret-like key is hidden."""
    if isinstance(value, dict):
        return {name: masked(child, str(name)) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [masked(child, key) for child in value]
    if value is not None and is_secret_like(key) and not _NAMES_A_PLACE.search(key):
        return MASK
    return MASK if isinstance(value, str) and looks_like_secret(value) else value


def find_secret(name: str, env: str | None, file: Path | None) -> SecretStr | None:
    """Look in ``file``, then in the variable ``env``, then in ``$CREDENTIALS_DIRECTORY/name`` (systemd).

    A file comes first because somebody chose it, while the variable has a default name. None if there is none.
    Raises UnusableSecret if a place that was named cannot be read or does not hold one printable line.
    """
    if file is not None:
        return _usable(_read(file), f"the file {file}")
    if env is not None and (value := os.environ.get(env)):
        return _usable(value, f"the variable {env}")
    if (folder := os.environ.get("CREDENTIALS_DIRECTORY")) and (path := Path(folder) / name).exists():
        return _usable(_read(path), f"the credential {name}")
    return None


def file_warning(file: Path) -> str | None:
    """One sentence if a secret's file is missing, unreadable or open to others, else None."""
    try:
        with file.open("rb") as handle:
            mode = os.fstat(handle.fileno()).st_mode
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    if mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        return f"{file} is open to other users: run 'chmod 600 {file}'"
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError as error:
        raise UnusableSecret(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UnusableSecret(f"{file} is not a text file") from None


def _usable(text: str, where: str) -> SecretStr:
    text = text.strip()
    # It travels in an HTTP header: anything else there is a mistake at best.
    if not text or not text.isascii() or not text.isprintable():
        raise UnusableSecret(f"{where} must hold the secret alone, on one line, in plain ASCII")
    return SecretStr(text)

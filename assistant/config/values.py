"""The kinds of values that settings have, beyond plain numbers and text.

A path in the file is relative to the file. So validation takes the file's folder as ``context={"folder": ...}``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from assistant.config.credentials import is_secret_like

PROBLEM: Final = "hearth"
"""The type of errors whose message is already a sentence for the user."""

WAV_PREFIX: Final = "wav:"
STDIN: Final = "wav:-"
NO_DEVICE: Final = "none"


def problem(message: str) -> PydanticCustomError:
    # Through the context, so that braces in the message are no placeholders.
    return PydanticCustomError(PROBLEM, "{message}", {"message": message})


def _located(text: str, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    if "\0" in text or not text.strip():
        raise problem("expected a path")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise problem("'~' does not lead to a home folder here: write the path out") from None
    return path if folder is None else Path(folder) / path


def _path(value: Any, info: ValidationInfo) -> Any:
    return _located(value, info) if isinstance(value, str) else value


def _device(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or value == STDIN:
        return value
    if not value.strip():
        raise problem("expected the name of a device; null means the system's default")
    if value.startswith("usb:") and not re.fullmatch(r"usb:\d+-\d+(\.\d+)*", value):
        raise problem("expected usb: and a port such as usb:1-1.4; `assistant devices` lists them")
    if value.startswith(WAV_PREFIX):
        return f"{WAV_PREFIX}{_located(value.removeprefix(WAV_PREFIX), info)}"
    return value


def _model(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str):
        return value
    if not value.strip():
        raise problem("expected the name of a wake word or the path of a model (.onnx, .tflite or .json)")
    return str(_located(value, info)) if value.endswith((".onnx", ".tflite", ".json")) or "/" in value else value


def _switch(value: Any) -> Any:
    if isinstance(value, str):
        return {"yes": True, "on": True, "no": False, "off": False}.get(value.lower(), value)
    return value


def _tokens(value: Any) -> Any:
    if value == "inf" or (type(value) is int and 1 <= value <= 4096):
        return value
    raise problem("must be a whole number from 1 to 4096, or inf")


def _list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _loopback(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    host, _, port = value.rpartition(":")
    if host not in ("127.0.0.1", "[::1]", "localhost") or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65_535:
        raise problem("expected 127.0.0.1:PORT, [::1]:PORT or localhost:PORT: only this machine may ask")
    return value


def _env_name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", value):
        # A pasted key lands here: it is never repeated.
        raise problem("expected the NAME of an environment variable in capitals, not the secret itself")
    return value


def _url(schemes: tuple[str, ...]) -> BeforeValidator:
    def check(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            parts = urlsplit(value)
            host, _port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in schemes or re.search(r"[\s\0]", value):
            raise problem(f"expected an address such as {schemes[0]}://host/path")
        if parts.username is not None or parts.password is not None:
            raise problem("a user name or password does not belong in an address: use api_key_env or api_key_file")
        if any(is_secret_like(name) for name, _ in parse_qsl(parts.query)):
            raise problem("a key does not belong in an address: use api_key_env or api_key_file")
        return value.rstrip("/")

    return BeforeValidator(check)


def _wyoming_uri(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value)
        right = bool(parts.hostname and parts.port) if parts.scheme == "tcp" else parts.scheme == "unix" and parts.path
    except ValueError:
        right = False
    if not right:
        raise problem("expected tcp://HOST:PORT or unix:///PATH")
    return value


FilePath = Annotated[Path, BeforeValidator(_path)]
"""A path, relative to the config file; ``~`` is the home folder."""

DeviceName = Annotated[str, BeforeValidator(_device)]
"""A device's name, or ``wav:PATH``; the PATH is relative to the config file."""

ModelName = Annotated[str, BeforeValidator(_model)]
"""A bundled wake word's name, or the path of a model (.onnx, .tflite, .json), relative to the config file."""

Switch = Annotated[bool, BeforeValidator(_switch)]
"""true or false; yes, no, on and off are understood too."""

MaxTokens = Annotated[int | Literal["inf"], BeforeValidator(_tokens)]
EnvName = Annotated[str, BeforeValidator(_env_name)]
SocketUrl = Annotated[str, _url(("wss", "ws"))]
WyomingUri = Annotated[str, BeforeValidator(_wyoming_uri)]
"""``tcp://HOST:PORT`` or ``unix:///PATH``."""

LoopbackAddress = Annotated[str, BeforeValidator(_loopback)]
"""``HOST:PORT`` on this machine; port 0 is any free one."""

EndpointUrl = Annotated[str, _url(("https", "wss", "http", "ws"))]
AsTuple = BeforeValidator(_list)
"""Lists become tuples, so that settings are frozen all the way down."""

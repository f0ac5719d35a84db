"""Who may import whom, and what: the architecture as three tables, checked by reading the imports of every file."""

from __future__ import annotations

import ast
import graphlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Table 1: a part (a module or package of `assistant`) and the parts it may import. Read it from the top: nothing above
# knows of anything below.
DIRECTIONS = {
    "types": "",
    "errors": "",
    "core": "types errors",
    "config": "core types errors",
    "logs": "errors",
    "journal": "core types errors",
    "realtime": "core types errors",
    "audio": "core types errors",
    "adapters": "audio core types errors",
    "plugin": "types errors",
    "tools": "plugin types errors",
    "local": "memory realtime core types errors",
    # What is kept about turns and money.
    "scribe": "",
    "ledger": "scribe core types errors",
    "turnlog": "scribe core types errors",
    "records": "ledger turnlog scribe journal core types errors",
    # The daemon: the only parts that know several of the above at once.
    "alerts": "plugin core types errors",
    "happenings": "journal",
    "health": "",
    "memory": "",
    "mouth": "health audio core errors",
    "sentinel": "errors",
    "supervision": "ears engine health journal local memory sentinel plugin tools core errors",
    "ears": "health audio core types errors",
    "phrasebook": "core types errors",
    "engine": "alerts journal phrasebook tools realtime audio core types errors",
    "brains": "local realtime core config types errors",
    "echo_choice": "adapters audio config core errors",
    "wiring": "echo_choice records scribe ledger journal phrasebook local tools plugin adapters audio realtime "
    "core config types errors",
    "surroundings": "wiring scribe tools plugin audio config types",
    "controls": "health engine tools plugin core types errors",
    "control": "controls happenings errors",
    "metrics": "journal core",
    "sounds": "plugin adapters audio core types errors",
    "room": "surroundings records wiring engine alerts journal phrasebook tools audio core config errors",
    "assembly": "room sounds surroundings controls health records wiring brains engine alerts journal tools realtime "
    "audio core config types errors",
    "console": "assembly room journal wiring control controls happenings turnlog adapters audio config core types "
    "errors",
    "daemon": "console metrics supervision mouth surroundings control controls happenings health ears assembly "
    "wiring engine journal adapters audio core config types errors",
    # Programs around it.
    "doctor": "echo_choice wiring brains control supervision tools adapters audio realtime core config types errors",
    "testing": "local tools plugin audio realtime core types errors",
    "demo": "local audio core config types errors",
    "cli": "echo_choice doctor control ledger turnlog demo daemon assembly wiring engine alerts journal logs "
    "local tools plugin adapters audio realtime core config types errors",
    "__main__": "cli",
    "__init__": "",
}

# Table 2: a library and the only places that may import it. A library that is not here may not be imported at all.
LIBRARIES = {
    "pyaudio": "assistant/adapters/",
    "onnxruntime": "assistant/adapters/",
    "livekit": "assistant/adapters/ assistant/local/noise.py",
    "pymicro_wakeword": "assistant/adapters/",
    "pyopen_wakeword": "assistant/adapters/",
    "soundfile": "assistant/adapters/",
    "webrtcvad": "assistant/adapters/ assistant/local/",  # the embedded server has a server VAD of its own
    "pocketsphinx": "assistant/local/",
    "hassil": "assistant/local/",
    "espeakng_loader": "assistant/local/",
    "soxr": "assistant/audio/resample.py assistant/local/",
    "numpy": "assistant/core/ assistant/audio/ assistant/adapters/ assistant/local/ "
    "assistant/demo/ assistant/cli/demo.py assistant/testing/ assistant/doctor/",
    "websockets": "assistant/realtime/ assistant/local/ assistant/testing/",
    "azure": "assistant/realtime/ assistant/adapters/",
    "yaml": "assistant/config/",
    "pydantic": "assistant/config/ assistant/console/ assistant/plugin/ assistant/tools/ plugins/",
    "aiohttp": "assistant/console/ assistant/metrics/ plugins/home_assistant/connection.py assistant/local/chat.py",
    "aiomqtt": "plugins/mqtt/link.py",
    "mpd": "plugins/media/",
    "mcp": "plugins/mcp/worker.py plugins/mcp/measuring.py assistant/cli/serve_mcp.py",
    "typing_extensions": "assistant/tools/",  # pydantic insists on its TypedDict before Python 3.12
}
# What belongs to another library: one release of one is made for one release of the other.
PART_OF = {"pydantic_core": "pydantic", "mcp_types": "mcp", "anyio": "mcp", "httpx2": "mcp", "uvicorn": "mcp"}

# Table 3: pure files and all of the standard library that they may use: no clock, no chance, no input or output.
PURE_FILES = (
    "assistant/core/",
    "assistant/types.py",
    "assistant/errors.py",
    "assistant/realtime/codec.py",
    "assistant/realtime/dialects.py",
    "assistant/realtime/events.py",
    "assistant/realtime/settings.py",
)
PURE_MODULES = (
    "__future__ abc base64 binascii bisect collections contextlib copy dataclasses enum fractions functools heapq "
    "itertools json math operator re statistics string struct types typing"
)
PURE_LIBRARIES = "numpy"

FILES = sorted(path for folder in ("assistant", "plugins") for path in (ROOT / folder).rglob("*.py"))


def place_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def imports_of(source: str, place: str) -> Iterator[tuple[int, str]]:
    """Every imported module with its line, wherever in the file it stands; relative ones written out."""
    package = place.removesuffix("/__init__.py").removesuffix(".py").split("/")
    if not place.endswith("/__init__.py"):
        package.pop()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == "assistant":  # `from assistant import wiring` imports a part, __version__ is none
                yield from (
                    (node.lineno, f"{module}.{name.name}" if _is_part(name.name) else module) for name in node.names
                )
            else:
                yield node.lineno, module


def _is_part(name: str) -> bool:
    return name in DIRECTIONS or (ROOT / "assistant" / name).exists() or (ROOT / "assistant" / f"{name}.py").exists()


def violations(source: str, place: str) -> Iterator[str]:
    """What this file may not import, a line each."""
    for line, module in imports_of(source, place):
        if reason := _why_not(module, place):
            yield f"{place}:{line}: {module}: {reason}"


def _why_not(module: str, place: str) -> str | None:
    top = module.partition(".")[0]
    if top == "assistant":
        return _wrong_direction(module, place)
    if _in_own_folder(module, place):
        return None
    pure = place.startswith(PURE_FILES)
    if top in sys.stdlib_module_names:
        return "a pure file has no use for it" if pure and top not in PURE_MODULES.split() else None
    library = PART_OF.get(top, top)
    if library not in LIBRARIES:
        return "this library is in no table"
    if pure and library not in PURE_LIBRARIES.split():
        return "a pure file has no use for it"
    return None if place.startswith(tuple(LIBRARIES[library].split())) else f"only in {LIBRARIES[library]}"


def _in_own_folder(module: str, place: str) -> bool:
    """Files of one plugin's folder know each other: by relative imports, or beside a file that is run by itself."""
    folder = Path(place).parent
    if len(folder.parts) < 2 or folder.parts[0] != "plugins":
        return False
    return module.startswith(".".join(folder.parts)) or (ROOT / folder / f"{module}.py").is_file()


def _wrong_direction(module: str, place: str) -> str | None:
    if place.startswith("plugins/"):
        return None if module == "assistant.plugin" else "a plugin imports assistant.plugin and nothing else of ours"
    target = module.split(".")[1] if "." in module else "__init__"
    part = place.removesuffix(".py").split("/")[1]
    if part not in DIRECTIONS:
        return f"{part} is in no table"
    known = ("__init__", part, *DIRECTIONS[part].split())
    return None if target in known else f"{part} may not know {target}"


def test_the_tables_are_about_something() -> None:
    parts = {
        place_of(file).removesuffix(".py").split("/")[1] for file in FILES if place_of(file).startswith("assistant/")
    }
    assert parts - DIRECTIONS.keys() == set(), "a new part needs a row in DIRECTIONS"
    assert {word for row in DIRECTIONS.values() for word in row.split()} <= DIRECTIONS.keys()


def test_no_part_needs_itself_in_the_end() -> None:
    """The order of the rows is one in which the parts could have been written."""
    list(graphlib.TopologicalSorter({part: row.split() for part, row in DIRECTIONS.items()}).static_order())


@pytest.mark.parametrize("file", FILES, ids=place_of)
def test_imports(file: Path) -> None:
    assert list(violations(file.read_text("utf-8"), place_of(file))) == []


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("assistant/core/conversation.py", "import asyncio"),
        ("assistant/core/conversation.py", "from time import monotonic"),
        ("assistant/core/conversation.py", "def f():\n    import random"),
        ("assistant/core/conversation.py", "from assistant.realtime import codec"),
        ("assistant/core/conversation.py", "from ..realtime.codec import decode"),
        ("assistant/core/conversation.py", "from assistant import config"),
        ("assistant/core/conversation.py", "import pydantic"),
        ("assistant/realtime/codec.py", "import asyncio"),
        ("assistant/realtime/session.py", "import onnxruntime"),
        ("assistant/audio/player.py", "import pyaudio"),
        ("assistant/audio/player.py", "from assistant.adapters.wav_device import WavSpeaker"),
        ("assistant/adapters/openwakeword_onnx.py", "import openwakeword.utils"),
        ("assistant/config/__init__.py", "from ..daemon import main"),
        ("assistant/tools/runner.py", "import requests"),
        ("assistant/daemon.py", "from assistant.testing.virtual_time import run"),
        ("assistant/errors.py", "from assistant import types"),
        ("plugins/clock.py", "from assistant.config import load"),
        ("plugins/clock.py", "from assistant.plugin.context import Context"),
        ("plugins/clock.py", "import numpy"),
        ("plugins/clock.py", "from .timers import Timers"),
        ("plugins/mcp/__init__.py", "import mcp"),
    ],
)
def test_what_is_wrong_is_found(place: str, source: str) -> None:
    assert len(list(violations(source, place))) == 1


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("assistant/core/playout.py", "import numpy as np\nfrom assistant.types import ItemId\nfrom . import events"),
        (
            "assistant/adapters/pyaudio_device.py",
            "import pyaudio, threading\nfrom assistant.audio.ports import Speaker",
        ),
        ("assistant/config/values.py", "from pydantic_core import PydanticCustomError"),
        ("assistant/cli/run.py", "from assistant import wiring, __version__\nfrom assistant.daemon import Daemon"),
        ("plugins/mcp/__init__.py", "from .link import Link"),
        ("plugins/mcp/worker.py", "import mcp_types\nfrom vetting import vet"),
        ("plugins/clock.py", "import sqlite3\nfrom pydantic import BaseModel\nfrom assistant.plugin import tool"),
    ],
)
def test_what_is_right_passes(place: str, source: str) -> None:
    assert list(violations(source, place)) == []


def test_every_library_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines)
    lines = [*project["dependencies"], *extras]
    declared = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in lines}
    distributions = packages_distributions()
    for library in LIBRARIES:
        names = {name.lower().replace("_", "-") for name in distributions.get(library, [])}
        assert names & declared, f"{library} is imported, but none of {sorted(names)} is in pyproject.toml"

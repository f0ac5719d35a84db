"""Finding plugins and bringing them in: files, folders, entry points.

Importing a plugin runs its author's code, so everything is expected: syntax errors, ``sys.exit()``, an import that
never returns. Whatever happens becomes one PluginLoadError.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar

from assistant.errors import PluginLoadError, ToolError
from assistant.plugin import Plugin, ToolOptions
from assistant.plugin.decorator import tool_options
from assistant.plugin.tasks import fault
from assistant.tools.tool import Tool, build_tool

T = TypeVar("T")
ENTRY_POINT_GROUP: Final = "hearth.plugins"
IMPORT_LIMIT_S: Final = 20.0
Version: TypeAlias = frozenset[tuple[str, int, int]]
_log = logging.getLogger("hearth.tools")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that was found but not imported yet.

    source: where it is, for people: a path, or a distribution's entry point.
    find: imports it; gives a module, a Plugin class or a tool function. May raise anything.
    main: its file, or the ``__init__.py`` of its package, if it is one of those.
    """

    name: str
    source: str
    find: Callable[[], object]
    main: Path | None = None

    def version(self) -> Version:
        """What tells this plugin from what it was: its files' times and sizes. Empty while an editor replaces them."""
        if self.main is None:
            return frozenset()
        files = self.main.parent.rglob("*.py") if self.main.name == "__init__.py" else [self.main]
        found = set()
        for file in files:
            try:
                status = file.stat()
            except OSError:
                continue
            found.add((str(file), status.st_mtime_ns, status.st_size))
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """What a plugin's code holds. ``factory`` is its Plugin class, if it has one."""

    name: str
    factory: type[Plugin] | None
    tools: tuple[Tool, ...]


def bundled_plugins_folder() -> Path:
    """The plugins that come with Hearth: beside the package in a source checkout, inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "plugins"
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout
    return package / "_bundled" / "plugins"


def in_folder(folder: Path) -> list[Candidate]:
    """The ``*.py`` files and packages of a folder, by name; names that begin with ``_`` or ``.`` are left out."""
    found = []
    for path in sorted(folder.iterdir()):
        main = path / "__init__.py" if path.is_dir() else path
        if path.name.startswith(("_", ".")) or main.suffix != ".py" or not main.is_file():
            continue
        found.append(from_file(main))
    return found


def from_file(main: Path) -> Candidate:
    """One plugin file, or the ``__init__.py`` of a package."""
    main = main.resolve()
    path = main.parent if main.name == "__init__.py" else main
    return Candidate(path.stem, str(path), lambda: import_file(main), main)


def from_object(name: str, thing: object) -> Candidate:
    """A module, Plugin class or tool function that is in memory already."""
    return Candidate(name, getattr(thing, "__module__", None) or name, lambda: thing)


def installed() -> list[Candidate]:
    """The entry points of other distributions."""

    def describe(point: EntryPoint) -> Candidate:
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "an installed package"
        return Candidate(point.name, f"{package} ({point.value})", point.load)

    return [describe(point) for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name)]


def choose(groups: Iterable[Sequence[Candidate]]) -> list[Candidate]:
    """One candidate a name: later groups win over earlier ones, which the log says. Order of first appearance."""
    chosen: dict[str, Candidate] = {}
    for group in groups:
        for candidate in group:
            if older := chosen.get(candidate.name):
                _log.info("plugin %s: %s is used instead of %s", candidate.name, candidate.source, older.source)
            chosen[candidate.name] = candidate
    return list(chosen.values())


class _SourceOnly(SourceFileLoader):
    """Reads the source even if there is bytecode: that is told apart by whole seconds, and an author is faster."""

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("no cache")


def again(candidate: Candidate) -> Candidate:
    """The same plugin, to be read from its file as that is now. Raises PluginLoadError if it has no file."""
    main = candidate.main
    if main is None:
        raise PluginLoadError(f"{candidate.source} is not a file that can be read again: restart the assistant")
    return replace(candidate, find=lambda: import_file(main, fresh=True))


def import_file(main: Path, *, fresh: bool = False) -> ModuleType:
    """Run a plugin file as a module of a private name, so that equal file names do not meet, nor shadow libraries.

    A module that had this name is replaced, and comes back if this one fails. ``fresh``: do not trust bytecode.
    """
    path = main.parent if main.name == "__init__.py" else main
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"_hearth_plugin_{digest}_{path.stem}"
    folders = [str(path)] if path is not main else None
    loader = _SourceOnly(name, str(main)) if fresh else None
    spec = importlib.util.spec_from_file_location(name, main, loader=loader, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise PluginLoadError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = _take_modules(name)
    sys.modules[name] = module  # before it runs: dataclasses and relative imports look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _take_modules(name)
        sys.modules.update(before)
        raise
    return module


def _take_modules(name: str) -> dict[str, ModuleType]:
    """Remove a module and those in it; gives them."""
    return {key: sys.modules.pop(key) for key in tuple(sys.modules) if key == name or key.startswith(f"{name}.")}


def load_plugin(candidate: Candidate, limit_s: float = IMPORT_LIMIT_S) -> LoadedPlugin:
    """Import a plugin and read its tools. Raises PluginLoadError in one line, whatever the plugin does."""
    thing = _contained(candidate.find, limit_s)
    file = Path(candidate.source).name
    try:
        return _read(candidate.name, thing, file)
    except PluginLoadError:
        raise
    except Exception as error:  # hints and descriptors are the author's code, too
        raise PluginLoadError(f"{file}: its tools cannot be read: {fault(error)}: {_one_line(error)}") from error


def _contained(find: Callable[[], T], limit_s: float) -> T:
    """Call ``find`` on a daemon thread, since an import may never return, and only there can Ctrl-C be told from a
    plugin that raises KeyboardInterrupt itself."""
    results: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(find())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="plugin import", daemon=True)
    thread.start()
    thread.join(limit_s)
    if results:
        return results[0]
    if errors:
        raise PluginLoadError(_import_problem(errors[0])) from errors[0]
    raise PluginLoadError(f"importing it takes longer than {limit_s:g} s: move slow work to Plugin.start")


def _import_problem(error: BaseException) -> str:
    match error:
        case PluginLoadError():
            return str(error)
        case SyntaxError():
            return f"{Path(error.filename or '?').name}:{error.lineno}: syntax error: {error.msg}"
        case ModuleNotFoundError():
            return f"it needs the module {error.name}, which is not installed: pip install it into Hearth's environment"
        case SystemExit():
            return f"it calls sys.exit() while it is imported ({fault(error)})"
        case _:
            return f"{fault(error)}: {_one_line(error)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _read(name: str, thing: object, file: str) -> LoadedPlugin:
    if isinstance(thing, ModuleType):
        own = [item for item in vars(thing).values() if _defined_in(item, thing)]
    else:
        own = [thing]
    factories = list(dict.fromkeys(item for item in own if inspect.isclass(item) and issubclass(item, Plugin)))
    if len(factories) > 1:
        names = " and ".join(factory.__name__ for factory in factories)
        raise PluginLoadError(f"{file}: {names} are both Plugins: keep one in a file")
    functions = {id(item): item for item in own if callable(item) and tool_options(item)}  # aliases count once
    marked: list[tuple[Callable[..., object], bool]] = [(item, False) for item in functions.values()]
    factory = factories[0] if factories else None
    if factory is not None:
        marked += [(member, True) for member in _methods(factory)]
    tools = []
    for function, method in marked:
        if options := tool_options(function):
            tools.append(build_tool(function, options, plugin=name, file=file, method=method))
    if not tools and factory is None:
        raise PluginLoadError(f"{file}: it holds no @tool function and no Plugin class")
    _refuse_twins(file, tools)
    return LoadedPlugin(name, factory, tuple(tools))


def _refuse_twins(file: str, tools: Sequence[Tool]) -> None:
    names_seen: set[str] = set()
    for tool in tools:
        if tool.name in names_seen:
            raise PluginLoadError(f"{file}: two tools are named {tool.name}: rename one")
        names_seen.add(tool.name)


def with_configured_tools(plugin: LoadedPlugin, config: object) -> LoadedPlugin:
    """The plugin with the tools that its settings give it. Raises PluginLoadError in one line."""
    if plugin.factory is None:
        return plugin
    where = f"plugins.{plugin.name}"
    try:
        functions = list(plugin.factory.configured_tools(config))
        more = [
            build_tool(function, tool_options(function) or ToolOptions(), plugin=plugin.name, file=where, method=True)
            for function in functions
        ]
    except PluginLoadError:
        raise
    except ToolError as error:
        raise PluginLoadError(f"{where}: {_one_line(error)}") from error
    except BaseException as error:  # a plugin's SystemExit must not end the daemon
        raise PluginLoadError(f"{where}: its tools cannot be made: {fault(error)}") from error
    tools = (*plugin.tools, *more)
    _refuse_twins(where, tools)
    return replace(plugin, tools=tools)


def _defined_in(item: object, module: ModuleType) -> bool:
    """Not merely imported: ``from other import a_tool`` does not offer it twice."""
    home = getattr(item, "__module__", None)
    return isinstance(home, str) and (home == module.__name__ or home.startswith(f"{module.__name__}."))


def _methods(factory: type[Plugin]) -> list[Callable[..., object]]:
    """The decorated methods, base classes first, in the order they are written; an override counts once."""
    members: dict[str, object] = {}
    for kind in reversed(factory.__mro__):
        for key, value in vars(kind).items():
            if tool_options(value) or key in members:
                members[key] = value
    return [value for value in members.values() if callable(value)]

"""Verifiers that openWakeWord's ``train_custom_verifier`` wrote: pickles of a scikit-learn pipeline.

To unpickle a file is to run whatever it says. So no unpickler is involved: the opcodes are read one by one, as data,
by a machine that has lists, dicts and records of what *would* have been made, and nothing that it could call. A name
that is not in the list of those that such a pipeline consists of ends it, as does any opcode that it has no use for.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from assistant.core.wake_verifier import EMBEDDING_SIZE, WakeVerifier
from assistant.errors import ModelLoadError

_MAX_BYTES: Final = 10_000_000  # a verifier has 50 kB
_PIPELINE: Final = "sklearn.pipeline.Pipeline"
_FUNCTION: Final = "sklearn.preprocessing._function_transformer.FunctionTransformer"
_FLATTEN: Final = "openwakeword.custom_verifier_model.flatten_features"
_SCALER: Final = "sklearn.preprocessing._data.StandardScaler"
_REGRESSION: Final = "sklearn.linear_model._logistic.LogisticRegression"
_DTYPE: Final = "dtype"
_ARRAY: Final = "multiarray._reconstruct"  # pickle protocols 3 and 4
_BUFFER: Final = "numeric._frombuffer"  # protocol 5
_NAMES: Final = {name: name for name in (_PIPELINE, _FUNCTION, _FLATTEN, _SCALER, _REGRESSION)} | {
    "numpy.dtype": _DTYPE,
    "numpy.ndarray": "ndarray",
    **{
        f"numpy.{core}.{name}": name  # numpy 1, numpy 2
        for core in ("core", "_core")
        for name in (_ARRAY, _BUFFER, "multiarray.scalar")
    },
}
"""All that a file may name, and what it is called here."""

_NUMBERS: Final = ("f4", "f8", "i4", "i8")
_DAMAGED: Final = "it is damaged"
_NOT_OURS: Final = "not a verifier of openWakeWord's train_custom_verifier"

_Values = npt.NDArray[np.float64]


def read_foreign_verifier(path: Path, word: str) -> WakeVerifier:
    """The verifier in openWakeWord's file, for a wake word, whose name the file does not hold.

    Raises ModelLoadError, in one line, for anything that is not exactly such a file; none of it is ever run.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot read this verifier ({error.strerror})") from error
    try:
        if len(data) > _MAX_BYTES:
            raise _Refused(f"{len(data)} bytes are too many")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's, of escapes in the text of a damaged file
            return _verifier(_read(data), word)
    except KeyError as error:
        raise ModelLoadError(f"{path}: {_NOT_OURS}: it has no {error}") from error
    except (_Refused, ValueError, IndexError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ModelLoadError(f"{path}: {_NOT_OURS}: {reason}") from error


class _Refused(Exception):
    """The file holds what such a file does not hold."""


# --- reading the pickle -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function that the file names. It is never looked up."""

    name: str


@dataclass(slots=True)
class _Made:
    """What calling a name would have made."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(slots=True)
class _Machine:
    """The stack that pickle opcodes work on, with the stacks below each MARK."""

    stack: list[Any] = field(default_factory=list)
    below: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise _Refused(_DAMAGED)
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise _Refused(_DAMAGED)
        known = _NAMES.get(f"{module}.{name}")
        if known is None:
            shown = ascii(f"{module}.{name}"[:80]).strip("'")  # it may hold what a terminal obeys
            raise _Refused(f"it wants {shown}, which no such verifier needs")
        self.push(_Name(known))

    def make(self) -> None:
        what, arguments = self.take(2)
        if not isinstance(what, _Name) or not isinstance(arguments, tuple):
            raise _Refused(_DAMAGED)
        self.push(_Made(what.name, arguments))

    def build(self) -> None:
        made, state = self.take(2)
        if not isinstance(made, _Made):
            raise _Refused(_DAMAGED)
        made.state = state
        self.push(made)

    def extend(self, items: list[Any]) -> None:
        (target,) = self.stack[-1:]
        if not isinstance(target, list):
            raise _Refused(_DAMAGED)
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        (target,) = self.stack[-1:]
        if not isinstance(target, dict) or len(items) % 2:
            raise _Refused(_DAMAGED)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise _Refused(_DAMAGED)
            target[key] = value

    def open_mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []


_LITERALS: Final = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8"),
)
_CONSTANTS: Final[Mapping[str, object]] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: Final[Mapping[str, Callable[[_Machine, Any], object]]] = {
    "PROTO": lambda machine, arg: None,
    "FRAME": lambda machine, arg: None,
    "MARK": lambda machine, arg: machine.open_mark(),
    "EMPTY_LIST": lambda machine, arg: machine.push([]),
    "EMPTY_DICT": lambda machine, arg: machine.push({}),
    "TUPLE": lambda machine, arg: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, arg: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, arg: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, arg: machine.push(tuple(machine.take(3))),
    "APPEND": lambda machine, arg: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, arg: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, arg: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, arg: machine.set_items(machine.since_mark()),
    "MEMOIZE": lambda machine, arg: machine.memo.update({len(machine.memo): machine.stack[-1]}),
    "BINPUT": lambda machine, arg: machine.memo.update({arg: machine.stack[-1]}),
    "LONG_BINPUT": lambda machine, arg: machine.memo.update({arg: machine.stack[-1]}),
    "BINGET": lambda machine, arg: machine.push(machine.memo[arg]),
    "LONG_BINGET": lambda machine, arg: machine.push(machine.memo[arg]),
    "GLOBAL": lambda machine, arg: machine.name(*arg.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, arg: machine.name(*machine.take(2)),
    "REDUCE": lambda machine, arg: machine.make(),
    "NEWOBJ": lambda machine, arg: machine.make(),
    "BUILD": lambda machine, arg: machine.build(),
}


def _read(data: bytes) -> Any:
    machine = _Machine()
    for opcode, arg, _ in pickletools.genops(data):
        if opcode.name == "STOP":
            (result,) = machine.take(1)
            return result
        if opcode.name in _LITERALS:
            machine.push(arg)
        elif opcode.name in _CONSTANTS:
            machine.push(_CONSTANTS[opcode.name])
        elif (step := _STEPS.get(opcode.name)) is not None:
            step(machine, arg)
        else:
            raise _Refused(f"it uses the pickle opcode {opcode.name}, which no such verifier needs")
    raise _Refused(_DAMAGED)


# --- what the pickle says ---------------------------------------------------------------------------------------------


def _verifier(pipeline: Any, word: str) -> WakeVerifier:
    """The three steps of the pipeline as one: flatten, scale, logistic regression."""
    steps = [step[1] for step in _state(pipeline, _PIPELINE)["steps"]]
    if len(steps) != 3:
        raise _Refused(f"it is a pipeline of {len(steps)} steps, not of 3")
    flatten = _state(steps[0], _FUNCTION)["func"]
    if flatten != _Name(_FLATTEN):
        raise _Refused("its first step does not flatten the features")
    scaling, regression = _state(steps[1], _SCALER), _state(steps[2], _REGRESSION)
    if regression.get("multi_class") == "multinomial" or _array(regression["classes_"]).tolist() != [0, 1]:
        raise _Refused("it does not tell two classes, 0 and 1, from each other")
    if not (scaling["with_mean"] is scaling["with_std"] is True):
        raise _Refused("its second step does not scale")
    mean, scale = _array(scaling["mean_"]), _array(scaling["scale_"])
    if not (scale > 0).all():
        raise _Refused("its second step divides by what is not over 0")
    weights = _array(regression["coef_"]).reshape(-1) / scale
    (bias,) = _array(regression["intercept_"])
    return WakeVerifier(word, weights.reshape(-1, EMBEDDING_SIZE), float(bias - weights @ mean))


def _state(made: Any, name: str) -> dict[str, Any]:
    if not isinstance(made, _Made) or made.name != name or not isinstance(made.state, dict):
        raise _Refused(f"there is no {name.rpartition('.')[2]} where one should be")
    return made.state


def _array(made: Any) -> _Values:
    """Numbers out of the record of an array."""
    match made:
        case _Made(name="multiarray._reconstruct", state=(_, tuple(shape), dtype, False, bytes(raw))):
            pass
        case _Made(name="numeric._frombuffer", arguments=(bytes() | bytearray() as raw, dtype, tuple(shape), "C")):
            pass
        case _:
            raise _Refused("there is no array of numbers where one should be")
    return np.frombuffer(bytes(raw), _dtype(dtype)).reshape(shape).astype(np.float64)


def _dtype(made: Any) -> str:
    match made:
        case _Made(name="dtype", arguments=(str(code), *_), state=(_, "<", *_)) if code in _NUMBERS:
            return f"<{code}"
    raise _Refused("there is an array of something else than numbers")

"""Verifiers that openWakeWord wrote, and files that only look like them. The real ones are made by its own code."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.adapters.foreign_verifier import read_foreign_verifier
from assistant.errors import ModelLoadError

TRAIN = """
import pickle, sys
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from openwakeword.custom_verifier_model import train_verifier_model
chance = np.random.default_rng(0)
x = np.concatenate((chance.normal(1, 1, (20, 16, 96)), chance.normal(0, 1, (60, 16, 96)))).astype(np.float32)
model = train_verifier_model(x, np.repeat((1, 0), (20, 60)))
for protocol in (2, 3, 4, 5):
    with open(f"{sys.argv[1]}/protocol-{protocol}.pkl", "wb") as file:
        pickle.dump(model, file, protocol)
np.savez(f"{sys.argv[1]}/expected.npz", x=x, p=model.predict_proba(x)[:, -1])
three = train_verifier_model(x, np.repeat((0, 1, 2), (20, 30, 30)))
for name, other in (("three-classes", three), ("no-flatten", make_pipeline(*[s for _, s in model.steps[1:]])),
                    ("one-step", model.steps[1][1]), ("list", [1, 2])):
    with open(f"{sys.argv[1]}/{name}.pkl", "wb") as file:
        pickle.dump(other, file)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of openWakeWord's own training, in a process of its own: it imports scipy, scikit-learn and more."""
    folder = tmp_path_factory.mktemp("foreign")
    subprocess.run([sys.executable, "-W", "ignore", "-c", TRAIN, str(folder)], check=True, timeout=120)
    return folder


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_it_answers_as_scikit_learn_does(folder: Path, protocol: int) -> None:
    verifier = read_foreign_verifier(folder / f"protocol-{protocol}.pkl", "alexa")
    assert (verifier.word, verifier.window) == ("alexa", 16)
    with np.load(folder / "expected.npz") as expected:
        answers = [verifier.probability(features) for features in expected["x"]]
        assert answers == pytest.approx(expected["p"].tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("protocol-2", "it wants _codecs.encode"),
        ("three-classes", "two classes"),
        ("no-flatten", "a pipeline of 2 steps, not of 3"),
        ("one-step", "no Pipeline where one should be"),
        ("list", "no Pipeline where one should be"),
    ],
)
def test_other_models_are_refused(folder: Path, name: str, why: str) -> None:
    with pytest.raises(ModelLoadError, match=f"^[^\n]*not a verifier of openWakeWord[^\n]*{why}[^\n]*$"):
        read_foreign_verifier(folder / f"{name}.pkl", "alexa")


@pytest.mark.parametrize("part", range(7, 100, 7))
def test_a_file_that_is_cut_off_is_refused(folder: Path, tmp_path: Path, part: int) -> None:
    data = (folder / "protocol-4.pkl").read_bytes()
    cut = len(data) * part // 100
    for number, bad in enumerate((data[:cut], data[cut:], data[:cut] + data[cut + 9 :])):
        file = tmp_path / f"{number}.pkl"
        file.write_bytes(bad)
        with pytest.raises(ModelLoadError, match=r"^[^\n]+$"):
            read_foreign_verifier(file, "alexa")


@given(data=st.data())
def test_no_damage_gets_through_as_another_error(folder: Path, data: st.DataObject) -> None:
    whole = (folder / "protocol-4.pkl").read_bytes()
    bad = bytearray(whole)
    structure = [number for number in range(len(whole)) if number < 800 or number > len(whole) - 400]
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.sampled_from(structure))] = data.draw(st.integers(0, 255))
    file = folder / "mutated.pkl"
    file.write_bytes(bad)
    try:
        verifier = read_foreign_verifier(file, "alexa")
    except ModelLoadError as error:
        assert "\n" not in str(error) and str(error).isprintable()
    else:
        assert verifier.window == 16


class Reducing:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


CANARY = "touch /tmp/hearth-canary-that-must-not-be"
ALLOWED = short("sklearn.pipeline") + short("Pipeline") + b"\x93"
HOSTILE = {
    "os.system": pickle.dumps(Reducing(os.system, CANARY)),
    "builtins.eval": pickle.dumps(Reducing(builtins.eval, "1/0")),
    "builtins.getattr": b"cbuiltins\ngetattr\n.",
    "nested": pickle.dumps({"steps": [("a", Reducing(os.system, CANARY))]}),
    "as an argument": pickle.dumps(Reducing(print, Reducing(os.system, CANARY))),
    "protocol 0": pickle.dumps(Reducing(os.system, CANARY), 0),
    "by the memo": b"\x80\x04" + short("posix") + b"\x94" + short("system") + b"\x94" + ALLOWED + b"0h\x00h\x01\x93)R.",
    "dotted": b"\x80\x04" + short("sklearn.pipeline") + short("Pipeline.__init__.__globals__") + b"\x93.",
    "submodule": b"\x80\x04" + short("numpy") + short("dtype.__class__") + b"\x93.",
    "a name that is no text": b"\x80\x04]]\x93.",
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(" + ALLOWED + b"o.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "persistent id": b"Pos.system\n.",
    "binary persistent id": short("os.system") + b"Q.",
    "NEWOBJ_EX": b"\x80\x04" + ALLOWED + b")}\x92.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "building a class": b"\x80\x04" + ALLOWED + b"}" + short("__setstate__") + short("x") + b"sb.",
    "building a list": b"\x80\x04]}b.",
    "calling text": b"\x80\x04" + short("x") + b")R.",
    "a memo that is not there": b"\x80\x04h\x07.",
    "a huge memo number": b"\x80\x04Nr\xff\xff\xff\x7f.",
    "a huge length": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    "an empty stack": b"\x80\x04R.",
    "an open mark": b"\x80\x04(.",
    "no mark": b"\x80\x04]e.",
    "a list that holds itself": b"\x80\x04]\x94h\x00a.",
    "no end": b"\x80\x04N",
    "a name for the terminal": b"\x80\x04" + short("os\x1b[2J") + short("system") + b"\x93.",
    "a name of nested lists": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + short("x") + b"\x93.",
    "nothing": b"",
    "text": b"not a pickle",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_refused_in_one_line_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    def never(*arguments: object, **named: object) -> None:
        raise AssertionError(f"something was run: {arguments}")

    file = tmp_path / "hostile.pkl"
    file.write_bytes(data)
    monkeypatch.setattr(os, "system", never)
    monkeypatch.setattr(builtins, "eval", never)
    monkeypatch.setattr(pickle, "Unpickler", never)
    monkeypatch.setattr(pickle, "loads", never)
    modules = set(sys.modules)
    with pytest.raises(
        ModelLoadError, match=r"^[^\n]+: not a verifier of openWakeWord's train_custom_verifier: [^\n\x1b]+$"
    ):
        read_foreign_verifier(file, "alexa")
    assert set(sys.modules) == modules, "something was imported"


def test_the_words_of_the_refusal_say_what_was_wanted(tmp_path: Path) -> None:
    file = tmp_path / "hostile.pkl"
    file.write_bytes(HOSTILE["os.system"])
    with pytest.raises(ModelLoadError, match=r"it wants (posix|os)\.system, which no such verifier needs"):
        read_foreign_verifier(file, "alexa")
    file.write_bytes(HOSTILE["EXT1"])
    with pytest.raises(ModelLoadError, match="it uses the pickle opcode EXT1"):
        read_foreign_verifier(file, "alexa")
    with pytest.raises(ModelLoadError, match="cannot read this verifier"):
        read_foreign_verifier(tmp_path / "none.pkl", "alexa")

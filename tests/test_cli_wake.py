"""``assistant wake``: recordings, tries and the history, as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from assistant.audio.wake_history import FILE_NAME
from assistant.cli import execute
from tests.house import write_wav
from tests.speech import RATE, Samples, concat, in_room, say, silence

CONFIG = """\
wake: {{words: [{words}]}}
state_dir: state
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEARTH_CONFIG", raising=False)
    write_config("alexa, hey_jarvis")
    return tmp_path


def write_config(words: str) -> None:
    Path("config.yaml").write_text(CONFIG.format(words=words))


def wake(*arguments: str) -> int:
    return execute(["wake", arguments[0], "--config", "config.yaml", *arguments[1:]])


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = wake("eval", "--json", *arguments)
    return status, json.loads(capsys.readouterr().out)


def alexa() -> Samples:
    return in_room(say("alexa", "en-gb-x-rp", 150), before=1, after=0.1, dbfs=-65)


def test_eval_of_a_folder_with_files_of_all_kinds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = alexa()
    (folder / "clips" / "deep").mkdir(parents=True)
    write_wav(folder / "clips" / "a.wav", clip)
    high = soxr.resample(clip.astype(np.float64) / 32768, RATE, 44_100)
    soundfile.write(folder / "clips" / "b.flac", np.stack((high, high), axis=1), 44_100)
    soundfile.write(folder / "clips" / "deep" / "c.wav", soxr.resample(high, 44_100, 8000), 8000, subtype="FLOAT")
    write_wav(folder / "clips" / "d.wav", in_room(say("what time is it"), before=1, after=0.5, dbfs=-65))
    (folder / "clips" / "notes.txt").write_text("not a sound")
    status, report = evaluate(capsys, "clips")
    assert status == 0
    assert [Path(file["path"]).name for file in report["files"]] == ["a.wav", "b.flac", "d.wav", "c.wav"]
    assert [file["detected"] for file in report["files"]][:3] == [True, True, False]
    a, b, d = report["files"][:3]
    word_end = len(clip) / RATE - 0.1
    for file in (a, b):
        assert file["peak"] > 0.9 and file["word"] == "alexa"
        assert 1.0 < file["at_s"] < word_end + 0.4
    assert (d["at_s"], d["word"]) == (None, None) and d["peak"] < 0.2
    assert report["total"] == 4
    assert report["recall"] == pytest.approx(report["detected"] / 4)


def test_eval_takes_one_wake_word_and_a_gain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(folder / "a.wav", alexa())
    assert evaluate(capsys, "a.wav", "--wake-word", "hey_jarvis")[1]["recall"] == 0.0
    assert evaluate(capsys, "a.wav", "--wake-word", "hey_marvin")[1]["recall"] == 0.0, "also one that is not configured"
    assert evaluate(capsys, "a.wav", "--wake-word", "alexa", "--gain", "-32")[1]["recall"] == 1.0
    assert evaluate(capsys, "a.wav", "--wake-word", "alexa", "--gain", "-90")[1]["recall"] == 0.0


def test_eval_uses_the_threshold_of_the_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(folder / "a.wav", alexa())
    peak = evaluate(capsys, "a.wav")[1]["files"][0]["peak"]
    assert 0.9 < peak < 0.99999
    write_config(f"{{model: alexa, threshold: {peak + (1 - peak) / 2}}}")
    assert evaluate(capsys, "a.wav")[1]["files"][0] == pytest.approx(
        {"path": "a.wav", "peak": peak, "verified": None, "detected": False, "at_s": None, "word": None}
    )


def test_eval_prints_a_line_a_file_and_a_total(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(folder / "a.wav", alexa())
    assert wake("eval", "a.wav") == 0
    line, total = capsys.readouterr().out.splitlines()
    assert line.endswith("s  alexa          a.wav") or line.split()[-2:] == ["alexa", "a.wav"]
    assert total == "1 of 1 detected (alexa at 0.5, hey_jarvis at 0.5)"


def test_what_cannot_be_evaluated_is_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wake("eval", "none.wav") == 1
    assert capsys.readouterr().err == "assistant: none.wav: there is no such file or folder\n"
    (folder / "empty").mkdir()
    assert wake("eval", "empty") == 1
    assert "empty: no sound files in this folder (.wav, .flac" in capsys.readouterr().err
    (folder / "bad.wav").write_bytes(b"RIFF and nothing else")
    write_wav(folder / "a.wav", alexa())
    assert wake("eval", "bad.wav", "a.wav") == 1
    out, err = capsys.readouterr()
    assert err.startswith("assistant wake eval: bad.wav: cannot be read as sound (") and err.count("\n") == 1
    assert out.endswith("1 of 1 detected (alexa at 0.5, hey_jarvis at 0.5)\n")
    assert wake("eval", "a.wav", "--wake-word", "alexia") == 1
    assert "did you mean 'alexa'?" in capsys.readouterr().err


def test_record_proposes_a_threshold(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tries = [concat(say("alexa", "en-gb-x-rp", speed), silence(1.5)) for speed in (120, 150)]
    write_wav(folder / "tries.wav", in_room(concat(*tries), before=1, after=0.5, dbfs=-60))
    assert wake("record", "--wake-word", "alexa", "--mic", "wav:tries.wav") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('Say "alexa", then pause')
    assert [line.split()[0] + line.split()[2] for line in lines[2:4]] == ["1heard", "2heard"]
    assert lines[4] == "proposed threshold: 0.7 (now 0.5); it hears 2 of the tries"
    assert lines[5] == "to use it: wake: {words: [{model: alexa, threshold: 0.7}]}"


def test_record_ends_after_the_tries_asked_for_and_says_when_nothing_scored(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = concat(say("what time is it"), silence(1.5), say("turn on the light"), silence(1.5))
    write_wav(folder / "tries.wav", in_room(words, before=1, after=0.5, dbfs=-60))
    assert wake("record", "--wake-word", "alexa", "--mic", "wav:tries.wav", "--tries", "1") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2:] == ["  1   0.00  not understood"]
    assert err.startswith("assistant wake record: no try scored at all")
    assert wake("record", "--mic", "wav:absent.wav") == 69


def test_history_shows_what_scored_and_what_another_threshold_would_have_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wake("history") == 0
    assert capsys.readouterr().out.startswith("nothing yet: ")
    (folder / "state").mkdir()
    rows = [(0.9, True), (0.55, True), (0.45, False), (0.2, False)]
    (folder / "state" / FILE_NAME).write_text(
        "".join(
            json.dumps({"at": 1e9 + n, "word": "alexa", "peak": peak, "hit": hit, "speaking": n == 0}) + "\n"
            for n, (peak, hit) in enumerate(rows)
        )
    )
    assert wake("history", "--threshold", "0.4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[0].endswith("0.90  alexa           woke, while the assistant spoke")
    assert lines[2].endswith("0.45  alexa           near miss")
    assert lines[4] == 'alexa ("alexa"): woke 2 times, 2 near misses'
    assert lines[5] == "  at threshold 0.4: 2 of these wakes, 1 near misses more, 0 wakes fewer"
    assert wake("history", "--threshold", "0.6", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["what_if"] == {"threshold": 0.6, "kept": 1, "added": 0, "lost": 1}
    assert report["entries"][1]["peak"] == 0.55


# --- verifiers --------------------------------------------------------------------------------------------------------

VOICES = ("en-us+Storm", "en-gb-x-rp", "en-us+Annie", "en-us+Andy")
LIKE = ("a lexus", "a lexicon")


def train(*arguments: str) -> int:
    return execute(["wake", "verifier", "train", "--config", "config.yaml", "--wake-word", "alexa", *arguments])


def test_a_verifier_is_trained_and_refuses_what_only_sounds_like_the_word(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "yes").mkdir()
    (folder / "no").mkdir()
    for number, voice in enumerate(VOICES):
        write_wav(folder / "yes" / f"{number}.wav", in_room(say("alexa", voice), before=0.2, after=0.2))
        for word in LIKE:
            write_wav(folder / "no" / f"{number}-{word}.wav", in_room(say(word, voice), before=0.2, after=0.2))
    write_wav(folder / "yes" / "not-it.wav", in_room(say("good morning"), before=0.2, after=0.2))
    assert train("--positive", "yes", "--negative", "no", "--out", "v.npz") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "5 recordings of alexa; 4 score 0.1 or more, and are used"
    assert lines[1].endswith(", not used: yes/not-it.wav")
    assert re.fullmatch(r"\d+ s of other speech in 8 pieces; \d score 0.1 or more", lines[2])
    table = [
        re.fullmatch(r"  threshold (.*?) +hears (\d) of 5, false alarms in (\d+) of 8", line) for line in lines[4:7]
    ]
    (plain, low, verified) = [found.groups() for found in table if found]
    assert [plain[0], low[0], verified[0]] == ["0.5", "0.2", "0.2, verifier 0.5"]
    assert int(low[2]) >= 4 > 2 > int(verified[2]), "the verifier refuses what is like it"
    assert int(low[1]) == 4 and int(verified[1]) >= 2
    advice = [line for line in lines if line.startswith("warning: ")]
    assert advice[-2] == "warning: 4 recordings of the wake word are few: take 10 of each person"
    assert re.match(r"warning: \d+ s of other speech are little", advice[-1])
    assert lines[-3] == "written: v.npz. To use it:"
    Path("config.yaml").write_text("\n".join(lines[-2:]) + "\nstate_dir: state\n")
    report = evaluate(capsys, "no", "yes")[1]
    assert all((file["verified"] is None) is (file["peak"] < 0.1) for file in report["files"])
    detected = {file["path"] for file in report["files"] if file["detected"]}
    assert detected <= {f"yes/{number}.wav" for number in range(4)} and len(detected) >= 3
    refused = [file for file in report["files"] if file["peak"] >= 0.2 and not file["detected"]]
    assert refused and all(file["verified"] < 0.5 for file in refused)


def test_training_says_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        write_wav(folder / f"{name}.wav", in_room(say("what time is it"), before=0.2, after=0.2))
    assert train("--positive", "a.wav", "b.wav", "--negative", "c.wav") == 1
    assert capsys.readouterr().err == (
        "assistant wake verifier: at least 3 recordings of the wake word and 3 of other speech (or a long one)"
        " are needed; see docs/wake-words.md\n"
    )
    write_wav(folder / "long.wav", silence(25))
    assert train("--positive", "a.wav", "--negative", "long.wav") == 1
    assert "25 s of other speech in 3 pieces; 0 score" in capsys.readouterr().out
    assert train("--positive", "a.wav", "--negative", ".") == 1
    assert capsys.readouterr().err.endswith("a.wav: given both with --positive and with --negative\n")
    assert train("--positive", "none", "--negative", ".") == 1
    assert capsys.readouterr().err == "assistant: none: there is no such file or folder\n"
    write_config("{model: alexa, engine: microwakeword}")
    assert train("--positive", "a.wav", "--negative", "b.wav") == 1
    assert capsys.readouterr().err == "assistant: alexa: a verifier needs engine openwakeword, not microwakeword\n"


def test_a_verifier_that_cannot_be_used_is_said_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(folder / "a.wav", silence(1))
    write_config("{model: alexa, verifier: none.npz}")
    assert wake("eval", "a.wav") == 1
    assert re.fullmatch(
        r"assistant: .*none\.npz: cannot read this verifier \(.*\); check the path\n", capsys.readouterr().err
    )
    write_config("{model: alexa, engine: microwakeword, verifier: none.npz}")
    assert wake("eval", "a.wav") == 78
    assert "wake.words[0].verifier: is for engine openwakeword" in capsys.readouterr().err
    write_config("{model: alexa, threshold: 0.05, verifier: none.npz}")
    assert wake("eval", "a.wav") == 78
    assert "wake.words[0].threshold: must be at least 0.1 with a verifier" in capsys.readouterr().err


def test_a_file_of_openwakeword_s_that_is_none_is_not_imported(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "v.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert execute(["wake", "verifier", "import", "v.pkl", "v.npz", "--wake-word", "alexa"]) == 1
    assert capsys.readouterr().err == (
        "assistant: v.pkl: not a verifier of openWakeWord's train_custom_verifier:"
        " it wants os.system, which no such verifier needs\n"
    )
    assert not (folder / "v.npz").exists()


def test_record_keeps_the_tries(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tries = [concat(say("alexa", "en-gb-x-rp", speed), silence(1.5)) for speed in (120, 150)]
    write_wav(folder / "tries.wav", in_room(concat(*tries), before=1, after=0.5, dbfs=-60))
    (folder / "kept").mkdir()
    (folder / "kept" / "alexa-001.wav").write_bytes(b"older")
    assert wake("record", "--wake-word", "alexa", "--mic", "wav:tries.wav", "--keep", "kept") == 0
    assert sorted(path.name for path in (folder / "kept").iterdir()) == [f"alexa-00{n}.wav" for n in (1, 2, 3)]
    assert (folder / "kept" / "alexa-001.wav").read_bytes() == b"older"
    (folder / "kept" / "alexa-001.wav").unlink()
    capsys.readouterr()
    assert evaluate(capsys, "kept", "--wake-word", "alexa")[1]["recall"] == 1.0
    assert wake("record", "--wake-word", "alexa", "--mic", "wav:tries.wav", "--keep", "tries.wav") == 1
    assert "tries.wav: recordings cannot be kept here (File exists)" in capsys.readouterr().err

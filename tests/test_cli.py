"""The command line as people meet it: what it prints, and its exit status."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from assistant.cli import build_parser
from assistant.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_UNAVAILABLE
from tests.house import House, read_wav, room, run_command, write_wav


def config(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(f"state_dir: state\n{text}", encoding="utf-8")
    return str(path)


def one_line(text: str) -> str:
    [line] = [line for line in text.splitlines() if line and " INFO " not in line]
    return line


# --- help ------------------------------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy() -> None:
    """Help must come at once; what makes it slow is imports."""
    code = (
        "import sys\nfrom assistant.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pydantic', 'onnxruntime', 'websockets', 'asyncio', 'yaml', 'azure', 'soxr', 'hassil'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in result.stdout
    assert "assistant run" in result.stdout


def test_every_command_has_help_and_a_module() -> None:
    parser = build_parser()
    [commands] = [action for action in parser._actions if action.dest == "command"]
    names = {"run", "ask", "check-config", "devices", "doctor", "tools", "wake", "turns", "cost", "serve", "demo"}
    names |= {"status", "events", "control"}
    assert set(commands.choices or ()) == names
    more = {"ask": ["x"], "tools": ["list"], "wake": ["history"], "doctor": ["--echo"], "control": ["mute"]}
    for arguments in ([name, *more.get(name, [])] for name in names):
        options = parser.parse_args(arguments)
        assert (Path(__file__).parents[1] / "assistant" / "cli" / f"{options.module}.py").exists()


# --- errors: one clear line, and a status --------------------------------------------------------------------------


def test_a_missing_microphone(tmp_path: Path) -> None:
    file = config(tmp_path, "audio: {input: {device: 'wav:nobody.wav'}, output: {device: none}}")
    result = run_command("run", "--config", file, folder=tmp_path)
    assert result.returncode == EXIT_UNAVAILABLE
    assert "nobody.wav" in one_line(result.stderr)


def test_a_missing_speaker_folder(tmp_path: Path) -> None:
    write_wav(tmp_path / "room.wav", np.zeros(16000, np.int16))
    file = config(tmp_path, "audio: {input: {device: 'wav:room.wav'}, output: {device: 'wav:no/such/out.wav'}}")
    result = run_command("run", "--config", file, folder=tmp_path)
    assert result.returncode == EXIT_UNAVAILABLE
    assert "out.wav" in one_line(result.stderr)


@pytest.mark.parametrize("model", ["hey_jarwis", "mine.onnx"])
def test_a_missing_wake_word_model(tmp_path: Path, model: str) -> None:
    write_wav(tmp_path / "room.wav", np.zeros(16000, np.int16))
    audio = "audio: {input: {device: 'wav:room.wav'}, output: {device: none}}"
    file = config(tmp_path, f"wake: {{words: [{model}]}}\n{audio}")
    result = run_command("run", "--config", file, folder=tmp_path)
    assert result.returncode in (EXIT_FAILURE, EXIT_CONFIG)
    assert model in one_line(result.stderr)
    assert "Traceback" not in result.stderr


def test_all_problems_of_a_config_at_once(tmp_path: Path) -> None:
    file = config(tmp_path, "provder: local\nvad: {aggressiveness: 7}\nwake: {words: [{threshold: high}]}")
    result = run_command("run", "--config", file, folder=tmp_path)
    assert result.returncode == EXIT_CONFIG
    lines = result.stderr.strip().splitlines()
    assert [line.split(":")[1] for line in lines] == ["2", "3", "4", "4"]
    assert "did you mean" in lines[0] and "provider" in lines[0]


def test_check_config_checks_plugins_too(tmp_path: Path) -> None:
    file = config(tmp_path, "plugins:\n  clock:\n    hours: 13")
    result = run_command("check-config", "--config", file, folder=tmp_path)
    assert result.returncode == EXIT_CONFIG
    assert "config.yaml:4: plugins.clock.hours:" in one_line(result.stderr)


def test_check_config_prints_what_is_in_force(tmp_path: Path) -> None:
    file = config(tmp_path, "vad: {aggressiveness: 3}")
    result = run_command("check-config", "--config", file, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "aggressiveness: 3" in result.stdout
    assert "config.yaml: ok" in result.stdout


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run_command("serve", "--config", config(tmp_path, ""), "--port", str(port), folder=tmp_path)
    assert result.returncode == EXIT_UNAVAILABLE
    assert str(port) in one_line(result.stderr)
    assert "Traceback" not in result.stderr


def test_no_key_for_a_cloud_provider(tmp_path: Path) -> None:
    file = config(tmp_path, "provider: openai\nopenai: {api_key_env: HEARTH_TEST_NO_SUCH_KEY}")
    result = run_command("ask", "what time is it", "--quiet", "--config", file, folder=tmp_path)
    assert result.returncode == EXIT_FAILURE
    assert "HEARTH_TEST_NO_SUCH_KEY" in result.stderr
    assert "Traceback" not in result.stderr


# --- tools ---------------------------------------------------------------------------------------------------------


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_a_ten_line_plugin_is_found_called_and_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    [plugin] = readme_blocks("python")
    (tmp_path / "mine" / "dice.py").write_text(plugin, encoding="utf-8")
    (tmp_path / "mine" / "broken.py").write_text("import nothing_of_this_name\n", encoding="utf-8")
    file = config(tmp_path, "tools: {folders: [mine]}")
    listed = run_command("tools", "list", "--config", file, folder=tmp_path)
    assert listed.returncode == 0
    assert "roll_dice" in listed.stdout
    assert "broken: load error" in listed.stdout
    called = run_command("tools", "call", "roll_dice", "--json", '{"count": 2}', "--config", file, folder=tmp_path)
    assert called.returncode == 0
    assert json.loads(called.stdout).startswith("You rolled ")
    asked = run_command("ask", "roll two dice", "--quiet", "--config", file, folder=tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert "You rolled" in asked.stdout
    assert "[roll_dice" in asked.stderr


@pytest.mark.parametrize("block", readme_blocks("yaml"))
def test_the_readme_s_examples_of_the_config_are_right(tmp_path: Path, block: str) -> None:
    result = run_command("check-config", "--config", config(tmp_path, block), folder=tmp_path)
    assert result.returncode == 0, result.stderr


def test_tools_that_come_later_are_waited_for(tmp_path: Path) -> None:
    """Another program offers them: it is started, asked, and ended."""
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    rogue = Path(__file__).parent / "plugins" / "rogue_mcp_server.py"
    server = f"{{command: '{sys.executable}', args: ['{rogue}', good], sentences: {{echo: ['shout {{text}}']}}}}"
    file = config(tmp_path, f"plugins: {{mcp: {{servers: {{far: {server}}}}}}}")
    listed = run_command("tools", "list", "--config", file, folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "far_echo" in listed.stdout
    called = run_command("tools", "call", "far_echo", "--json", '{"text": "hello"}', "--config", file, folder=tmp_path)
    assert "hello" in called.stdout, called.stderr
    asked = run_command("ask", "shout hello", "--quiet", "--config", file, folder=tmp_path)
    assert asked.stdout == "Hello.\n", asked.stderr


def test_tools_list_as_json(tmp_path: Path) -> None:
    result = run_command("tools", "list", "--json", "--config", config(tmp_path, ""), folder=tmp_path)
    data = json.loads(result.stdout)
    assert {"clock", "timers"} <= {plugin["name"] for plugin in data["plugins"]}
    assert all(tool["description"] for tool in data["tools"])


def test_an_unknown_tool_and_wrong_arguments(tmp_path: Path) -> None:
    file = config(tmp_path, "")
    unknown = run_command("tools", "call", "make_coffee", "--config", file, folder=tmp_path)
    assert unknown.returncode == EXIT_FAILURE
    assert "current_time" in unknown.stderr, "says which tools there are"
    wrong = run_command("tools", "call", "current_time", "--json", "{", "--config", file, folder=tmp_path)
    assert wrong.returncode == EXIT_FAILURE
    assert "not valid JSON" in wrong.stdout


# --- ask -----------------------------------------------------------------------------------------------------------


def test_ask_answers_in_text_and_sound(tmp_path: Path) -> None:
    out = tmp_path / "answer.wav"
    result = run_command(
        "ask", "what time is it in Tokyo?", "--out", str(out), "--config", config(tmp_path, ""), folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "Tokyo" in result.stdout
    assert "[current_time" in result.stderr
    sound = read_wav(out).astype(float)
    assert 1.0 < sound.size / 24_000 < 6.0
    assert 500 < np.sqrt(np.mean(sound**2)) < 8000
    assert np.max(np.abs(sound)) < 32767
    assert np.max(np.abs(sound[-240:])) < 0.15 * np.max(np.abs(sound)), "ends within a word"


def test_ask_without_a_sound_card_still_answers(tmp_path: Path) -> None:
    file = config(tmp_path, "audio: {output: {device: no such speaker}}")
    result = run_command("ask", "what day is it", "--config", file, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Today is" in result.stdout
    assert "no sound" in result.stderr


def test_the_embedded_brain_answers_when_the_provider_cannot_be_reached(tmp_path: Path) -> None:
    file = config(tmp_path, "provider: custom\ncustom: {url: 'ws://127.0.0.1:9/v1'}\nsession: {fallback: local}\n")
    result = run_command("ask", "what day is it", "--quiet", "--config", file, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Today is" in result.stdout
    assert "127.0.0.1:9" in result.stderr, "the log says what failed"


def test_some_tools_need_no_provider(tmp_path: Path) -> None:
    file = config(tmp_path, "provider: custom\ncustom: {url: 'ws://127.0.0.1:9/v1'}\nsession: {local_first: [clock]}\n")
    result = run_command("ask", "what day is it", "--quiet", "--config", file, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Today is" in result.stdout


def test_ask_nothing(tmp_path: Path) -> None:
    result = run_command("ask", "  ", "--config", config(tmp_path, ""), folder=tmp_path)
    assert result.returncode == EXIT_FAILURE
    assert "nothing to ask" in result.stderr


# --- the local brain, by voice -------------------------------------------------------------------------------------


@pytest.mark.daemon
def test_a_spoken_request_to_the_local_brain(tmp_path: Path) -> None:
    """Wake word, recogniser, tool, voice, speaker: all real, in one process tree."""
    local = """\
provider: local
session: {{transcription: {{model: hearth-local}}}}
audio: {{input: {{device: "wav:room.wav"}}, output: {{device: "wav:speaker.wav"}}}}
log: {{events_file: events.jsonl}}
state_dir: state
"""
    with House(tmp_path, config=local) as house:
        house.start(room(2.0, "hey jarvis", 0.6, "set a timer for ten minutes", 3.0))
        assert house.end() == 0, house.log
        [call] = house.entries("run_tool")
        assert call["tool"] == "set_timer"
        assert json.loads(call["arguments"]) == {"amount": 10, "unit": "minutes"}
        assert house.entries("end_turn")[-1]["outcome"] == "answered"
    assert np.max(np.abs(read_wav(tmp_path / "speaker.wav").astype(int))) > 3000

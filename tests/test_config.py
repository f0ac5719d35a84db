"""The config file: defaults, lines, every problem at once, secrets, and that no file at all can crash load()."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from assistant.config import Config, WakeWord, find_file, load, parse, render
from assistant.config.document import MAX_DEPTH, read_document
from assistant.config.sections import Settings
from assistant.errors import EXIT_CONFIG, ConfigError

SHIPPED = Path(__file__).resolve().parents[1] / "config.yaml"
KEY = "sk-proj-abcdefghijklmnop1234"


def problems_of(text: str, file: str = "config.yaml") -> list[str]:
    """The lines a user would see for this file."""
    with pytest.raises(ConfigError) as caught:
        parse(text, Path(file))
    assert caught.value.exit_status == EXIT_CONFIG
    return str(caught.value).splitlines()


def problem_of(text: str) -> str:
    """The only line a user would see, without the file's name."""
    (line,) = problems_of(text)
    return line.removeprefix("config.yaml:")


def config_of(text: str) -> Config:
    return parse(text, Path("/etc/hearth/config.yaml"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HEARTH_CONFIG", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))


class TestShippedFile:
    def test_equals_the_defaults(self) -> None:
        assert load(SHIPPED) == Config()
        assert load(SHIPPED).warnings == ()

    def test_shows_every_setting(self) -> None:
        shipped = yaml.safe_load(SHIPPED.read_text("utf-8"))

        def missing(model: type[BaseModel], data: dict[str, Any], before: str) -> Iterator[str]:
            for name, field in model.model_fields.items():
                if name not in data:
                    yield f"{before}{name}"
                elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                    yield from missing(field.annotation, data[name], f"{before}{name}.")

        assert list(missing(Settings, shipped, "")) == []
        assert set(shipped["wake"]["words"][0]) == set(WakeWord.model_fields)

    def test_every_setting_is_described(self) -> None:
        def undescribed(model: type[BaseModel], before: str = "") -> Iterator[str]:
            for name, field in model.model_fields.items():
                if not field.description or "\n" in field.description:
                    yield f"{before}{name}"
                if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                    yield from undescribed(field.annotation, f"{before}{name}.")

        assert [*undescribed(Settings), *undescribed(WakeWord, "word.")] == []

    def test_every_number_has_a_range(self) -> None:
        def unbounded(model: type[BaseModel]) -> Iterator[str]:
            for name, field in model.model_fields.items():
                limits = {
                    limit for item in field.metadata for limit in ("ge", "gt", "le", "lt") if hasattr(item, limit)
                }
                if field.annotation in (int, float) and not ({"ge", "gt"} & limits and {"le", "lt"} & limits):
                    yield f"{model.__name__}.{name}"
                if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                    yield from unbounded(field.annotation)

        assert [*unbounded(Settings), *unbounded(WakeWord)] == []


class TestReading:
    def test_nothing_means_the_defaults(self) -> None:
        for text in ("", "# only a comment\n", "---\n", "null\n", "session:\naudio:\n  output:\nplugins:\n  clock:\n"):
            assert config_of(text).model_copy(update={"plugins": {}}) == Config()

    def test_yaml_1_2_words_are_text(self) -> None:
        config = config_of("language: no\nbarge_in: {mode: off}\nsession: {voice: on}\nlocal: {strictness: 1e-6}")
        assert (config.language, config.barge_in.mode, config.session.voice) == ("no", "off", "on")
        assert config.local.strictness == 1e-6

    def test_a_time_of_day_is_text_not_1350(self) -> None:
        section, _ = config_of("plugins: {lights: {off_at: 22:30, since: 2024-01-01}}").plugin_section("lights")
        assert section == {"off_at": "22:30", "since": "2024-01-01"}

    @pytest.mark.parametrize(
        ("word", "value"),
        [("yes", True), ("On", True), ("true", True), ("no", False), ("off", False), ("False", False)],
    )
    def test_a_switch_understands_what_people_write(self, word: str, value: bool) -> None:
        assert config_of(f"audio: {{earcons: {word}}}").audio.earcons is value

    def test_a_wake_word_by_its_name_alone(self) -> None:
        words = config_of("wake:\n  words: [alexa, {model: hey_marvin, threshold: 0.7}]").wake.words
        assert words == (WakeWord(model="alexa"), WakeWord(model="hey_marvin", threshold=0.7))

    def test_paths_are_relative_to_the_file(self) -> None:
        config = config_of(
            "wake: {words: [models/fridge.onnx, computer.onnx, /opt/x.onnx]}\n"
            "tools: {folders: [tools, /srv/tools]}\n"
            "audio: {input: {device: 'wav:in.wav'}, output: {device: 'wav:/tmp/out.wav'}}\n"
            "log: {events_file: events.jsonl}\nstate_dir: state\nopenai: {api_key_file: key}"
        )
        assert [word.model for word in config.wake.words] == [
            "/etc/hearth/models/fridge.onnx",
            "/etc/hearth/computer.onnx",
            "/opt/x.onnx",
        ]
        assert config.tools.folders == (Path("/etc/hearth/tools"), Path("/srv/tools"))
        assert config.audio.input.device == "wav:/etc/hearth/in.wav"
        assert config.audio.output.device == "wav:/tmp/out.wav"
        assert config.log.events_file == Path("/etc/hearth/events.jsonl")
        assert config.state_folder == Path("/etc/hearth/state")
        assert config.openai.api_key_file == Path("/etc/hearth/key")

    def test_home_folder_and_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        config = config_of("state_dir: ~/hearth\naudio: {input: {device: 'wav:-'}, output: {device: none}}")
        assert config.state_dir == Path("/home/ada/hearth")
        assert (config.audio.input.device, config.audio.output.device) == ("wav:-", "none")

    def test_aliases_work(self) -> None:
        config = config_of("session: {voice: &v marin}\nlocal: {voice: *v}")
        assert config.local.voice == "marin"

    def test_settings_are_frozen(self) -> None:
        config = Config()
        with pytest.raises(ValidationError):
            config.vad.aggressiveness = 3  # type: ignore[misc]
        assert isinstance(config.wake.words, tuple)


class TestProblems:
    def test_all_at_once_sorted_by_line(self) -> None:
        lines = problems_of(
            "provider: azure\nvad: {aggressiveness: 5}\nsesion: {}\nlanguage: 3\nvad: {}\n"
            "endpointing: {start_ms: 400}\nwake: {words: []}\n"
        )
        assert [line.split(": ")[:2] for line in lines] == [
            ["config.yaml", "azure.endpoint"],
            ["config.yaml", "azure.deployment"],
            ["config.yaml:2", "vad.aggressiveness"],
            ["config.yaml:3", "sesion"],
            ["config.yaml:4", "language"],
            ["config.yaml:5", "vad"],
            ["config.yaml:6", "endpointing.start_window_ms"],
            ["config.yaml:7", "wake.words"],
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("vad:\n  agressiveness: 1",
             "2: vad.agressiveness: there is no such setting; did you mean aggressiveness?"),
            ("session: {keep-open-s: 1}",
             "1: session.keep-open-s: there is no such setting; did you mean keep_open_s?"),
            ("vad: {window_s: 1}", "1: vad.window_s: there is no such setting here; did you mean follow_up.window_s?"),
            ("vad: {xyzzy: 1}", "1: vad.xyzzy: there is no such setting; there are aggressiveness"),
            ("vad: {aggressiveness: 4}", "1: vad.aggressiveness: must be from 0 to 3, got 4"),
            ("local: {strictness: 0}", "1: local.strictness: must be more than 0 and at most 1, got 0"),
            ("vad: {aggressiveness: true}", "1: vad.aggressiveness: expected a whole number, got true"),
            ("vad: {aggressiveness: 1.5}", "1: vad.aggressiveness: expected a whole number, got 1.5"),
            (
                "endpointing:\n  start_ms:\n    200ms",
                "2: endpointing.start_ms: expected a whole number, got the text '200ms': "
                "write the number alone, without quotes or unit",
            ),
            ("session: {voice: 5}", "1: session.voice: expected text, got 5: put it in quotes"),
            ("vad: {aggressiveness: }", "1: vad.aggressiveness: expected a whole number, got null: "
             "leave the line out for the default"),
            ("audio: {earcons: maybe}", "1: audio.earcons: expected true or false, got the text 'maybe'"),
            ("tools: {folders: mine}", "1: tools.folders: expected a list, got the text 'mine'"),
            ("tools:\n  folders:\n    - a\n    - 5", "4: tools.folders[1]: expected a path, got 5: put it in quotes"),
            ("vad: 2", "1: vad: expected settings, one 'key: value' a line, got 2"),
            ("session: {speed: .nan}", "1: session.speed: expected a finite number, got nan"),
            (
                "provider: opnai",
                "1: provider: must be one of local, openai, azure, azure_preview, voice_live, custom "
                "(did you mean openai?), got the text 'opnai'",
            ),
            (
                "session: {noise_reduction: loud}",
                "1: session.noise_reduction: must be one of near_field, far_field, azure_deep_noise_suppression, "
                "got the text 'loud'",
            ),
            ("session: {max_output_tokens: 0}",
             "1: session.max_output_tokens: must be a whole number from 1 to 4096, or inf"),
            ("language: english", "1: language: expected a language code such as en or en-GB"),
            ("session: {voice: ''}", "1: session.voice: must not be empty; leave the line out for the default"),
            ("wake: {words: []}", "1: wake.words: needs at least one entry"),
            ("wake:\n  words:\n    - alexa\n    - 7",
             "4: wake.words[1]: expected settings, one 'key: value' a line, got 7"),
            ("custom: {url: 'https://host/v1'}", "1: custom.url: expected an address such as wss://host/path"),
            ("plugins: [clock]", "1: plugins: expected settings, one 'key: value' a line, got a list"),
            ("plugins: {clock: 5}", "1: plugins.clock: expected settings, one 'key: value' a line, got 5"),
        ],
    )  # fmt: skip
    def test_one_clear_line(self, text: str, expected: str) -> None:
        assert problem_of(text) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("session:\n\tvoice: x", "2: a tab stands where YAML wants spaces: indent with spaces only"),
            ("provider: local\n  language: en", "2: ':' does not fit here: check the indentation and the line above, "
             "or quote a text with ': '"),
            ("vad:\n  aggressiveness 2\nlanguage: en\n", "1: vad: expected settings, one 'key: value' a line, "
             "got the text 'aggressiveness 2': is a ':' missing?"),
            ("language en\nprovider: local", "2: ':' does not fit here: check the indentation and the line above, "
             "or quote a text with ': '"),
            ("provider: local\nlanguage\nvad: {}\n", "3: this line has no 'key: value': add the ':' "
             "(with a space after it)"),
            ("a:\n    b: 1\n  c: 2", "3: the indentation or the brackets do not fit the lines above"),
            ("language: en\nsession: {voice: x\nvad: {}\n", "3: a bracket that was opened is not closed, "
             "or a comma is missing"),
            ("language: en\nsession: 'open\nvad: {}\n", "2: a quote or bracket that was opened is never closed"),
            ("language: @x", "1: text that begins with @, ` or % needs quotes"),
            ("language: *x", "1: '*' and '&' begin an alias: put the text in quotes"),
            ('language: "\\q"', "1: a \\ in \"double quotes\" begins an escape: use 'single quotes' for a plain \\"),
            ("language: en\n---\nlanguage: de", "2: the file holds more than one document: remove the second '---'"),
            ("language: en\nvad: \x07", "2: a control character, which YAML does not allow"),
            ("language: !secret x", "1: language: tags ('!...') are not supported: "
             "put text that begins with '!' in quotes"),
            ("vad: !!int abc", "1: vad: not a value of the type it claims"),
            ("vad: {aggressiveness: " + "9" * 5000 + "}", "1: vad.aggressiveness: not a value of the type it claims"),
            ("- language", "1: the file must hold settings, one 'key: value' a line"),
            ("just words", "1: the file must hold settings, one 'key: value' a line"),
            ("? [a]\n: b", "1: a key must be a plain word"),
            ("vad:\n  <<: {aggressiveness: 1}", "2: vad.<<: merge keys (<<) are not supported: write the settings out"),
            ("plugins: &a {x: *a}", "1: nested too deeply, or aliases that refer to themselves"),
        ],
    )  # fmt: skip
    def test_text_that_is_no_yaml(self, text: str, expected: str) -> None:
        assert problem_of(text) == expected

    def test_a_key_set_twice_names_both_lines(self) -> None:
        text = "language: en\nvad:\n  aggressiveness: 1\n  aggressiveness: 2\nlanguage: de\n"
        assert problems_of(text) == [
            "config.yaml:4: vad.aggressiveness: set twice: first in line 3; remove one of them",
            "config.yaml:5: language: set twice: first in line 1; remove one of them",
        ]

    def test_absurd_nesting_and_multiplying_aliases_end_quickly(self) -> None:
        assert "deeply" in problem_of("plugins: " + "[" * 100_000)
        assert "deeply" in problem_of("plugins: {x: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "}")
        bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n"
        bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
        assert "aliases" in problem_of(bomb)

    def test_rules_over_several_settings(self) -> None:
        assert problem_of("barge_in:\n  speech_ms: 200\n  speech_window_ms: 140").startswith(
            "3: barge_in.speech_window"
        )
        assert problem_of("endpointing: {max_utterance_s: 1, end_silence_ms: 1000}").startswith(
            "1: endpointing.end_sil"
        )
        assert problem_of("wake:\n  words:\n    - {model: a, patience: 2}").startswith(
            "3: wake.words[0].patience_window"
        )
        assert "same wake word as words[0]" in problem_of("wake: {words: [alexa, alexa]}")
        assert "a speaker needs wav:PATH" in problem_of("audio: {output: {device: 'wav:-'}}")
        assert "provider custom needs this" in problem_of("provider: custom")
        assert problems_of("provider: azure\nazure:\n  deployment: rt\n") == [
            "config.yaml:2: azure.endpoint: provider azure needs this: https://NAME.openai.azure.com"
        ]

    @pytest.mark.parametrize("provider", ["local", "openai"])
    def test_temperature_belongs_to_the_preview_dialect(self, provider: str) -> None:
        assert problem_of(f"provider: {provider}\nsession:\n  temperature: 0.8") == (
            f"3: session.temperature: only the preview dialect has it, which provider {provider} does not speak: "
            "remove this line"
        )

    def test_a_broken_value_brings_no_second_problem(self) -> None:
        assert problem_of("provider: custom\ncustom: {url: nonsense}") == (
            "2: custom.url: expected an address such as wss://host/path"
        )

    def test_a_broken_value_does_not_hide_a_rule(self) -> None:
        assert len(problems_of("endpointing: {start_ms: 400, pre_roll_ms: x}")) == 2
        assert len(problems_of("wake: {words: [{patience: 2}, 7]}")) == 1  # the list as a whole is broken


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            f"openai: {{api_key: {KEY}}}",
            f"openai: {{api_key_env: {KEY}}}",
            f"azure: {{key: {KEY}}}",
            f"api_kye: {KEY}",
            f"openai:\n  api_key_env:\n    - {KEY}",
            f"custom: {{url: 'wss://me:{KEY}@host/v1'}}",
            f"custom: {{url: 'wss://host/v1?api-key={KEY}'}}",
            f"plugins: {{home: {{access_token: {KEY}}}}}",
            f"plugins: {{home: {{hosts: [{{password: {KEY}}}]}}}}",
            f"provider: {KEY}",
            f"vad: {{aggressiveness: {KEY}}}",
            f"audio: {KEY}",
            f"openai: {{api_key_file: 7}}\nlanguage: {KEY}",
            f"plugins: {{home: *{KEY}}}",
            f"plugins: {{home: !{KEY} x}}",
            f"plugins: {{home: '{KEY}}}",
        ],
    )
    def test_a_misplaced_secret_is_refused_and_never_repeated(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse(text, Path("config.yaml"))
        assert KEY not in str(caught.value)
        assert KEY not in repr(caught.value)

    def test_says_where_it_belongs(self) -> None:
        assert problem_of(f"openai:\n  api_key: {KEY}") == (
            "2: openai.api_key: a secret does not belong in this file: put it in an environment variable or a file "
            "and name that with api_key_env or api_key_file"
        )

    def test_places_in_plugins_are_fine(self) -> None:
        text = "plugins: {home: {token_env: HOME_TOKEN, keyboard: qwerty, max_tokens: 5, password_file: /etc/p}}"
        assert config_of(text).plugins["home"]["token_env"] == "HOME_TOKEN"

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
        secret = Config().secret_for("openai")
        assert secret is not None
        assert secret.get_secret_value() == KEY
        assert KEY not in f"{secret!r} {secret} {Config()!r} {render(Config())}"

    def test_a_file_comes_before_the_environment(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
        file = tmp_path / "key"
        file.write_text("from-the-file\n")
        file.chmod(0o600)
        config = parse("openai: {api_key_file: key}", tmp_path / "config.yaml")
        assert config.warnings == ()
        secret = config.secret_for("openai")
        assert secret is not None and secret.get_secret_value() == "from-the-file"

    def test_systemd_credential_comes_last(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "custom_api_key").write_text("from-systemd")
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        secret = Config().secret_for("custom")
        assert secret is not None and secret.get_secret_value() == "from-systemd"
        assert Config().secret_for("openai") is None

    def test_none(self) -> None:
        assert [Config().secret_for(name) for name in ("local", "openai", "azure", "custom")] == [None] * 4

    def test_an_unusable_file_is_a_warning_and_then_an_error(self, tmp_path: Path) -> None:
        text = "language: en\nopenai:\n  api_key_file: key"
        config = parse(text, tmp_path / "config.yaml")
        assert [(warning.key, warning.line) for warning in config.warnings] == [("openai.api_key_file", 3)]
        with pytest.raises(ConfigError, match=r"config\.yaml:3: openai\.api_key_file: .*key cannot be read: No such"):
            config.secret_for("openai")
        for content in (b"", f"{KEY}\n{KEY}".encode(), b"\xff\xfe", "schlüssel".encode(), b"a\x00b"):
            (tmp_path / "key").write_bytes(content)
            with pytest.raises(ConfigError) as caught:
                config.secret_for("openai")
            assert KEY not in str(caught.value)

    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
    def test_a_file_open_to_others_is_a_warning(self, tmp_path: Path, mode: int, warned: bool) -> None:
        file = tmp_path / "key"
        file.write_text(KEY)
        file.chmod(mode)
        warnings = parse("openai: {api_key_file: key}", tmp_path / "config.yaml").warnings
        assert bool(warnings) is warned
        assert all("chmod 600" in warning.message for warning in warnings)

    def test_a_key_in_the_clear_is_a_warning(self) -> None:
        def warned(url: str) -> bool:
            return bool(config_of(f"provider: custom\ncustom: {{url: '{url}'}}").warnings)

        assert warned("ws://brain.example/v1")
        assert not warned("wss://brain.example/v1")
        assert not warned("ws://127.0.0.1:8000/v1")


class TestPlugins:
    TEXT = "plugins:\n  lights:\n    rooms:\n      - name: kitchen\n      - name: hall\n    fade_s: 2\n  clock: {}\n"

    def test_raw_section_with_lines(self) -> None:
        section, lines = config_of(self.TEXT).plugin_section("lights")
        assert section == {"rooms": [{"name": "kitchen"}, {"name": "hall"}], "fade_s": 2}
        assert (lines[""], lines["rooms"], lines["rooms[1].name"], lines["fade_s"]) == (2, 3, 5, 6)

    def test_a_plugin_cannot_change_the_configuration(self) -> None:
        config = config_of(self.TEXT)
        config.plugin_section("lights")[0]["rooms"].clear()
        assert len(config.plugins["lights"]["rooms"]) == 2

    def test_no_section(self) -> None:
        assert config_of(self.TEXT).plugin_section("radio") == ({}, {})
        assert Config().plugin_section("radio") == ({}, {})


class TestFinding:
    def test_order(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        user = tmp_path / "xdg-config" / "hearth" / "config.yaml"
        user.parent.mkdir(parents=True)
        user.write_text("language: de")
        assert find_file() == user
        Path("config.yaml").write_text("language: fr")
        assert find_file() == Path("config.yaml")
        monkeypatch.setenv("HEARTH_CONFIG", "elsewhere.yaml")
        assert find_file() == Path("elsewhere.yaml")
        assert find_file(Path("mine.yaml")) == Path("mine.yaml")

    def test_no_file_means_the_defaults(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        if Path("/etc/hearth/config.yaml").exists():
            pytest.skip("this machine has a configuration of its own in /etc/hearth")
        monkeypatch.chdir(tmp_path)
        config = load()
        assert (config, config.file, config.label) == (Config(), None, "built-in defaults")

    def test_label_is_the_file(self, tmp_path: Path) -> None:
        file = tmp_path / "c.yaml"
        file.write_text("\ufefflanguage: de\n", "utf-8")  # some editors begin a file like this
        assert (load(file).label, load(file).language) == (str(file), "de")

    def test_files_that_cannot_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def said(path: Path) -> str:
            with pytest.raises(ConfigError) as caught:
                load(path)
            return str(caught.value)

        latin = tmp_path / "latin.yaml"
        latin.write_bytes("language: en\nlocal: {voice: ä}\n".encode("latin-1"))
        large = tmp_path / "large.yaml"
        large.write_bytes(b"#" * 1_000_001)
        assert said(tmp_path / "absent.yaml") == f"{tmp_path}/absent.yaml: there is no such file"
        assert said(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
        assert said(latin) == f"{latin}:2: not UTF-8 text: save the file as UTF-8"
        assert said(large) == f"{large}: larger than 1000 kB: this is no config file"
        assert "not a usable path" in said(Path("a\0b"))
        monkeypatch.setenv("HEARTH_CONFIG", "absent.yaml")
        with pytest.raises(ConfigError, match=r"^absent\.yaml: there is no such file$"):
            load()

    def test_state_folder(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert Config().state_folder == tmp_path / "xdg-state" / "hearth"
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hearth:/var/lib/other")
        assert Config().state_folder == Path("/var/lib/hearth")
        assert config_of("state_dir: /srv/hearth").state_folder == Path("/srv/hearth")
        monkeypatch.delenv("STATE_DIRECTORY")
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", "/home/ada")
        assert Config().state_folder == Path("/home/ada/.local/state/hearth")


class TestRendering:
    def test_loads_again_as_the_same(self) -> None:
        config = config_of(
            "language: no\nbarge_in: {mode: off}\nwake: {words: [alexa, x.onnx]}\ntools: {folders: [mine]}\n"
            "session: {instructions: 'one\n\n  two: 3 # four', max_output_tokens: 7}\nplugins: {a: {b: [1, 22:30, no]}}"
        )
        assert parse(render(config), Path("/elsewhere/config.yaml")) == config

    def test_masks_what_a_plugin_hides(self) -> None:
        config = config_of("plugins: {a: {pin_key: 1234, x: [{secret_word: [mellon]}], token_env: T, name: Bo}}")
        text = render(config)
        assert "1234" not in text and "mellon" not in text
        assert "token_env: T" in text and "name: Bo" in text


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["wav:-", "wav:", "~", "~nobody-here/x", "no", "inf", "x.onnx", "ws://[", "wss://h:99999999", "\0"]
    ),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


DEFAULTS = yaml.safe_load(SHIPPED.read_text("utf-8"))
PLACES = sorted(places(DEFAULTS), key=str)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_any_value_anywhere_loads_or_is_a_config_error(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = yaml.safe_load(SHIPPED.read_text("utf-8"))
    for path, value in changes:
        target = data
        for part in path[:-1]:
            try:
                target = target[part]
            except (TypeError, KeyError, IndexError):
                break  # an earlier change took this place away
        else:
            key = path[-1]
            if isinstance(target, dict) or (isinstance(target, list) and key in range(len(target))):
                target[path[-1]] = value
    text = yaml.safe_dump(data, allow_unicode=True)
    try:
        config = parse(text, Path("config.yaml"))
    except ConfigError as error:
        assert error.problems
        lines = text.count("\n") + 1
        for problem in error.problems:
            assert problem.message
            assert "\n" not in problem.message
            assert problem.line is None or 1 <= problem.line <= lines
    else:
        assert parse(render(config), Path("config.yaml")).model_dump(exclude={"plugins"}) == config.model_dump(
            exclude={"plugins"}
        )


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(0, len(SHIPPED.read_text("utf-8"))), st.integers(0, 40)),
    st.text(alphabet=st.sampled_from("\t\n :-#'\"[]{}&*!|>%@`,?\\\0a1é\U0001f44d"), max_size=6),
)
def test_any_damage_to_the_text_loads_or_is_a_config_error(cut: tuple[int, int], put: str) -> None:
    text = SHIPPED.read_text("utf-8")
    start, length = cut
    try:
        parse(text[:start] + put + text[start + length :], Path("config.yaml"))
    except ConfigError as error:
        assert error.problems


@given(st.text(max_size=60))
def test_reading_never_raises(text: str) -> None:
    document = read_document(text)
    assert isinstance(document.data, dict)


def test_the_escapes_that_pyyaml_trips_over() -> None:
    assert "not a character" in problem_of(r'language: "\UFFFFFFFF"')
    assert problems_of(r'language: "\uD800"')

"""Addresses as people copy them, the quickstarts' environment variables, and settings that a dialect does not have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.config import Config, parse, providers_in_use
from assistant.config.addresses import read_portal_address
from assistant.config.brain_sections import Provider
from assistant.errors import ConfigError

PREVIEW = "2025-04-01-preview"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("OPENAI_MODEL", "OPENAI_API_VERSION", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_DEPLOYMENT_NAME"),
        *("AZURE_VOICELIVE_ENDPOINT", "HEARTH_CONFIG"),
    ):
        monkeypatch.delenv(name, raising=False)


def config_of(text: str) -> Config:
    return parse(text, Path("config.yaml"))


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config_of(text)
    return str(caught.value).splitlines()


def azure(endpoint: str, provider: str = "azure", more: str = "") -> str:
    section = "voice_live" if provider == "voice_live" else "azure"
    return f"provider: {provider}\n{section}:\n  endpoint: '{endpoint}'\n{more}"


# --- addresses as copied ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://r.openai.azure.com", "wss://r.openai.azure.com"),
        ("https://r.openai.azure.com/", "wss://r.openai.azure.com"),
        ("wss://R.OpenAI.Azure.com/openai/v1/realtime", "wss://r.openai.azure.com"),
        ("https://r.openai.azure.com/openai/v1/", "wss://r.openai.azure.com"),
        ("https://r.openai.azure.com/openai/v1/realtime?model=rt", "wss://r.openai.azure.com"),
        ("http://r.openai.azure.com", "wss://r.openai.azure.com"),  # Microsoft's own are never plain
        ("https://r.services.ai.azure.com/api/projects/kitchen", "wss://r.services.ai.azure.com"),
        ("https://r.cognitiveservices.azure.com/", "wss://r.cognitiveservices.azure.com"),
        ("https://gateway.example:8443/openai", "wss://gateway.example:8443"),
        ("http://127.0.0.1:9000", "ws://127.0.0.1:9000"),
    ],
)
def test_ga_addresses(endpoint: str, origin: str) -> None:
    brain = config_of(azure(endpoint, more="  deployment: rt")).brain("azure")
    assert (brain.url, brain.model, brain.api_version, brain.dialect) == (origin, "rt", None, "ga")


@pytest.mark.parametrize(
    "endpoint",
    [
        f"https://r.openai.azure.com/openai/realtime?api-version={PREVIEW}&deployment=rt",
        f"wss://r.openai.azure.com/openai/realtime/?deployment=rt&api-version={PREVIEW}",
        f"https://r.openai.azure.com/openai/deployments/rt/realtime?api-version={PREVIEW}",
        f"https://r.openai.azure.com/?api-version={PREVIEW}&deployment=rt",
    ],
)
def test_a_preview_address_says_it_all(endpoint: str) -> None:
    brain = config_of(azure(endpoint, "azure_preview")).brain("azure_preview")
    assert (brain.url, brain.model, brain.api_version) == ("wss://r.openai.azure.com", "rt", PREVIEW)
    assert brain.dialect == "preview"


def test_voice_live_has_defaults() -> None:
    brain = config_of(azure("https://r.services.ai.azure.com/", "voice_live")).brain("voice_live")
    assert (brain.model, brain.api_version, brain.dialect) == ("gpt-realtime", "2025-10-01", "voice_live")
    full = "https://r.services.ai.azure.com/voice-live/realtime?api-version=2026-04-10&model=gpt-4o"
    brain = config_of(azure(full, "voice_live")).brain("voice_live")
    assert (brain.model, brain.api_version) == ("gpt-4o", "2026-04-10")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            azure(f"https://r.openai.azure.com/openai/realtime?api-version={PREVIEW}&deployment=rt"),
            "3: azure.endpoint: this is the address of the preview API: set provider: azure_preview, "
            "or write the address without its path",
        ),
        (
            azure("https://r.openai.azure.com/openai/v1?model=rt", "azure_preview", f"  api_version: {PREVIEW}"),
            "3: azure.endpoint: this is the address of the GA API: set provider: azure, "
            "or write the address without its path",
        ),
        (
            azure("https://r.openai.azure.com", more=f"  deployment: rt\n  api_version: {PREVIEW}"),
            "5: azure.api_version: the GA API takes no api-version: remove it, or set provider: azure_preview",
        ),
        (
            azure(f"https://r.openai.azure.com/openai/v1?api-version={PREVIEW}", more="  deployment: rt"),
            "3: azure.endpoint: the GA API takes no api-version: remove it, or set provider: azure_preview",
        ),
        (
            azure("https://r.openai.azure.com?deployment=a", more="  deployment: b"),
            "4: azure.deployment: azure.endpoint names another deployment (a): remove one of them",
        ),
        (
            azure("https://r.openai.azure.com", "azure_preview", "  deployment: rt"),
            "2: azure.api_version: provider azure_preview needs this: such as 2025-04-01-preview",
        ),
        (
            azure("https://r.openai.azure.com", "azure_preview", "  deployment: rt\n  api_version: v1"),
            "5: azure.api_version: expected a date such as 2025-04-01-preview, got 'v1'",
        ),
        (
            azure("https://api.openai.com/v1", more="  deployment: rt"),
            "3: azure.endpoint: this is OpenAI's own address: set provider: openai and remove this line",
        ),
        (
            azure("https://r.services.ai.azure.com/voice-live/realtime", more="  deployment: rt"),
            "3: azure.endpoint: this is the address of the Voice Live API: set provider: voice_live, "
            "or write the address without its path",
        ),
        (
            azure("https://r.openai.azure.com", "voice_live"),
            "3: voice_live.endpoint: Voice Live is at https://NAME.services.ai.azure.com "
            "(or .cognitiveservices.azure.com)",
        ),
        (
            azure("https://r.openai.azure.com/nonsense", more="  deployment: rt"),
            "3: azure.endpoint: /nonsense is no path of a realtime API: write the address without it "
            "(wss://r.openai.azure.com)",
        ),
        (
            "provider: openai\nopenai: {url: 'wss://r.services.ai.azure.com/openai/v1'}",
            "2: openai.url: this is an Azure address: set provider: azure and azure.endpoint",
        ),
        ("provider: custom", " custom.url: provider custom needs this: such as wss://host/v1"),
        ("local: {tts: {engine: wyoming}}", "1: local.tts.uri: engine wyoming needs this: such as tcp://HOST:PORT"),
        ("local: {tts: {engine: piper}}", "1: local.tts.model: engine piper needs this: such as NAME.onnx"),
        ("local: {tts: {uri: 'http://x:1'}}", "1: local.tts.uri: expected tcp://HOST:PORT or unix:///PATH"),
        (
            "provider: openai\nsession: {local_first: [timers], turn_detection: server_vad}",
            "2: session.local_first: wants turn_detection: local; else the provider hears everything",
        ),
    ],
)  # fmt: skip
def test_wrong_combinations_are_explained(text: str, problem: str) -> None:
    assert [line.removeprefix("config.yaml:") for line in problems_of(text)] == [problem]


def test_tools_at_home_first_want_the_embedded_server_and_a_provider() -> None:
    assert providers_in_use(config_of("provider: openai\nsession: {local_first: [timers]}")) == ("openai", "local")
    (warning,) = config_of("session: {local_first: [timers]}").warnings
    assert (warning.key, warning.message.split(":")[0]) == ("session.local_first", "has no effect")


def test_what_is_wrong_with_a_provider_that_is_not_used_is_nobody_s_business() -> None:
    config = config_of("azure: {endpoint: 'https://api.openai.com/nonsense', api_version: v1}")
    assert providers_in_use(config) == ("local",)


# --- the environment -------------------------------------------------------------------------------------------------


def test_the_variables_of_the_quickstarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com/")
    monkeypatch.setenv("AZURE_OPENAI_DEPLOYMENT_NAME", "from-env")
    monkeypatch.setenv("OPENAI_API_VERSION", PREVIEW)
    monkeypatch.setenv("OPENAI_MODEL", "gpt-realtime-mini")
    monkeypatch.setenv("AZURE_VOICELIVE_ENDPOINT", "https://r.services.ai.azure.com")

    def brain(provider: Provider, more: str = "") -> tuple[str, str | None, str | None]:
        found = config_of(f"provider: {provider}\n{more}").brain(provider)
        return found.url, found.model, found.api_version

    host = "wss://r.openai.azure.com"
    assert brain("azure") == (host, "from-env", None), "the version is for the preview API alone"
    assert brain("azure_preview") == (host, "from-env", PREVIEW)
    assert brain("openai") == ("wss://api.openai.com/v1", "gpt-realtime-mini", None)
    assert brain("voice_live")[0] == "wss://r.services.ai.azure.com"
    assert brain("azure", "azure: {deployment: mine}")[1] == "mine", "the file comes first"
    assert brain("openai", "openai: {model: mine}")[1] == "mine"


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "not an address")
    (line,) = problems_of("provider: azure\nazure: {deployment: rt}")
    assert line == (
        "config.yaml:2: azure.endpoint: AZURE_OPENAI_ENDPOINT: expected an address such as https://NAME.openai.azure.com"
    )


# --- settings that only some dialects have ---------------------------------------------------------------------------

VOICE_LIVE = "provider: voice_live\nvoice_live: {endpoint: 'https://r.services.ai.azure.com'}\n"
AZURE_PREVIEW = (
    "provider: azure_preview\n"
    f"azure: {{endpoint: 'https://r.openai.azure.com', deployment: rt, api_version: {PREVIEW}}}\n"
)
OPENAI = "provider: openai\n"


NO_AZURE_VAD = "only Azure Voice Live has azure_semantic_vad: provider openai has server_vad and semantic_vad"


def foreign(what: str, provider: str) -> str:
    return f"only {what} has it, which provider {provider} does not speak: remove this line"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (OPENAI + "session: {temperature: 0.8}", "temperature", foreign("the preview dialect", "openai")),
        (
            AZURE_PREVIEW + "session: {reasoning_effort: low}",
            "reasoning_effort",
            foreign("the GA dialect", "azure_preview"),
        ),
        (VOICE_LIVE + "session: {tracing: true}", "tracing", foreign("the GA dialect", "voice_live")),
        (AZURE_PREVIEW + "session: {truncation: auto}", "truncation", foreign("the GA dialect", "azure_preview")),
        (
            AZURE_PREVIEW + "session: {parallel_tool_calls: false}",
            "parallel_tool_calls",
            foreign("the GA dialect", "azure_preview"),
        ),
        (OPENAI + "session: {echo_cancellation: true}", "echo_cancellation", foreign("Azure Voice Live", "openai")),
        (
            AZURE_PREVIEW + "session: {temperature: 0.3}",
            "temperature",
            "must be from 0.6 to 1.2 with provider azure_preview",
        ),
        (VOICE_LIVE + "session: {temperature: 1.1}", "temperature", "must be from 0 to 1 with provider voice_live"),
        (OPENAI + "session: {turn_detection: azure_semantic_vad}", "turn_detection", NO_AZURE_VAD),
        (
            VOICE_LIVE + "session: {turn_detection: azure_semantic_vad}\npersonas: {x: {provider: openai}}",
            "turn_detection",
            NO_AZURE_VAD,
        ),
        (
            OPENAI + "session: {noise_reduction: azure_deep_noise_suppression}",
            "noise_reduction",
            "only Azure Voice Live has this filter: provider openai has near_field and far_field",
        ),
        (
            OPENAI + "session: {voice: en-US-AvaNeural}",
            "voice",
            "a voice of Azure Speech, which provider openai does not have: try marin or alloy",
        ),
        (
            VOICE_LIVE + "session: {speed: 1.2}",
            "speed",
            "Voice Live has it for voices of Azure Speech only, such as en-US-AvaNeural",
        ),
    ],
)
def test_settings_of_another_dialect_are_refused_by_name(text: str, key: str, problem: str) -> None:
    (line,) = problems_of(text)
    assert line.split(": ", 1)[1] == f"session.{key}: {problem}"
    assert line.startswith(("config.yaml:2", "config.yaml:3")), "with its line"


@pytest.mark.parametrize(
    "text",
    [
        AZURE_PREVIEW + "session: {temperature: 0.8, speed: 1.2, turn_detection: semantic_vad}",
        VOICE_LIVE + "session: {temperature: 0, echo_cancellation: true, turn_detection: azure_semantic_vad}",
        VOICE_LIVE + "session: {voice: de-DE-KatjaNeural, speed: 1.2, noise_reduction: azure_deep_noise_suppression}",
        OPENAI + "session: {reasoning_effort: low, tracing: true, truncation: retention_ratio, retention_ratio: 0.5}",
        "provider: custom\ncustom: {url: 'wss://h/v1', dialect: preview}\nsession: {temperature: 0.8}",
    ],
)
def test_settings_of_the_own_dialect_are_fine(text: str) -> None:
    config_of(text)


@given(st.text() | st.from_regex(r"(https|wss|ftp)?(://)?[a-z.\[\]:0-9]{0,12}(/[a-z1/]{0,9})?(\?[a-z=&-]{0,9})?"))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = read_portal_address(text)
    assert address is None or (address.host and address.origin.startswith(("ws://", "wss://")))


# --- the embedded server ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stt: {engine: wyoming}", "local.stt.uri: engine wyoming needs this: tcp://HOST:PORT"),
        ("stt: {engine: vosk}", "local.stt.model: engine vosk needs this: the folder of a model"),
        ("stt: {engine: faster_whisper}", "local.stt.model: engine faster_whisper needs this"),
        ("stt: {engine: wyoming, uri: 'http://h:1'}", "local.stt.uri: "),
        ("brain: chat\n  chat: {model: m}", "local.chat.url: brain: chat needs this, such as http://127.0.0.1"),
        ("brain: chat\n  chat: {url: 'http://h/v1'}", "local.chat.model: brain: chat needs this"),
        ("chat: {api_key_env: sk-12345678901234567890}", "local.chat.api_key_env: expected the NAME"),
    ],
)
def test_what_the_embedded_server_needs(text: str, problem: str) -> None:
    (line,) = problems_of(f"local:\n  {text}\n")
    assert problem in line


def test_a_language_model_hears_what_its_recogniser_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = "local:\n  brain: chat\n  chat: {url: 'http://h/v1', model: m, api_key_env: LLM_KEY}\n"
    config = config_of(text)
    assert any("pocketsphinx hears only" in str(warning) for warning in config.warnings)
    assert config.secret_of_chat() is None
    monkeypatch.setenv("LLM_KEY", "k" * 20)
    secret = config.secret_of_chat()
    assert secret is not None
    assert secret.get_secret_value() == "k" * 20
    (tmp_path / "key").write_text("")
    broken = config_of(f"local:\n  chat: {{api_key_file: '{tmp_path / 'key'}'}}\n")
    with pytest.raises(ConfigError, match=r"local\.chat\.api_key_file"):
        broken.secret_of_chat()

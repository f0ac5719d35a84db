"""The sections of the config file that say which brains there are, and the personas that they can be."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from assistant.config.base import Block
from assistant.config.values import AsTuple, EndpointUrl, EnvName, FilePath, SocketUrl, Switch, WyomingUri

Provider: TypeAlias = Literal["local", "openai", "azure", "azure_preview", "voice_live", "custom"]

_Credential: TypeAlias = Literal["default", "managed_identity", "workload_identity", "environment", "cli"]


class LocalVoice(Block):
    """What speaks for the embedded server."""

    engine: Literal["espeak", "pico", "piper", "wyoming"] = Field(
        default="espeak", description="What speaks; espeak-ng also speaks when another one fails"
    )
    uri: WyomingUri | None = Field(default=None, description="Address of the server (engine: wyoming)")
    model: FilePath | None = Field(default=None, description="Voice file (engine: piper)")
    voice: str | None = Field(
        default=None, min_length=1, description="Name of the voice (engines pico and wyoming); null = by language"
    )


class LocalStt(Block):
    """What hears for the embedded server."""

    engine: Literal["pocketsphinx", "wyoming", "vosk", "faster_whisper"] = Field(
        default="pocketsphinx", description="What hears; pocketsphinx knows English and the tools' sentences only"
    )
    uri: WyomingUri | None = Field(default=None, description="Address of the server (engine: wyoming)")
    model: FilePath | None = Field(default=None, description="Folder of the model (engines vosk and faster_whisper)")
    noise_suppression: Switch = Field(
        default=True, description="Suppress noise for a second look at what was not understood (engine: pocketsphinx)"
    )


class LocalChat(Block):
    """The language model of the embedded server (brain: chat)."""

    url: EndpointUrl | None = Field(default=None, description="Address up to, not including, /chat/completions")
    model: str | None = Field(default=None, min_length=1, description="Name of the model")
    api_key_env: EnvName | None = Field(
        default=None, description="Environment variable that holds the key; null = none"
    )
    api_key_file: FilePath | None = Field(
        default=None, description="File that holds the key; comes before the variable"
    )
    patience_s: float = Field(
        default=15.0, ge=1, le=300, description="How long the model may be silent before the sentences answer, s"
    )


class LocalServer(Block):
    """The embedded server (provider: local)."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the embedded server listens on")
    port: int = Field(default=0, ge=0, le=65535, description="Port of the embedded server; 0 = any free one")
    url: SocketUrl | None = Field(
        default=None, description="A server that already runs; null = start one with the daemon"
    )
    brain: Literal["sentences", "chat"] = Field(
        default="sentences", description="What answers: the sentences of the tools, or a language model"
    )
    chat: LocalChat = Field(default_factory=LocalChat, description="The language model (brain: chat)")
    stt: LocalStt = Field(default_factory=LocalStt, description="What hears")
    voice: str | None = Field(
        default=None, min_length=1, description="espeak-ng voice of the answers; null = that of the language"
    )
    speed_wpm: int = Field(default=165, ge=80, le=400, description="Words per minute of that voice")
    tts: LocalVoice = Field(default_factory=LocalVoice, description="What speaks, if not espeak-ng")
    strictness: float = Field(
        default=1e-10, gt=0, le=1, description="Weight of 'none of the known sentences'; more = stricter"
    )


class OpenAI(Block):
    """The cloud brain of OpenAI (provider: openai)."""

    model: str | None = Field(
        default=None, min_length=1, description="Name of the realtime model; null = $OPENAI_MODEL, else gpt-realtime"
    )
    url: SocketUrl = Field(default="wss://api.openai.com/v1", description="Address of the service")
    api_key_env: EnvName | None = Field(default="OPENAI_API_KEY", description="Environment variable that holds the key")
    api_key_file: FilePath | None = Field(
        default=None, description="File that holds the key; comes before the variable"
    )


class _MicrosoftBlock(Block):
    """How to sign in to a service of Microsoft's."""

    api_key_file: FilePath | None = Field(
        default=None, description="File that holds the key; comes before the variable"
    )
    credential: _Credential | None = Field(
        default=None, description="Keyless sign-in with Microsoft Entra ID; null = the key, or default if there is none"
    )
    client_id: str | None = Field(
        default=None, min_length=1, description="Client id of a user-assigned identity; null = the machine's own"
    )


class Azure(_MicrosoftBlock):
    """The cloud brain of Azure OpenAI (providers azure and azure_preview)."""

    endpoint: EndpointUrl | None = Field(
        default=None, description="Address of the resource as in the portal; null = $AZURE_OPENAI_ENDPOINT"
    )
    deployment: str | None = Field(
        default=None, min_length=1, description="Deployment of a realtime model; null = $AZURE_OPENAI_DEPLOYMENT_NAME"
    )
    api_version: str | None = Field(
        default=None, min_length=1, description="Version of the preview API only; null = $OPENAI_API_VERSION"
    )
    api_key_env: EnvName | None = Field(
        default="AZURE_OPENAI_API_KEY", description="Environment variable that holds the key"
    )
    scope: str = Field(
        default="https://cognitiveservices.azure.com/.default", min_length=1, description="What a token is asked for"
    )


class VoiceLive(_MicrosoftBlock):
    """The cloud brain of Azure Voice Live (provider: voice_live)."""

    endpoint: EndpointUrl | None = Field(
        default=None, description="Address of the Foundry resource; null = $AZURE_VOICELIVE_ENDPOINT"
    )
    model: str | None = Field(default=None, min_length=1, description="Name of the model; null = gpt-realtime")
    api_version: str | None = Field(default=None, min_length=1, description="Version of the API; null = 2025-10-01")
    api_key_env: EnvName | None = Field(
        default="AZURE_VOICELIVE_API_KEY", description="Environment variable that holds the key"
    )
    scope: str = Field(default="https://ai.azure.com/.default", min_length=1, description="What a token is asked for")


class Custom(Block):
    """Any other server that speaks the same protocol (provider: custom)."""

    url: SocketUrl | None = Field(default=None, description="Address up to, not including, /realtime")
    model: str | None = Field(default=None, min_length=1, description="Model to ask for; null = the server decides")
    dialect: Literal["ga", "preview", "voice_live"] = Field(default="ga", description="Dialect that the server speaks")
    api_key_env: EnvName | None = Field(
        default=None, description="Environment variable that holds the key; null = none"
    )
    api_key_file: FilePath | None = Field(
        default=None, description="File that holds the key; comes before the variable"
    )


class Persona(Block):
    """Somebody else that the assistant can be. What is null is as in the sections provider and session."""

    instructions: str | None = Field(default=None, min_length=1, description="Who the assistant is and how it answers")
    voice: str | None = Field(default=None, min_length=1, description="Voice of the answers")
    provider: Provider | None = Field(default=None, description="Which brain answers")
    tools: Annotated[tuple[str, ...], AsTuple] | None = Field(
        default=None, description="Tools that it may use, by the name of the tool or the plugin; null = all"
    )

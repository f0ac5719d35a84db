"""Which brains a configuration uses, where they are, and which settings they understand.

What the file leaves open is filled in from the address itself (``?deployment=``, ``?api-version=``) and then from the
environment variables that the services' quickstarts use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from assistant.config.addresses import OPENAI_HOST, PortalAddress, is_azure, read_portal_address
from assistant.config.brain_sections import Azure, VoiceLive
from assistant.config.document import KeyPath
from assistant.config.sections import Settings

Finding: TypeAlias = tuple[KeyPath, str]
"""The key to change, and a sentence."""

DialectName: TypeAlias = Literal["ga", "preview", "voice_live"]

DEFAULT_OPENAI_MODEL: Final = "gpt-realtime"
DEFAULT_VOICE_LIVE_MODEL: Final = "gpt-realtime"
DEFAULT_VOICE_LIVE_VERSION: Final = "2025-10-01"

SECTION_OF: Final = {"azure_preview": "azure"}
"""Providers whose settings are in the section of another: the same resource, another API."""


@dataclass(frozen=True, slots=True)
class Brain:
    """A provider as it will be used: the file, its address and the environment joined.

    url: the origin for the Azure providers (``wss://host``), else everything before ``/realtime``.
    model: the model, or for Azure the name of the deployment; None lets the server decide.
    """

    provider: str
    dialect: DialectName
    url: str = ""
    model: str | None = None
    api_version: str | None = None


def section_of(provider: str) -> str:
    return SECTION_OF.get(provider, provider)


def providers_in_use(settings: Settings) -> tuple[str, ...]:
    """The provider, those of the personas, and the fallback, each once."""
    personas = (settings.personas[name].provider for name in sorted(settings.personas))
    others = [name for name in personas if name is not None]
    if settings.session.fallback == "local" or settings.session.local_first:
        others.append("local")
    return tuple(dict.fromkeys((settings.provider, *others)))


def resolve(settings: Settings, provider: str) -> tuple[Brain, list[Finding]]:
    """The brain, and what is wrong with it (then it cannot be used)."""
    match provider:
        case "local":
            return Brain(provider, "ga", settings.local.url or ""), []
        case "openai":
            return _openai(settings)
        case "custom":
            custom = settings.custom
            missing = [] if custom.url else [(("custom", "url"), "provider custom needs this: such as wss://host/v1")]
            return Brain(provider, custom.dialect, custom.url or "", custom.model), list(missing)
        case "voice_live":
            return _Azure(settings.voice_live, provider).brain()
        case _:
            return _Azure(settings.azure, provider).brain()


def _openai(settings: Settings) -> tuple[Brain, list[Finding]]:
    section = settings.openai
    host = urlsplit(section.url).hostname or ""
    findings: list[Finding] = []
    if is_azure(host):
        other = "voice_live" if "voice-live" in section.url else "azure"
        findings.append((("openai", "url"), f"this is an Azure address: set provider: {other} and {other}.endpoint"))
    model = section.model or os.environ.get("OPENAI_MODEL") or DEFAULT_OPENAI_MODEL
    return Brain("openai", "ga", section.url, model), findings


class _Azure:
    """The three APIs of an Azure resource, and the many ways to mix them up."""

    def __init__(self, section: Azure | VoiceLive, provider: str) -> None:
        self.provider = provider
        self.name = section_of(provider)
        self.section = section
        self.findings: list[Finding] = []

    def _wrong(self, key: str, message: str) -> None:
        self.findings.append(((self.name, key), message))

    def brain(self) -> tuple[Brain, list[Finding]]:
        address = self._address()
        model = self._model(address)
        version = self._version(address)
        dialect: dict[str, DialectName] = {"azure_preview": "preview", "voice_live": "voice_live"}
        origin = address.origin if address else ""
        return Brain(self.provider, dialect.get(self.provider, "ga"), origin, model, version), self.findings

    def _address(self) -> PortalAddress | None:
        variable = "AZURE_VOICELIVE_ENDPOINT" if self.name == "voice_live" else "AZURE_OPENAI_ENDPOINT"
        text, source = self.section.endpoint, ""
        if text is None:
            text, source = os.environ.get(variable), f"{variable}: "
        if not text:
            example = "https://NAME.services.ai.azure.com" if self.name == "voice_live" else _EXAMPLE
            self._wrong("endpoint", f"provider {self.provider} needs this: {example}")
            return None
        address = read_portal_address(text)
        if address is None:
            self._wrong("endpoint", f"{source}expected an address such as {_EXAMPLE}")
            return None
        if problem := self._misfit(address):
            self._wrong("endpoint", f"{source}{problem}")
        return address

    def _misfit(self, address: PortalAddress) -> str | None:
        """Why this address is none for this provider."""
        if address.host == OPENAI_HOST:
            return "this is OpenAI's own address: set provider: openai and remove this line"
        if address.path:
            return f"{address.path} is no path of a realtime API: write the address without it ({address.origin})"
        if address.api is not None and address.api != self.provider:
            names = {"azure": "GA", "azure_preview": "preview", "voice_live": "Voice Live"}
            return (
                f"this is the address of the {names[address.api]} API: set provider: {address.api}, "
                "or write the address without its path"
            )
        if self.provider == "voice_live" and address.host.endswith(".openai.azure.com"):
            return "Voice Live is at https://NAME.services.ai.azure.com (or .cognitiveservices.azure.com)"
        return None

    def _model(self, address: PortalAddress | None) -> str | None:
        in_address = address.deployment if address else None
        if isinstance(self.section, VoiceLive):
            return self.section.model or in_address or DEFAULT_VOICE_LIVE_MODEL
        given = self.section.deployment
        if given and in_address and given != in_address:
            self._wrong("deployment", f"azure.endpoint names another deployment ({in_address}): remove one of them")
        model = given or in_address or os.environ.get("AZURE_OPENAI_DEPLOYMENT_NAME")
        if not model:
            self._wrong("deployment", f"provider {self.provider} needs this: the name you gave to the deployment")
        return model

    def _version(self, address: PortalAddress | None) -> str | None:
        given, in_address = self.section.api_version, address.api_version if address else None
        if self.provider == "azure":
            # A version with the GA API ends in a refusal that looks like a wrong key.
            if given or in_address:
                key = "api_version" if given else "endpoint"
                self._wrong(key, "the GA API takes no api-version: remove it, or set provider: azure_preview")
            return None
        if given and in_address and given != in_address:
            self._wrong("api_version", f"{self.name}.endpoint names another one ({in_address}): remove one of them")
        version = given or in_address
        if self.provider == "voice_live":
            return version or DEFAULT_VOICE_LIVE_VERSION
        version = version or os.environ.get("OPENAI_API_VERSION")
        if not version:
            self._wrong("api_version", "provider azure_preview needs this: such as 2025-04-01-preview")
        elif not re.fullmatch(r"\d{4}-\d\d-\d\d(-preview)?", version):
            self._wrong("api_version", f"expected a date such as 2025-04-01-preview, got {version[:20]!r}")
        return version


_EXAMPLE: Final = "https://NAME.openai.azure.com"

# --- which settings a dialect has -------------------------------------------------------------------------------------

_ONLY: Final[tuple[tuple[str, tuple[DialectName, ...], str], ...]] = (
    ("temperature", ("preview", "voice_live"), "the preview dialect"),
    ("reasoning_effort", ("ga",), "the GA dialect"),
    ("parallel_tool_calls", ("ga",), "the GA dialect"),
    ("truncation", ("ga",), "the GA dialect"),
    ("tracing", ("ga",), "the GA dialect"),
    ("echo_cancellation", ("voice_live",), "Azure Voice Live"),
)
"""Settings of the session, the dialects that have them, and what these are called."""


def foreign_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that the provider's dialect does not have. Personas with another provider simply do without them."""
    session, provider = settings.session, settings.provider
    dialect = resolve(settings, provider)[0].dialect
    for name, dialects, called in _ONLY:
        if getattr(session, name) != type(session).model_fields[name].default and dialect not in dialects:
            message = f"only {called} has it, which provider {provider} does not speak: remove this line"
            yield ("session", name), message
    if session.noise_reduction == "azure_deep_noise_suppression" and dialect != "voice_live":
        message = f"only Azure Voice Live has this filter: provider {provider} has near_field and far_field"
        yield ("session", "noise_reduction"), message
    low, high = (0, 1) if dialect == "voice_live" else (0.6, 1.2)
    if session.temperature is not None and dialect != "ga" and not low <= session.temperature <= high:
        yield ("session", "temperature"), f"must be from {low} to {high} with provider {provider}"
    yield from _voices(settings)
    for name in providers_in_use(settings):
        if session.turn_detection == "azure_semantic_vad" and resolve(settings, name)[0].dialect != "voice_live":
            message = f"only Azure Voice Live has azure_semantic_vad: provider {name} has server_vad and semantic_vad"
            yield ("session", "turn_detection"), message


def _voices(settings: Settings) -> Iterator[Finding]:
    """A voice of Azure Speech where there is none, and a speed where the voice has none."""
    session = settings.session
    places: list[tuple[KeyPath, str | None, str]] = [(("session", "voice"), session.voice, settings.provider)]
    for name, persona in settings.personas.items():
        if persona.voice is not None:
            places.append((("personas", name, "voice"), persona.voice, persona.provider or settings.provider))
    for path, voice, provider in places:
        azure = voice is not None and re.match(r"[a-z]{2,3}-[A-Z]{2}-", voice) is not None
        if azure and provider != "local" and resolve(settings, provider)[0].dialect != "voice_live":
            yield path, f"a voice of Azure Speech, which provider {provider} does not have: try marin or alloy"
        if not azure and provider == "voice_live" and path[0] == "session" and session.speed != 1.0:
            yield ("session", "speed"), "Voice Live has it for voices of Azure Speech only, such as en-US-AvaNeural"

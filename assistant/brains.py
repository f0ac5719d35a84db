"""Where the session of each provider is opened, and as whom.

Keys are looked up for each session, so that one can be renewed while the daemon runs. Whether a service of Microsoft's
gets a key or a token is decided once, at start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from assistant.config import Config, providers_in_use, section_of
from assistant.config.values import NO_DEVICE, WAV_PREFIX
from assistant.errors import AuthenticationError, ConfigError
from assistant.local.process import LocalServerProcess
from assistant.realtime import providers
from assistant.realtime.auth import CredentialKind, TokenSource, entra
from assistant.realtime.dialects import Dialect
from assistant.realtime.providers import Auth
from assistant.realtime.session import Endpoint

log = logging.getLogger(__name__)

EndpointSource: TypeAlias = Callable[[], Awaitable[Endpoint]]

MICROSOFT: Final = ("azure", "azure_preview", "voice_live")


class Brains:
    """The providers that a configuration uses. Owns their tokens: :meth:`run` keeps them fresh.

    local: the embedded server if it is our own child.
    """

    def __init__(self, config: Config, local: LocalServerProcess | None) -> None:
        self._config = config
        self._local = local
        self._tokens: dict[str, TokenSource] = {}
        for provider in providers_in_use(config):
            if provider in MICROSOFT:
                self._choose_sign_in(provider)

    def _choose_sign_in(self, provider: str) -> None:
        section = getattr(self._config, section_of(provider))
        if section.credential is None and self._has_key(provider):
            log.info("%s: signing in with an API key", provider)
            return
        kind: CredentialKind = section.credential or "default"
        log.info("%s: keyless sign-in with Microsoft Entra ID (credential: %s)", provider, kind)
        self._tokens[provider] = entra(kind, section.client_id, section.scope, provider)

    def _has_key(self, provider: str) -> bool:
        try:
            return self._config.secret_for(provider) is not None
        except ConfigError:
            return True  # one is named and cannot be read: that is said when a session needs it

    async def run(self) -> None:
        """Sign in, and stay signed in, until cancelled. Without keyless providers it returns at once."""
        async with asyncio.TaskGroup() as group:
            for provider, source in self._tokens.items():
                group.create_task(source.run(), name=f"token-{provider}")

    def endpoint(self, provider: str) -> EndpointSource:
        """How a new session of this provider finds its server. It is asked for each session."""

        async def find() -> Endpoint:
            brain = self._config.brain(provider)
            match provider:
                case "local":
                    if self._local is not None:
                        return providers.local(await self._local.address(), self._local.key, self._microphone())
                    return providers.local(brain.url, device=self._microphone())
                case "openai":
                    return providers.openai(brain.url, brain.model or "", self._key(provider))
                case "custom":
                    secret = self._config.secret_for(provider)
                    key = secret.get_secret_value() if secret else None
                    return providers.custom(brain.url, brain.model, key, Dialect(brain.dialect))
                case _:
                    auth = await self._auth(provider)
                    return providers.microsoft(provider, brain.url, brain.model or "", brain.api_version, auth)

        return find

    def _microphone(self) -> str | None:
        """The microphone of the config; a recording has no sound of its own."""
        name = self._config.audio.input.device
        return None if name is None or name == NO_DEVICE or name.startswith(WAV_PREFIX) else name

    async def _auth(self, provider: str) -> Auth:
        source = self._tokens.get(provider)
        if source is None:
            return providers.api_key(self._key(provider))
        return providers.bearer(await source.token(), source.reject)

    def _key(self, provider: str) -> str:
        secret = self._config.secret_for(provider)
        if secret is None:
            name = section_of(provider)
            variable = getattr(self._config, name).api_key_env
            where = f"set {variable}, or {name}.api_key_file" if variable else f"set {name}.api_key_file"
            raise AuthenticationError(f"{provider}: there is no key: {where} in the config")
        return secret.get_secret_value()

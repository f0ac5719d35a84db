"""The lights, blinds, heating and sensors of a Home Assistant, by the names that people use for them.

Settings (``plugins.home_assistant`` in config.yaml); docs/home-assistant.md is the guide::

    plugins:
      home_assistant:
        url: http://homeassistant.local:8123
        token_file: ~/.config/hearth/home-assistant-token   # or token_env, the NAME of an environment variable
        area: Kitchen            # where this speaker stands: "the lights" are those of this area
        read_back_s: 3           # how long a thing may take until it shows its new state
        verify_tls: true

Without ``url`` there are no tools. What can be told or asked is what Home Assistant exposes to its own Assist.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict

from assistant.plugin import BaseModel, Context, Field, Plugin

from . import vocabulary
from .control import Control
from .model import Area, House, Offline
from .names import find_area
from .tools import TOOLS

if TYPE_CHECKING:
    from .connection import Connection

CHECK_WAIT_S = 2.4
"""The self-check has 5 s, and may still ask over HTTP afterwards."""


class HomeAssistant(Plugin):
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")

        url: Annotated[str, Field(pattern=r"^(https?://[^\s/]+.*)?$")] = ""
        token_env: str = "HOME_ASSISTANT_TOKEN"
        token_file: Path | None = None
        area: str = ""
        read_back_s: Annotated[float, Field(ge=0, le=30)] = 3.0
        verify_tls: bool = True

    config: Config
    control: Control

    @classmethod
    def configured_tools(cls, config: Config) -> Iterable[Callable[..., Any]]:
        return TOOLS if config.url else ()

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.house = House()
        self.connection: Connection | None = None

    async def start(self) -> None:
        if not self.config.url:
            return
        from .connection import Connection  # its library is large: only for those who have a Home Assistant

        self.connection = Connection(
            self.config.url,
            self.token,
            self.house,
            on_things=self._tell_names,
            sleep=self.context.sleep,
            verify_tls=self.config.verify_tls,
            logger=self.context.logger,
        )
        self.control = Control(self.house, self.connection, self.config.read_back_s, lambda: self.area)
        self.context.spawn(self.connection.run(), "connection to Home Assistant")

    async def check(self) -> str | None:
        if self.connection is None:
            return None
        await self.connection.attempted(CHECK_WAIT_S)
        if self.connection.problem is not None:
            return f"Home Assistant: {await self.connection.diagnose()}"
        if self.config.area and self.area is None:
            known = ", ".join(area.name for area in self.house.areas) or "none"
            return f"plugins.home_assistant.area: there is no area {self.config.area}; there are: {known}"
        return None

    @property
    def area(self) -> Area | None:
        """Where the speaker stands."""
        return find_area(self.house.areas, self.config.area) if self.config.area else None

    def token(self) -> str:
        """The long-lived token. Raises Offline with one line that does not hold it."""
        if (path := self.config.token_file) is not None:
            try:
                token = path.expanduser().read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise Offline(f"plugins.home_assistant.token_file: {path} cannot be read ({reason})") from None
        else:
            token = os.environ.get(self.config.token_env, "").strip()
        if not token or not token.isprintable() or not token.isascii():
            place = f"the file {path}" if path is not None else f"the environment variable {self.config.token_env}"
            raise Offline(f"there is no token in {place}: make a long-lived one in your profile in Home Assistant")
        return token

    def _tell_names(self) -> None:
        for name, forms in vocabulary.lists(self.house.things, self.house.areas).items():
            self.context.entities(name, forms)

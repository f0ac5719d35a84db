"""How loud the assistant is: its voice, its alarms and its media apart, quiet hours, and the mute of the speaker.

Each of the three has a level in percent. What is set is the *effective* level::

    level ── muted: 0 ── quiet hours: at most their ``max`` ──> the mix          alarms are never muted or made quiet

"Louder" and "volume to forty percent" mean the voice and the media; with ``mixer`` they mean the system's mixer, so
that they move what a knob moves, and the three are parts of it. Levels survive a restart; the mixer keeps its own.

Settings (``plugins.volume`` in config.yaml)::

    plugins:
      volume:
        step: 10                 # how much "louder" is, in percent
        quiet_hours: {from: "22:00", to: "07:00", max: 30}    # null = none
        mixer: false             # use the system's mixer: PulseAudio, PipeWire (pactl) or ALSA (amixer)
        mixer_control: Master    # of ALSA
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Literal

from pydantic import ConfigDict, field_validator

from assistant.plugin import BaseModel, Context, Field, House, Plugin, ToolError, tool

from .mixer import Mixer, MixerError, find_mixer

Percent = Annotated[int, Field(ge=0, le=100)]
Which = Literal["assistant", "alarm", "media"]
Channel = Literal["answers", "alerts", "media"]

CHANNELS: dict[Which, Channel] = {"assistant": "answers", "alarm": "alerts", "media": "media"}
PLAIN: tuple[Which, ...] = ("assistant", "media")
"""What is meant where nothing is named: who wants the radio softer may still want to wake up tomorrow."""

SPOKEN = {"assistant": "(assistant|voice)", "alarm": "(alarm|timer)", "media": "media"}
NAMES: dict[Which | None, str] = {None: "", "assistant": "assistant ", "alarm": "alarm ", "media": "media "}

LOOK_S = 30.0
"""How often it is looked whether quiet hours begin or end."""


class QuietHours(BaseModel):
    """From a time of day to another, perhaps over midnight."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    begin: str = Field(alias="from")
    end: str = Field(alias="to")
    max: Percent = 30

    @field_validator("begin", "end")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        try:
            time.fromisoformat(text)
        except ValueError:
            raise ValueError(f'{text} is no time of day: write it as "22:00"') from None
        return text

    def include(self, now: datetime) -> bool:
        """Whether it is to be quiet now. The end is no part of it; from a time to the same time is the whole day."""
        begin, end, at = time.fromisoformat(self.begin), time.fromisoformat(self.end), now.time()
        return begin <= at < end if begin < end else at >= begin or at < end


class Volume(Plugin):
    class Config(BaseModel):
        step: Annotated[int, Field(ge=1, le=50)] = 10
        quiet_hours: QuietHours | None = None
        mixer: bool = False
        mixer_control: str = Field(default="Master", pattern=r"^[^\s'][^']{0,60}$")

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._levels: dict[Which, int] = dict.fromkeys(CHANNELS, 100)
        self._muted = False
        self._mixer: Mixer | None = None

    async def start(self) -> None:
        await self.context.in_thread(self._load)
        if self.config.mixer:
            self._mixer = find_mixer(self.config.mixer_control)
        self._apply()
        if self.config.quiet_hours is not None:
            self.context.spawn(self._watch(), "watching the quiet hours")

    async def check(self) -> str | None:
        if not self.config.mixer:
            return None
        if self._mixer is None:
            return "no mixer was found: install pulseaudio-utils or alsa-utils, or set mixer: false"
        try:
            await self.context.in_thread(self._mixer.level)
        except MixerError as error:
            return str(error)
        return None

    # --- tools --------------------------------------------------------------------------------------------------------

    @tool(
        sentences=[
            "[set|turn] [the] volume [to] {percent} [percent]",
            "[set|turn] [the] {which} volume [to] {percent} [percent]",
            "[set|turn] the volume of the {which} to {percent} [percent]",
        ],
        lists={"which": SPOKEN},
    )
    async def set_volume(self, percent: Percent, which: Which | None = None) -> dict[str, object]:
        """Set how loud it is. For music or radio of another player, use that player's tool.

        percent: 0 to 100
        which: assistant (its voice), alarm or media; leave out unless the user named one
        """
        return await self._set(percent, which)

    @tool(
        sentences=[
            "[make it|be|speak] louder",
            "turn (it|the volume|the sound) up",
            "turn up the (volume|sound)",
            "volume up",
            "(turn|make) the {which} (up|louder)",
        ],
        lists={"which": SPOKEN},
    )
    async def louder(self, which: Which | None = None) -> dict[str, object]:
        """Make it a little louder.

        which: assistant (its voice), alarm or media; leave out unless the user named one
        """
        return await self._set(await self._level(which) + self.config.step, which)

    @tool(
        sentences=[
            "[make it|be|speak] (quieter|softer)",
            "turn (it|the volume|the sound) down",
            "turn down the (volume|sound)",
            "volume down",
            "(turn|make) the {which} (down|quieter|softer)",
        ],
        lists={"which": SPOKEN},
    )
    async def quieter(self, which: Which | None = None) -> dict[str, object]:
        """Make it a little quieter.

        which: assistant (its voice), alarm or media; leave out unless the user named one
        """
        return await self._set(await self._level(which) - self.config.step, which)

    @tool(
        sentences=[
            "(what is|what's|how loud is) the volume",
            "(what is|what's) the {which} volume",
            "how loud (are you|is it)",
        ],
        lists={"which": SPOKEN},
    )
    async def tell_volume(self, which: Which | None = None) -> dict[str, object]:
        """Tell how loud it is.

        which: assistant (its voice), alarm or media; leave out unless the user named one
        """
        percent = await self._level(which)
        say = f"The {NAMES[which]}volume is {percent} percent."
        if self._quiet and which != "alarm":
            say += f" {self._until()}"
        return {"say": say, "percent": percent, "muted": self._muted}

    @tool(sentences=["mute [the] (speaker|sound|volume)", "turn (the|your) (speaker|sound) off"])
    async def mute_speaker(self) -> str:
        """Make the speaker silent until it is unmuted or a volume is set. Alarms still ring."""
        await self._mute(True)
        return "The speaker is muted."

    @tool(sentences=["unmute [the] [speaker|sound|volume]", "turn (the|your) (speaker|sound) on"])
    async def unmute_speaker(self) -> str:
        """Make the speaker sound again after it was muted."""
        await self._mute(False)
        return "I am back."

    # --- levels -------------------------------------------------------------------------------------------------------

    async def _set(self, percent: int, which: Which | None) -> dict[str, object]:
        percent = min(max(percent, 0), 100)
        if which is None and self._mixer is not None:
            await self._through_mixer(self._mixer, percent)
        else:
            self._levels.update(dict.fromkeys(PLAIN if which is None else (which,), percent))
        if which != "alarm":
            self._muted = False
        await self._keep()
        say = f"The {NAMES[which]}volume is {percent} percent."
        if which != "alarm" and (self._mixer is None or which is not None) and self._capped(percent):
            say += f" {self._until()}"
        return {"say": say, "percent": percent}

    async def _level(self, which: Which | None) -> int:
        if which is None and self._mixer is not None:
            return await self._through_mixer(self._mixer)
        return self._levels[which or "assistant"]

    async def _mute(self, muted: bool) -> None:
        self._muted = muted
        await self._keep()

    async def _through_mixer(self, mixer: Mixer, percent: int | None = None) -> int:
        """Its level; set before, if one is given. Raises ToolError."""
        try:
            if percent is not None:
                await self.context.in_thread(lambda: mixer.set(percent))
            return await self.context.in_thread(mixer.level)
        except MixerError as error:
            raise ToolError(str(error)) from error

    async def _keep(self) -> None:
        self._apply()
        await self.context.in_thread(self._save)

    def _apply(self) -> None:
        """Tell the house of every level that is not so already."""
        house = self._house
        if house is None:
            return
        now = house.status()["volumes"]
        for which, channel in CHANNELS.items():
            if now[channel] != (percent := self._effective(which)):
                house.set_volume(percent, channel)

    def _effective(self, which: Which) -> int:
        level = self._levels[which]
        if which == "alarm":
            return level
        if self._muted:
            return 0
        hours = self.config.quiet_hours
        return min(level, hours.max) if hours is not None and self._quiet else level

    @property
    def _house(self) -> House | None:
        return self.context.house

    # --- quiet hours --------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self.context.sleep(LOOK_S)
            self._apply()

    @property
    def _quiet(self) -> bool:
        hours = self.config.quiet_hours
        return hours is not None and hours.include(self.context.now())

    def _capped(self, percent: int) -> bool:
        hours = self.config.quiet_hours
        return hours is not None and self._quiet and percent > hours.max

    def _until(self) -> str:
        hours = self.config.quiet_hours
        assert hours is not None
        return f"Until {hours.end} I keep to {hours.max} percent."

    # --- memory: on threads -------------------------------------------------------------------------------------------

    def _load(self) -> None:
        with self.context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS level (which TEXT PRIMARY KEY, percent INTEGER NOT NULL)")
            kept = {row["which"]: row["percent"] for row in db.execute("SELECT which, percent FROM level")}
        self._muted = bool(kept.get("muted", 0))
        self._levels.update({which: kept[which] for which in CHANNELS if which in kept})

    def _save(self) -> None:
        rows = [*self._levels.items(), ("muted", int(self._muted))]
        with self.context.database() as db:
            db.executemany("INSERT OR REPLACE INTO level VALUES (?, ?)", rows)

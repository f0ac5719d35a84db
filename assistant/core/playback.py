"""What the speaker is given to say, and what has become of it. PURE.

An item of an answer plays from its first audio until the speaker reports how much of it was heard: by itself, or after
it was told to stop. While somebody seems to speak into an answer it is *ducked*; while somebody may have interrupted
it, it is *held*, and can go on where it was. Methods give commands for the shell.
"""

from __future__ import annotations

from dataclasses import dataclass

from assistant.core import commands as do
from assistant.core.commands import Command, Phrase
from assistant.types import SPEAKER_RATE, ItemId, Milliseconds, TurnId, samples_to_ms


@dataclass(slots=True)
class PlayingItem:
    """A piece of an answer that the speaker has, or has had until it was told to stop."""

    session: int
    turn: TurnId
    received_bytes: int = 0
    finished: bool = False

    @property
    def received_ms(self) -> Milliseconds:
        return samples_to_ms(self.received_bytes // 2, SPEAKER_RATE)


class Playback:
    """Owns what is known of the speaker: the answer, item by item, and the fixed sentence that is being said."""

    def __init__(self) -> None:
        self._playing: dict[ItemId, PlayingItem] = {}
        self._stopping: dict[ItemId, PlayingItem] = {}  # how much was heard is still to be reported
        self._phrase: ItemId | None = None
        self._phrases = 0
        self._ducked = 0.0  # dB
        self.held = False

    @property
    def answering(self) -> bool:
        """A part of an answer waits, or is being heard."""
        return bool(self._playing)

    @property
    def received_s(self) -> float:
        """Length of what was received of the items that are not over: no more than that is still to be heard."""
        return sum(item.received_ms for item in self._playing.values()) / 1000

    # --- the answer -------------------------------------------------------------------------------------------------

    def takes(self, item: ItemId) -> bool:
        """Whether audio of this item may still be played."""
        return item not in self._stopping

    def play(self, item: ItemId, pcm: bytes, session: int, turn: TurnId) -> list[Command]:
        playing = self._playing.setdefault(item, PlayingItem(session, turn))
        playing.received_bytes += len(pcm)
        return [do.Play(item, pcm)]

    def finish(self, item: ItemId) -> list[Command]:
        """No more audio comes for it. Ignored if it does not play, or was told so already."""
        playing = self._playing.get(item)
        if playing is None or playing.finished:
            return []
        playing.finished = True
        return [do.FinishPlayback(item)]

    def finish_all(self) -> list[Command]:
        """What has arrived is heard to its end."""
        return [command for item in self._playing for command in self.finish(item)]

    def stop(self) -> list[Command]:
        """Silence the answer; the speaker will say how much of it was heard."""
        if not self._playing:
            return self.resume()
        self.held = False
        self._stopping |= self._playing
        self._playing = {}
        return [do.StopPlayback()]

    def over(self, item: ItemId) -> PlayingItem | None:
        """The speaker says that this is over; None if it was no part of an answer."""
        if item == self._phrase:
            self._phrase = None
            return None
        return self._playing.pop(item, None) or self._stopping.pop(item, None)

    # --- somebody speaks into it, perhaps ---------------------------------------------------------------------------

    def duck(self, db: float) -> list[Command]:
        """Make the answer softer by ``db``; 0 for as it was."""
        if db == self._ducked:
            return []
        self._ducked = db
        return [do.Duck(db)]

    def hold(self) -> list[Command]:
        """Be silent at once, and keep the rest of the answer."""
        self.held = True
        return [do.HoldPlayback()]

    def resume(self) -> list[Command]:
        """Go on where the answer was held."""
        if not self.held:
            return []
        self.held = False
        return [do.ResumePlayback()]

    # --- fixed sentences --------------------------------------------------------------------------------------------

    def say(self, phrase: Phrase) -> list[Command]:
        self._phrases += 1
        self._phrase = ItemId(f"phrase-{self._phrases}")
        return [do.SayPhrase(self._phrase, phrase)]

    def hush(self) -> list[Command]:
        """Nobody is talked over by a fixed sentence."""
        if self._phrase is None:
            return []
        self._phrase = None
        return [do.StopPlayback()]

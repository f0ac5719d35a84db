"""What belongs to one turn and dies with it. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from assistant.types import CallId, TurnId


class Input(Enum):
    """How far the user's part of the turn has come."""

    NONE = "none"
    SPEAKING = "speaking"  # the uplink is open
    COMPLETE = "complete"


@dataclass(slots=True)
class Turn:
    """What belongs to one turn and dies with it."""

    id: TurnId
    input: Input = Input.NONE
    text: str | None = None  # a written request
    announcement: str | None = None  # said to the room; nobody asked, and nobody answers
    speech_stopped: bool = False  # by local endpointing, while the server's turn detection is still awaited
    acted: bool = False  # something was heard or done: the turn must not be replayed
    calls: set[CallId] = field(default_factory=set)  # running
    seen_calls: set[CallId] = field(default_factory=set)
    needs_create: bool = False  # tool calls were answered, the model was not asked to go on
    rounds: int = 0
    ending: bool = False  # the model has closed the conversation
    heard: str = ""  # what the server's transcription made of the utterance
    answer: str = ""
    losses: int = 0
    retry_until: float | None = None

    @property
    def spoken(self) -> bool:
        """Whether the user speaks it: neither written nor an announcement."""
        return self.text is None and self.announcement is None

"""What can be set about a conversation, and what is fixed: states, choices, times and sentences. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from assistant.core.commands import Phrase
from assistant.core.events import Failure
from assistant.core.personas import Persona


class State(Enum):
    IDLE = "idle"
    LISTENING = "listening"
    THINKING = "thinking"
    SPEAKING = "speaking"
    FOLLOW_UP = "follow_up"


class Link(Enum):
    """The realtime session as the conversation sees it."""

    DOWN = "down"
    CONNECTING = "connecting"
    READY = "ready"


class BargeIn(Enum):
    """What may interrupt a spoken answer."""

    OFF = "off"
    WAKE_WORD = "wake_word"
    SPEECH = "speech"  # any speech, and the wake word


class FollowUp(Enum):
    """When the user may answer without a wake word."""

    NEVER = "never"
    AFTER_QUESTION = "after_question"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class ConversationSettings:
    """Times are in seconds unless the name says milliseconds."""

    personas: Mapping[str, Persona] = field(default_factory=dict)
    """Who answers to which wake word; the assistant itself to all others."""
    barge_in: BargeIn = BargeIn.WAKE_WORD
    volume: float = 100.0
    """How loud answers are at the start, in percent."""
    speech_volume: float = 100.0
    """The volume up to which speech may interrupt an answer: that of the echo test. Beyond, only the wake word may."""
    follow_up: FollowUp = FollowUp.AFTER_QUESTION
    follow_up_window: float = 5.0
    echo_tail_ms: int = 200
    no_speech_timeout: float = 6.0
    max_utterance: float = 20.0
    response_timeout: float = 20.0
    tool_timeout: float = 15.0
    max_tool_rounds: int = 6
    keep_open: float = 60.0
    prewarm: float = 20.0
    """How long a session that was opened by a hint waits for a turn."""
    context: float = 300.0
    """How long turns are remembered for a session that opens later."""
    rotate_before: float = 300.0
    """How long before its end a session is replaced, as soon as nobody talks."""
    retry_budget: float = 10.0
    fallback: bool = False
    """Whether the embedded brain answers a turn whose session cannot be had."""
    fallback_budget: float = 3.0
    """What takes the place of ``retry_budget`` then: somebody else is ready to answer."""
    fallback_hold: float = 60.0
    """How long turns go to the embedded brain at once before the far one is tried again."""
    max_session_turns: int = 0
    """A session is replaced after this many turns, as each response is billed for all of them; 0 means never."""
    server_turn_detection: bool = False
    server_stop_grace: float = 3.0
    """How long after the local end of speech the server's turn detection may take before we commit by ourselves."""
    duck_db: float = 15.0
    """How much softer an answer becomes while somebody seems to speak into it; 0 for not at all."""
    wake_earcon_delay: float | None = 0.35
    """A command in the same breath as the wake word should not be beeped over; None means no earcon at all."""

    def barge_in_at(self, volume: float) -> BargeIn:
        """What may interrupt an answer that is played this loud."""
        too_loud = self.barge_in is BargeIn.SPEECH and volume > self.speech_volume
        return BargeIn.WAKE_WORD if too_loud else self.barge_in


HOLD = 0.6
"""How long an answer is held for speech that silenced it, unless that is confirmed."""

PLAYBACK_MARGIN = 10.0
"""How much later than computed the end of playback may come before the speaker counts as stuck."""

CUT_OFF = '{"error": "the call was cut off; it was not carried out"}'

MIN_LIFE = 30.0
"""A session is not replaced earlier than this after it became ready, whatever it says about its end."""

ROTATE_RETRY = 5.0

FAILURE_PHRASES = {
    Failure.CONNECT: Phrase.UNREACHABLE,
    Failure.RATE_LIMITED: Phrase.BUSY,
    Failure.EXPIRED: Phrase.UNREACHABLE,
    Failure.PROTOCOL: Phrase.UNREACHABLE,
    Failure.AUTHENTICATION: Phrase.NOT_SIGNED_IN,
    Failure.QUOTA: Phrase.NO_QUOTA,
    Failure.REFUSED: Phrase.MISCONFIGURED,
}

RESPONSE_PHRASES = {
    "rate_limit_exceeded": Phrase.BUSY,
    "inference_rate_limit_exceeded": Phrase.BUSY,
    "insufficient_quota": Phrase.NO_QUOTA,
}
"""What is said about a failed response, by its error code."""

UTTERANCE_MARGIN = 5.0
"""Endpointing ends an utterance in audio time; only a microphone that stands still lets this pass."""

END_CONVERSATION = "end_conversation"
"""The tool by which the model closes the conversation: no follow-up window after this turn. It is answered here."""

END_OUTPUT = '{"say": "Okay."}'

TOO_MANY_ROUNDS = '{"error": "too many tool calls in one turn; answer with what you have"}'

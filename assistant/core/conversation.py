"""The conversation: what Hearth does when something happens.

::

              wake word                  speech, then silence
      IDLE ───────────────> LISTENING ───────────────────────> THINKING <──────────┐
       ^ ^  no speech          │  ^ ^                             │  first sample   │ tools still run
       │ └─────────────────────┘  │ └──── barge-in ─────────┐     v                 │
       │                          │ speech                  └─ SPEAKING ────────────┘
       │        window over       │                               │ all heard
       └───────────────────── FOLLOW_UP <─────────────────────────┘ (IDLE when no follow-up is wanted)

``handle(event)`` returns commands for the shell. Nothing here knows a clock, a thread or a socket: time is
``event.at``, and the shell sends ``Tick`` when ``deadline`` has come. Every state but IDLE has a deadline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import assert_never

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.backoff import retry_delay
from assistant.core.commands import Command, EarconKind, Phrase, TurnOutcome
from assistant.core.endpointing import Expect
from assistant.core.events import Event, Failure, ResponseStatus, StopReason
from assistant.core.history import History
from assistant.core.personas import MAIN, Persona
from assistant.core.responses import Phase, ResponseSlot
from assistant.types import SPEAKER_RATE, AlertId, CallId, ItemId, Milliseconds, ResponseId, TurnId, samples_to_ms


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
    server_turn_detection: bool = False
    server_stop_grace: float = 3.0
    """How long after the local end of speech the server's turn detection may take before we commit by ourselves."""
    duck_db: float = 15.0
    """How much softer an answer becomes while somebody seems to speak into it; 0 for not at all."""
    wake_earcon_delay: float | None = 0.35
    """A command in the same breath as the wake word should not be beeped over; None means no earcon at all."""


PLAYBACK_MARGIN = 10.0
"""How much later than computed the end of playback may come before the speaker counts as stuck."""

CUT_OFF = '{"error": "the call was cut off; it was not carried out"}'

MAX_ANNOUNCEMENTS = 8
"""Announcements that wait for a quiet moment. Of more, the oldest are forgotten: they are the most out of date."""

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


class _Timer(Enum):
    STATE = "state"
    EARCON = "earcon"
    KEEP_OPEN = "keep_open"
    ROTATE = "rotate"


class _Input(Enum):
    """How far the user's part of the turn has come."""

    NONE = "none"
    SPEAKING = "speaking"  # the uplink is open
    COMPLETE = "complete"


@dataclass(slots=True)
class _Item:
    session: int
    received_bytes: int = 0
    finished: bool = False

    @property
    def received_ms(self) -> Milliseconds:
        return samples_to_ms(self.received_bytes // 2, SPEAKER_RATE)


@dataclass(slots=True)
class _Turn:
    """What belongs to one turn and dies with it."""

    id: TurnId
    input: _Input = _Input.NONE
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


class Conversation:
    """The state machine. One instance for the life of the daemon."""

    def __init__(self, settings: ConversationSettings | None = None) -> None:
        self._settings = settings or ConversationSettings()
        self._state = State.IDLE
        self._link = Link.DOWN
        self._session = 0
        self._persona = MAIN  # who answers now
        self._session_persona = MAIN  # whom the session takes itself for
        self._last_turn = TurnId(0)
        self._turn: _Turn | None = None
        self._slot = ResponseSlot()
        self._playing: dict[ItemId, _Item] = {}
        self._stopping: dict[ItemId, _Item] = {}  # told to stop; how much was heard is still to be reported
        self._phrase: ItemId | None = None  # a fixed sentence that is being said
        self._phrases = 0
        self._history = History(self._settings.context)
        self._late_calls: set[CallId] = set()  # of turns that are over: answered, but nobody waits for them
        self._waiting_alerts: list[AlertId] = []
        self._ringing: list[AlertId] = []
        self._waiting_announcements: list[str] = []
        self._ducked = 0.0  # dB
        self._timers: dict[_Timer, float] = {}
        self._out: list[Command] = []

    # --- what the shell may ask -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def link(self) -> Link:
        return self._link

    @property
    def turn(self) -> TurnId:
        """The turn that is going on, or 0."""
        return self._turn.id if self._turn else TurnId(0)

    @property
    def persona(self) -> str:
        """Who answers: the name of a persona, or "" for the assistant itself."""
        return self._persona.name

    @property
    def deadline(self) -> float | None:
        """When the shell must send Tick, unless an event comes first."""
        return min(self._timers.values(), default=None)

    def handle(self, event: Event) -> list[Command]:
        """Take one event; give the commands to carry out, in order."""
        self._out = []
        match event:
            case ev.Woken():
                self._woken(event)
            case ev.SpeechStarted():
                self._speech_started(event)
            case ev.SpeechStopped():
                self._speech_stopped(event)
            case ev.BargeInSuspected():
                if self._state is State.SPEAKING and self._settings.barge_in is not BargeIn.OFF:
                    self._duck(self._settings.duck_db)
            case ev.BargeInCleared():
                self._duck(0.0)
            case ev.ConnectHint():
                self._connect_hint(event)
            case ev.SessionReady():
                self._session_ready(event)
            case ev.SessionLost():
                self._session_lost(event)
            case ev.ServerSpeechStopped():
                self._server_speech_stopped(event)
            case ev.UserTranscript():
                self._user_transcript(event)
            case ev.ResponseCreated():
                self._response_created(event)
            case ev.ResponseRefused():
                self._response_refused(event)
            case ev.AnswerAudio():
                self._answer_audio(event)
            case ev.AnswerAudioDone():
                if event.item in self._playing and self._is_live(event.response):
                    self._finish_item(event.item)
            case ev.AnswerText():
                if self._turn and self._is_live(event.response):
                    self._turn.answer += event.delta
                    self._progress(event.at)
            case ev.ToolCalled():
                self._tool_called(event)
            case ev.ResponseDone():
                self._response_done(event)
            case ev.ToolFinished():
                self._tool_finished(event)
            case ev.PlaybackStarted():
                self._progress(event.at)
            case ev.PlaybackStopped():
                self._playback_stopped(event)
            case ev.TextSubmitted():
                self._text_submitted(event)
            case ev.AnnouncementRaised():
                self._waiting_announcements.append(event.text)
                del self._waiting_announcements[:-MAX_ANNOUNCEMENTS]
                self._start_announcement(event.at)
            case ev.StopRequested():
                self._stop_requested(event)
            case ev.AlertRaised():
                self._waiting_alerts.append(event.alert)
                self._start_alerts(event.at)
            case ev.AlertEnded():
                self._alert_ended(event)
            case ev.Tick():
                self._tick(event.at)
            case _:
                assert_never(event)
        if self._state is not State.SPEAKING:
            self._duck(0.0)
        return self._out

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _woken(self, event: ev.Woken) -> None:
        self._dismiss_alerts()
        turn = self._turn
        if self._state is State.LISTENING and turn and turn.input is _Input.SPEAKING:
            return  # the wake word inside a request is part of it
        if self._state is State.SPEAKING and self._settings.barge_in is BargeIn.OFF:
            return
        if self._state is not State.LISTENING:
            self._begin_turn(event.at)
        self._persona = self._settings.personas.get(event.word, MAIN)
        self._enter(State.LISTENING, event.at, self._settings.no_speech_timeout)
        self._out.append(do.Listen(Expect.UTTERANCE, since=event.sample))
        if self._settings.wake_earcon_delay is not None:
            self._timers[_Timer.EARCON] = event.at + self._settings.wake_earcon_delay

    def _speech_started(self, event: ev.SpeechStarted) -> None:
        barge_in = self._state is State.SPEAKING and self._settings.barge_in is BargeIn.SPEECH
        if barge_in or self._state is State.FOLLOW_UP:
            self._begin_turn(event.at)
        elif self._state is not State.LISTENING or (self._turn and self._turn.input is not _Input.NONE):
            return
        assert self._turn is not None
        self._turn.input = _Input.SPEAKING
        self._timers.pop(_Timer.EARCON, None)
        self._enter(State.LISTENING, event.at, self._settings.max_utterance + UTTERANCE_MARGIN)
        self._ensure_session(event.at)
        self._out.append(do.OpenUplink(self._turn.id, event.sample))

    def _duck(self, db: float) -> None:
        if db != self._ducked:
            self._ducked = db
            self._out.append(do.Duck(db))

    def _speech_stopped(self, event: ev.SpeechStopped) -> None:
        turn = self._turn
        if self._state is not State.LISTENING or turn is None or turn.input is not _Input.SPEAKING:
            return
        if self._settings.server_turn_detection and event.reason is StopReason.SILENCE:
            turn.speech_stopped = True
            self._timers[_Timer.STATE] = event.at + self._settings.server_stop_grace
            self._out.append(do.Listen(Expect.NOTHING))
            return
        self._out.append(do.CloseUplink(turn.id))
        self._commit(turn, event.at)

    def _server_speech_stopped(self, event: ev.ServerSpeechStopped) -> None:
        turn = self._turn
        if event.session != self._session or not self._settings.server_turn_detection:
            return
        if self._state is not State.LISTENING or turn is None or turn.input is not _Input.SPEAKING:
            return
        self._out.append(do.CloseUplink(turn.id))
        turn.input = _Input.COMPLETE
        self._think(event.at)  # the server commits, and begins the response, by itself

    def _commit(self, turn: _Turn, at: float) -> None:
        turn.input = _Input.COMPLETE
        self._out.append(do.CommitInput())
        self._out += self._slot.request(turn.id)
        self._think(at)

    def _text_submitted(self, event: ev.TextSubmitted) -> None:
        self._begin_turn(event.at)
        assert self._turn is not None
        self._persona = MAIN
        self._turn.text = event.text
        self._turn.input = _Input.COMPLETE
        self._ensure_session(event.at)
        self._out.append(do.SendText(event.text))
        self._out += self._slot.request(self._turn.id)
        self._think(event.at)

    # --- the session ------------------------------------------------------------------------------------------------

    def _ensure_session(self, at: float) -> None:
        """A session that is open or opening, and takes itself for who answers in this turn."""
        if self._persona.kind != self._session_persona.kind:
            self._close_session()
        if self._link is not Link.DOWN and self._persona != self._session_persona:
            self._out.append(do.ChangePersona(self._persona.name))
        self._session_persona = self._persona
        if self._link is Link.DOWN:
            self._open_session(at)

    def _open_session(self, at: float, delay: float = 0.0) -> None:
        self._session += 1
        self._link = Link.CONNECTING
        self._session_persona = self._persona
        self._out.append(do.OpenSession(self._session, delay, self._persona.name))
        if messages := self._history.recent(at):
            self._out.append(do.RestoreHistory(messages))

    def _connect_hint(self, event: ev.ConnectHint) -> None:
        """Connect while it is not sure yet that anybody wants us; without a turn the session closes soon."""
        if self._link is Link.DOWN and self._state in (State.IDLE, State.LISTENING):
            self._open_session(event.at)
            if self._state is State.IDLE:
                self._timers[_Timer.KEEP_OPEN] = event.at + self._settings.prewarm

    def _session_ready(self, event: ev.SessionReady) -> None:
        if event.session != self._session or self._link is not Link.CONNECTING:
            return
        self._link = Link.READY
        if event.expires_in is not None:
            self._timers[_Timer.ROTATE] = event.at + max(MIN_LIFE, event.expires_in - self._settings.rotate_before)

    def _rotate(self, at: float) -> None:
        """Replace a session that is about to end. In a turn this waits for the turn's end."""
        if self._state is not State.IDLE or self._link is Link.DOWN:
            self._timers[_Timer.ROTATE] = at + ROTATE_RETRY
            return
        keep_open = self._timers.get(_Timer.KEEP_OPEN, at)
        self._close_session()
        if keep_open > at:
            self._open_session(at)
            self._timers[_Timer.KEEP_OPEN] = keep_open

    def _close_session(self) -> None:
        if self._link is not Link.DOWN:
            self._link = Link.DOWN
            self._slot.lost()
            self._late_calls.clear()
            self._out.append(do.CloseSession(self._session))
        self._timers.pop(_Timer.KEEP_OPEN, None)
        self._timers.pop(_Timer.ROTATE, None)

    def _session_lost(self, event: ev.SessionLost) -> None:
        if event.session != self._session or self._link is Link.DOWN:
            return
        self._link = Link.DOWN
        self._slot.lost()
        self._late_calls.clear()
        self._timers.pop(_Timer.KEEP_OPEN, None)
        self._timers.pop(_Timer.ROTATE, None)
        turn = self._turn
        if turn is None or turn.input is _Input.NONE:
            return  # nothing was under way; the next utterance opens a new session
        if self._playing:
            turn.calls.clear()
            turn.needs_create = False
            for item in self._playing:
                self._finish_item(item)  # what has arrived is heard to its end
            return
        if self._retry(turn, event):
            return
        self._fail(event.at, event.failure.value, FAILURE_PHRASES[event.failure])

    def _retry(self, turn: _Turn, event: ev.SessionLost) -> bool:
        """Try the same turn on a new session, if nothing was heard or done yet and there is time."""
        if turn.acted or not event.failure.retryable:
            return False
        if turn.retry_until is None:
            turn.retry_until = event.at + self._settings.retry_budget
        delay = retry_delay(turn.losses, event.retry_after)
        turn.losses += 1
        if event.at + delay > turn.retry_until:
            return False
        self._open_session(event.at, delay)
        if turn.text is not None:
            self._out.append(do.SendText(turn.text))
        elif turn.announcement is None:
            self._out.append(do.ReplayUplink(turn.id))
        if turn.input is _Input.COMPLETE:
            if turn.text is None and turn.announcement is None:
                self._out.append(do.CommitInput())
            self._out += self._slot.request(turn.id, announce=turn.announcement)
            self._think(event.at)
        return True

    # --- the answer -------------------------------------------------------------------------------------------------

    def _is_live(self, response: ResponseId) -> bool:
        return self._turn is not None and self._slot.is_live(response, self._turn.id)

    def _response_created(self, event: ev.ResponseCreated) -> None:
        if event.session != self._session or self._link is Link.DOWN:
            return
        adopt = None
        if self._turn and self._settings.server_turn_detection and self._state is State.THINKING:
            adopt = self._turn.id
        self._out += self._slot.created(event.response, adopt)
        self._progress(event.at)

    def _response_refused(self, event: ev.ResponseRefused) -> None:
        if event.session != self._session or self._link is Link.DOWN:
            return
        turn = self._turn
        owned = turn is not None and self._slot.phase is Phase.REQUESTED and self._slot.busy_for(turn.id)
        self._out += self._slot.refused(busy=event.busy)
        if owned and not event.busy and turn and not self._slot.busy_for(turn.id):
            self._fail(event.at, "refused", Phrase.FAILED)

    def _answer_audio(self, event: ev.AnswerAudio) -> None:
        if self._turn is None or not self._is_live(event.response) or event.item in self._stopping:
            return
        self._turn.acted = True
        item = self._playing.setdefault(event.item, _Item(self._session))
        item.received_bytes += len(event.pcm)
        self._out.append(do.Play(event.item, event.pcm))
        if self._state is not State.SPEAKING:
            self._speak(event.at)
        self._progress(event.at)

    def _tool_called(self, event: ev.ToolCalled) -> None:
        turn = self._turn
        if not event.complete:
            if self._link is not Link.DOWN:
                self._out.append(do.AnswerToolCall(event.call, CUT_OFF))
            return
        if turn is None or not self._is_live(event.response) or event.call in turn.seen_calls:
            return
        turn.seen_calls.add(event.call)
        if event.tool == END_CONVERSATION:
            turn.ending = True
            self._out.append(do.AnswerToolCall(event.call, END_OUTPUT))
            turn.needs_create = turn.needs_create or not self._playing  # a goodbye, unless it is being said
            self._progress(event.at)
            return
        turn.acted = True
        turn.needs_create = True
        if turn.rounds >= self._settings.max_tool_rounds:
            self._out.append(do.AnswerToolCall(event.call, TOO_MANY_ROUNDS))
        else:
            turn.calls.add(event.call)
            self._out.append(do.RunTool(turn.id, event.call, event.tool, event.arguments))
        self._progress(event.at)

    def _tool_finished(self, event: ev.ToolFinished) -> None:
        if event.call in self._late_calls:
            self._late_calls.discard(event.call)
            self._out.append(do.AnswerToolCall(event.call, event.output))
        elif self._turn and event.call in self._turn.calls:
            self._turn.calls.discard(event.call)
            self._out.append(do.AnswerToolCall(event.call, event.output))
            self._progress(event.at)
            self._advance(event.at)

    def _response_done(self, event: ev.ResponseDone) -> None:
        live = self._is_live(event.response)
        self._out += self._slot.done(event.response)
        if not live:
            return
        for item, playing in self._playing.items():
            if not playing.finished:
                self._finish_item(item)
        if event.status is ResponseStatus.FAILED and not self._playing:
            phrase = RESPONSE_PHRASES.get(event.reason or "", Phrase.FAILED)
            self._fail(event.at, event.reason or "failed", phrase)
            return
        self._progress(event.at)
        self._advance(event.at)

    def _playback_stopped(self, event: ev.PlaybackStopped) -> None:
        if event.item == self._phrase:
            self._phrase = None
            return
        item = self._playing.pop(event.item, None) or self._stopping.pop(event.item, None)
        if item is None:
            return
        if event.interrupted and item.session == self._session and self._link is Link.READY:
            heard = min(event.played_ms, item.received_ms)
            self._out.append(do.TruncateItem(event.item, heard))
        self._advance(event.at)

    def _finish_item(self, item: ItemId) -> None:
        if not self._playing[item].finished:
            self._playing[item].finished = True
            self._out.append(do.FinishPlayback(item))

    # --- turns ------------------------------------------------------------------------------------------------------

    def _begin_turn(self, at: float) -> None:
        if self._turn is not None:
            self._end_turn(at, TurnOutcome.INTERRUPTED)
        self._hush()
        self._last_turn = TurnId(self._last_turn + 1)
        self._turn = _Turn(self._last_turn)
        self._timers.pop(_Timer.KEEP_OPEN, None)
        self._out.append(do.BeginTurn(self._turn.id))

    def _end_turn(self, at: float, outcome: TurnOutcome, detail: str = "") -> None:
        """Let go of everything that the turn holds, and say how it ended. The state is the caller's business."""
        turn = self._turn
        if turn is None:
            return
        if turn.input is not _Input.NONE and turn.text is None and turn.announcement is None:
            self._out.append(do.DropUplink(turn.id))
        if turn.input is _Input.SPEAKING and self._link is not Link.DOWN:
            self._out.append(do.ClearInput())
        self._out += self._slot.abandon()
        if self._playing:
            self._stopping |= self._playing
            self._playing = {}
            self._out.append(do.StopPlayback())
        if self._link is not Link.DOWN:
            self._late_calls |= turn.calls
        self._timers.pop(_Timer.EARCON, None)
        self._turn = None
        if turn.announcement is None:
            self._history.add(at, turn.text or turn.heard, turn.answer)
        self._out.append(do.EndTurn(turn.id, outcome, detail))

    def _advance(self, at: float) -> None:
        """What comes next, now that a part of the answer is complete."""
        turn = self._turn
        if turn is None or self._state not in (State.THINKING, State.SPEAKING):
            return
        if turn.needs_create and not turn.calls and not self._slot.busy_for(turn.id) and self._link is not Link.DOWN:
            turn.needs_create = False
            turn.rounds += 1
            self._out += self._slot.request(turn.id, tools=turn.rounds <= self._settings.max_tool_rounds)
        if self._playing:
            return
        if self._slot.busy_for(turn.id) or turn.calls or (turn.needs_create and self._link is not Link.DOWN):
            if self._state is not State.THINKING:
                self._think(at)
            return
        self._finish_turn(turn, at)

    def _finish_turn(self, turn: _Turn, at: float) -> None:
        answered = turn.answer.strip() != "" or (turn.acted and not turn.needs_create)
        self._end_turn(at, TurnOutcome.ANSWERED if answered else TurnOutcome.EMPTY)
        asked = turn.answer.rstrip().endswith(("?", "？"))
        mode = self._settings.follow_up
        wanted = (
            answered and not turn.ending and (mode is FollowUp.ALWAYS or (mode is FollowUp.AFTER_QUESTION and asked))
        )
        if (
            wanted
            and turn.text is None
            and turn.announcement is None
            and not self._waiting_alerts
            and not self._ringing
        ):
            self._enter(State.FOLLOW_UP, at, self._settings.follow_up_window)
            self._out.append(do.Listen(Expect.FOLLOW_UP, delay_ms=self._settings.echo_tail_ms))
        else:
            self._rest(at)

    def _fail(self, at: float, detail: str, phrase: Phrase) -> None:
        """End the turn with a sound and one sentence. The next wake word works as ever."""
        asked = self._turn is not None and self._turn.announcement is None
        self._end_turn(at, TurnOutcome.FAILED, detail)
        if asked:  # who asked for nothing need not hear that it failed
            self._out.append(do.PlayEarcon(EarconKind.ERROR))
            self._phrases += 1
            self._phrase = ItemId(f"phrase-{self._phrases}")
            self._out.append(do.SayPhrase(self._phrase, phrase))
        self._rest(at)

    def _hush(self) -> None:
        """Nobody is talked over by a fixed sentence."""
        if self._phrase is not None:
            self._phrase = None
            self._out.append(do.StopPlayback())

    def _user_transcript(self, event: ev.UserTranscript) -> None:
        """For the history of a later session. Recognition must not steer the conversation, and may be late."""
        if self._turn is not None:
            self._turn.heard = event.text
        else:
            self._history.heard_late(event.text)

    def _stop_requested(self, event: ev.StopRequested) -> None:
        self._dismiss_alerts()
        self._hush()
        self._end_turn(event.at, TurnOutcome.STOPPED)
        self._rest(event.at)

    # --- states and deadlines ---------------------------------------------------------------------------------------

    def _enter(self, state: State, at: float, timeout: float) -> None:
        self._state = state
        self._timers[_Timer.STATE] = at + timeout

    def _think(self, at: float) -> None:
        self._enter(State.THINKING, at, self._settings.response_timeout)
        self._out.append(do.Listen(Expect.NOTHING))
        self._progress(at)

    def _speak(self, at: float) -> None:
        self._enter(State.SPEAKING, at, PLAYBACK_MARGIN)
        if self._settings.barge_in is BargeIn.SPEECH:
            self._out.append(do.Listen(Expect.BARGE_IN))
        else:
            self._out.append(do.Listen(Expect.NOTHING))

    def _rest(self, at: float) -> None:
        """Go back to IDLE; the session stays open a while for the next request."""
        if self._state is not State.IDLE:
            self._out.append(do.Listen(Expect.NOTHING))
        self._state = State.IDLE
        self._timers.pop(_Timer.STATE, None)
        self._timers.pop(_Timer.EARCON, None)
        if self._link is not Link.DOWN:
            self._timers[_Timer.KEEP_OPEN] = at + self._settings.keep_open
        self._start_alerts(at)
        self._start_announcement(at)

    def _progress(self, at: float) -> None:
        """Something moved: the state's deadline moves with it. LISTENING and FOLLOW_UP have fixed ones."""
        if self._state is State.THINKING:
            running = self._turn is not None and bool(self._turn.calls)
            timeout = self._settings.tool_timeout if running else self._settings.response_timeout
            self._timers[_Timer.STATE] = at + timeout
        elif self._state is State.SPEAKING:
            # Audio arrives faster than it is heard, and nothing happens while the rest of it plays.
            unheard = sum(item.received_ms for item in self._playing.values()) / 1000
            self._timers[_Timer.STATE] = max(self._timers[_Timer.STATE], at + unheard + PLAYBACK_MARGIN)

    def _tick(self, at: float) -> None:
        due = [timer for timer, when in self._timers.items() if when <= at]
        for timer in due:
            if self._timers.get(timer, at + 1) > at:
                continue  # an earlier one of this tick has moved or removed it
            del self._timers[timer]
            match timer:
                case _Timer.EARCON:
                    self._out.append(do.PlayEarcon(EarconKind.WAKE))
                case _Timer.KEEP_OPEN:
                    self._close_session()
                case _Timer.ROTATE:
                    self._rotate(at)
                case _Timer.STATE:
                    self._state_deadline(at)
                case _:
                    assert_never(timer)

    def _state_deadline(self, at: float) -> None:
        turn = self._turn
        match self._state:
            case State.IDLE:
                pass
            case State.FOLLOW_UP:
                self._rest(at)
            case State.LISTENING:
                if turn is None or turn.input is _Input.NONE:
                    self._end_turn(at, TurnOutcome.NO_SPEECH)
                    self._rest(at)
                elif turn.speech_stopped:
                    self._out.append(do.CloseUplink(turn.id))
                    self._commit(turn, at)
                else:
                    self._fail(at, "the utterance did not end", Phrase.FAILED)
            case State.THINKING:
                self._fail(at, "no answer in time", Phrase.TOO_SLOW)
                self._close_session()  # a session that stalled once is not trusted with the next turn
            case State.SPEAKING:
                self._fail(at, "playback did not end", Phrase.FAILED)
            case _:
                assert_never(self._state)

    # --- announcements ----------------------------------------------------------------------------------------------

    def _start_announcement(self, at: float) -> None:
        """Say the next one when nobody talks and nothing rings; it is a turn of its own, out of band."""
        if self._state is not State.IDLE or self._ringing or not self._waiting_announcements:
            return
        text = self._waiting_announcements.pop(0)
        self._begin_turn(at)
        assert self._turn is not None
        self._turn.announcement = text
        self._turn.input = _Input.COMPLETE
        self._ensure_session(at)
        self._out += self._slot.request(self._turn.id, tools=False, announce=text)
        self._think(at)

    # --- alerts -----------------------------------------------------------------------------------------------------

    def _start_alerts(self, at: float) -> None:
        """Ring when nobody is talking; a turn is short, and every state has a deadline."""
        if self._state is State.FOLLOW_UP and self._waiting_alerts:
            self._rest(at)
            return
        if self._state is State.IDLE:
            while self._waiting_alerts:
                alert = self._waiting_alerts.pop(0)
                self._ringing.append(alert)
                self._out.append(do.StartAlert(alert))

    def _dismiss_alerts(self) -> None:
        for alert in self._ringing:
            self._out.append(do.StopAlert(alert, dismissed=True))
        self._ringing.clear()

    def _alert_ended(self, event: ev.AlertEnded) -> None:
        if event.alert in self._waiting_alerts:
            self._waiting_alerts.remove(event.alert)
        elif event.alert in self._ringing:
            self._ringing.remove(event.alert)
            self._out.append(do.StopAlert(event.alert, dismissed=False))
            self._start_announcement(event.at)

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

from enum import Enum
from typing import assert_never

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.backoff import retry_delay
from assistant.core.commands import Command, EarconKind, Phrase, TurnOutcome
from assistant.core.endpointing import Expect
from assistant.core.events import Event, ResponseStatus, StopReason
from assistant.core.history import History
from assistant.core.notices import Notices
from assistant.core.personas import FALLBACK, MAIN, Persona
from assistant.core.playback import Playback
from assistant.core.policy import (
    CUT_OFF,
    END_CONVERSATION,
    END_OUTPUT,
    FAILURE_PHRASES,
    HOLD,
    PLAYBACK_MARGIN,
    RESPONSE_PHRASES,
    TOO_MANY_ROUNDS,
    UTTERANCE_MARGIN,
    BargeIn,
    ConversationSettings,
    FollowUp,
    Link,
    State,
)
from assistant.core.responses import Phase, ResponseSlot
from assistant.core.session_life import SessionLife
from assistant.core.turn import Input, Turn
from assistant.types import CallId, ResponseId, TurnId


class _Timer(Enum):
    STATE = "state"
    EARCON = "earcon"
    HOLD = "hold"


class Conversation:
    """The state machine. One instance for the life of the daemon."""

    def __init__(self, settings: ConversationSettings | None = None) -> None:
        self._settings = settings or ConversationSettings()
        self._state = State.IDLE
        self._barge_in = self._settings.barge_in_at(self._settings.volume)
        self._history = History(self._settings.context)
        self._life = SessionLife(self._settings, self._history)
        self._persona = MAIN  # who answers now
        self._last_turn = TurnId(0)
        self._turn: Turn | None = None
        self._slot = ResponseSlot()
        self._playback = Playback()
        self._interruption: ev.SpeechStarted | None = None  # the speech for which the answer is held
        self._late_calls: set[CallId] = set()  # of turns that are over: answered, but nobody waits for them
        self._notices = Notices()
        self._timers: dict[_Timer, float] = {}
        self._out: list[Command] = []

    # --- what the shell may ask -------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def link(self) -> Link:
        return self._life.link

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
        times = [*self._timers.values(), self._life.deadline]
        return min((at for at in times if at is not None), default=None)

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
                if self._state is State.SPEAKING and self._barge_in is not BargeIn.OFF:
                    self._out += self._playback.duck(self._settings.duck_db)
            case ev.BargeInCleared():
                self._out += self._playback.duck(0.0)
            case ev.BargeInConfirmed():
                if self._interruption is not None:
                    self._interrupt(self._interruption)
            case ev.ConnectHint():
                self._connect_hint(event)
            case ev.SessionReady():
                self._life.ready(event)
            case ev.SessionLost():
                self._session_lost(event)
            case ev.SessionRetired():
                self._retire(event.at)
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
                if self._is_live(event.response):
                    self._out += self._playback.finish(event.item)
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
                self._notices.add_announcement(event.text)
                self._start_notices(event.at)
            case ev.ListenRequested():
                self._begin_listening(event.at, event.sample, MAIN)
            case ev.MuteChanged():
                self._mute_changed(event)
            case ev.VolumeChanged():
                self._volume_changed(event)
            case ev.StopRequested():
                self._stop_requested(event)
            case ev.AlertRaised():
                self._notices.add_alert(event.alert)
                self._start_notices(event.at)
            case ev.AlertEnded():
                self._out += self._notices.end_alert(event.alert)
                self._start_notices(event.at)
            case ev.Tick():
                self._tick(event.at)
            case _:
                assert_never(event)
        if self._state is not State.SPEAKING:
            self._out += self._playback.duck(0.0)
        return self._out

    # --- hearing ----------------------------------------------------------------------------------------------------

    def _woken(self, event: ev.Woken) -> None:
        self._out += self._notices.dismiss_alerts()
        if self._state is State.SPEAKING and self._barge_in is BargeIn.OFF:
            return
        self._begin_listening(event.at, event.sample, self._settings.personas.get(event.word, MAIN))

    def _begin_listening(self, at: float, since: int, persona: Persona) -> None:
        """Whoever called the assistant is heard from ``since`` on. What it was doing ends, and so do alerts."""
        self._out += self._notices.dismiss_alerts()
        if self._state is not State.LISTENING:
            self._begin_turn(at)
        elif self._turn and self._turn.input is Input.SPEAKING:
            return  # the wake word inside a request is part of it
        self._persona = persona
        self._enter(State.LISTENING, at, self._settings.no_speech_timeout)
        self._out.append(do.Listen(Expect.UTTERANCE, since=since))
        if self._settings.wake_earcon_delay is not None:
            self._timers[_Timer.EARCON] = at + self._settings.wake_earcon_delay

    def _speech_started(self, event: ev.SpeechStarted) -> None:
        if self._state is State.SPEAKING and self._barge_in is BargeIn.SPEECH:
            self._hold(event)
        elif self._state is State.FOLLOW_UP:
            self._begin_turn(event.at)
            self._begin_utterance(event)
        elif self._state is State.LISTENING and self._turn and self._turn.input is Input.NONE:
            self._begin_utterance(event)

    def _begin_utterance(self, event: ev.SpeechStarted) -> None:
        assert self._turn is not None
        self._turn.input = Input.SPEAKING
        self._timers.pop(_Timer.EARCON, None)
        self._enter(State.LISTENING, event.at, self._settings.max_utterance + UTTERANCE_MARGIN)
        self._ensure_session(event.at)
        self._out.append(do.OpenUplink(self._turn.id, event.sample))

    def _hold(self, event: ev.SpeechStarted) -> None:
        """Fall silent at once, for whoever speaks; but a cough or a rest of echo does not cost the answer."""
        self._interruption = event
        self._out += self._playback.hold()
        self._timers[_Timer.HOLD] = event.at + HOLD

    def _interrupt(self, event: ev.SpeechStarted) -> None:
        """It is speech. What was said since it began waits in the ring buffer."""
        self._begin_turn(event.at)
        self._begin_utterance(event)

    def _go_on(self, at: float) -> None:
        """It was nothing: the answer goes on where it was."""
        self._interruption = None
        self._timers.pop(_Timer.HOLD, None)
        self._out += self._playback.resume()
        self._listen_for_barge_in()
        self._progress(at)
        self._advance(at)

    def _speech_stopped(self, event: ev.SpeechStopped) -> None:
        if self._interruption is not None:
            self._go_on(event.at)
            return
        turn = self._turn
        if self._state is not State.LISTENING or turn is None or turn.input is not Input.SPEAKING:
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
        if event.session != self._life.number or not self._settings.server_turn_detection:
            return
        if self._state is not State.LISTENING or turn is None or turn.input is not Input.SPEAKING:
            return
        self._out.append(do.CloseUplink(turn.id))
        turn.input = Input.COMPLETE
        self._think(event.at)  # the server commits, and begins the response, by itself

    def _commit(self, turn: Turn, at: float) -> None:
        turn.input = Input.COMPLETE
        self._out.append(do.CommitInput())
        self._out += self._slot.request(turn.id)
        self._think(at)

    def _text_submitted(self, event: ev.TextSubmitted) -> None:
        self._begin_turn(event.at)
        assert self._turn is not None
        self._persona = MAIN
        self._turn.text = event.text
        self._turn.input = Input.COMPLETE
        self._ensure_session(event.at)
        self._out.append(do.SendText(event.text))
        self._out += self._slot.request(self._turn.id)
        self._think(event.at)

    # --- the session ------------------------------------------------------------------------------------------------

    def _ensure_session(self, at: float) -> None:
        """A session that is open or opening, and takes itself for who answers in this turn."""
        self._persona = self._life.who_answers(at, self._persona)
        self._change_session(self._life.ensure(at, self._persona))

    def _change_session(self, commands: list[Command]) -> None:
        """Whatever hangs on a session goes with it."""
        if any(isinstance(command, do.CloseSession) for command in commands):
            self._let_go()
        self._out += commands

    def _let_go(self) -> None:
        self._slot.lost()
        self._late_calls.clear()

    def _connect_hint(self, event: ev.ConnectHint) -> None:
        if self.link is Link.DOWN and self._state is State.IDLE:
            self._out += self._life.prewarm(event.at, self._persona)
        elif self.link is Link.DOWN and self._state is State.LISTENING:
            self._out += self._life.open(event.at, self._persona)

    def _retire(self, at: float) -> None:
        self._life.retire()
        if self._turn is None:
            self._change_session(self._life.rest(at))

    def _session_lost(self, event: ev.SessionLost) -> None:
        if not self._life.is_current(event.session):
            return
        self._life.lost()
        self._let_go()
        turn = self._turn
        if turn is None or turn.input is Input.NONE:
            return  # nothing was under way; the next utterance opens a new session
        if self._playback.answering:
            turn.calls.clear()
            turn.needs_create = False
            self._out += self._playback.finish_all()
            return
        if self._retry(turn, event) or self._fall_back(turn, event):
            return
        self._fail(event.at, event.failure.value, FAILURE_PHRASES[event.failure])

    def _retry(self, turn: Turn, event: ev.SessionLost) -> bool:
        """Try the same turn on a new session, if nothing was heard or done yet and there is time."""
        if turn.acted or not event.failure.retryable:
            return False
        if turn.retry_until is None:
            far = self._settings.fallback and self._persona != FALLBACK
            turn.retry_until = event.at + (self._settings.fallback_budget if far else self._settings.retry_budget)
        delay = retry_delay(turn.losses, event.retry_after)
        turn.losses += 1
        if event.at + delay > turn.retry_until:
            return False
        self._out += self._life.open(event.at, self._persona, delay)
        self._say_again(turn, event.at)
        return True

    def _fall_back(self, turn: Turn, event: ev.SessionLost) -> bool:
        """Let the embedded brain answer the same request, and the next ones for a while."""
        if not self._settings.fallback or turn.acted or self._persona == FALLBACK:
            return False
        self._life.stay_away(event.at)
        self._persona = FALLBACK
        turn.losses, turn.retry_until = 0, None
        self._out.append(do.PlayEarcon(EarconKind.FALLBACK))
        if not event.failure.retryable:
            # It will not pass by itself, so somebody must know.
            self._out += self._playback.say(FAILURE_PHRASES[event.failure])
        self._out += self._life.open(event.at, self._persona)
        self._say_again(turn, event.at)
        return True

    def _say_again(self, turn: Turn, at: float) -> None:
        """Give a new session the turn's request, as far as it has been spoken."""
        if turn.text is not None:
            self._out.append(do.SendText(turn.text))
        elif turn.spoken:
            self._out.append(do.ReplayUplink(turn.id))
        if turn.input is Input.COMPLETE:
            if turn.spoken:
                self._out.append(do.CommitInput())
            self._out += self._slot.request(turn.id, announce=turn.announcement)
            self._think(at)

    # --- the answer -------------------------------------------------------------------------------------------------

    def _is_live(self, response: ResponseId) -> bool:
        return self._turn is not None and self._slot.is_live(response, self._turn.id)

    def _response_created(self, event: ev.ResponseCreated) -> None:
        if not self._life.is_current(event.session):
            return
        adopt = None
        if self._turn and self._settings.server_turn_detection and self._state is State.THINKING:
            adopt = self._turn.id
        self._out += self._slot.created(event.response, adopt)
        self._progress(event.at)

    def _response_refused(self, event: ev.ResponseRefused) -> None:
        if not self._life.is_current(event.session):
            return
        turn = self._turn
        owned = turn is not None and self._slot.phase is Phase.REQUESTED and self._slot.busy_for(turn.id)
        self._out += self._slot.refused(busy=event.busy)
        if owned and not event.busy and turn and not self._slot.busy_for(turn.id):
            self._fail(event.at, "refused", Phrase.FAILED)

    def _answer_audio(self, event: ev.AnswerAudio) -> None:
        if self._turn is None or not self._is_live(event.response) or not self._playback.takes(event.item):
            return
        self._turn.acted = True
        self._out += self._playback.play(event.item, event.pcm, self._life.number, self._turn.id)
        if self._state is not State.SPEAKING:
            self._speak(event.at)
        self._progress(event.at)

    def _tool_called(self, event: ev.ToolCalled) -> None:
        turn = self._turn
        if not event.complete:
            if self.link is not Link.DOWN:
                self._out.append(do.AnswerToolCall(event.call, CUT_OFF))
            return
        if turn is None or not self._is_live(event.response) or event.call in turn.seen_calls:
            return
        turn.seen_calls.add(event.call)
        if event.tool == END_CONVERSATION:
            turn.ending = True
            self._out.append(do.AnswerToolCall(event.call, END_OUTPUT))
            turn.needs_create = turn.needs_create or not self._playback.answering  # a goodbye, unless it is being said
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
        self._out += self._playback.finish_all()
        if event.status is ResponseStatus.FAILED and not self._playback.answering:
            phrase = RESPONSE_PHRASES.get(event.reason or "", Phrase.FAILED)
            self._fail(event.at, event.reason or "failed", phrase)
            return
        self._progress(event.at)
        self._advance(event.at)

    def _playback_stopped(self, event: ev.PlaybackStopped) -> None:
        item = self._playback.over(event.item)
        if item is None:
            return
        if event.interrupted:
            heard = min(event.played_ms, item.received_ms)
            self._history.cut_off(item.turn, heard / max(1, item.received_ms))
            if item.session == self._life.number and self.link is Link.READY:
                self._out.append(do.TruncateItem(event.item, heard))
        self._advance(event.at)

    # --- turns ------------------------------------------------------------------------------------------------------

    def _begin_turn(self, at: float) -> None:
        if self._turn is not None:
            self._end_turn(at, TurnOutcome.INTERRUPTED)
        self._out += self._playback.hush()
        self._last_turn = TurnId(self._last_turn + 1)
        self._turn = Turn(self._last_turn)
        self._life.turn_begins()
        self._out.append(do.BeginTurn(self._turn.id))

    def _end_turn(self, at: float, outcome: TurnOutcome, detail: str = "") -> None:
        """Let go of everything that the turn holds, and say how it ended. The state is the caller's business."""
        turn = self._turn
        if turn is None:
            return
        if turn.input is not Input.NONE and turn.spoken:
            self._out.append(do.DropUplink(turn.id))
        if turn.input is Input.SPEAKING and self.link is not Link.DOWN:
            self._out.append(do.ClearInput())
        self._out += self._slot.abandon()
        self._out += self._playback.stop()
        self._interruption = None
        if self.link is not Link.DOWN:
            self._late_calls |= turn.calls
        self._timers.pop(_Timer.EARCON, None)
        self._timers.pop(_Timer.HOLD, None)
        self._turn = None
        if turn.input is Input.COMPLETE:
            self._life.turn_ends()
        if turn.announcement is None:
            self._history.add(turn.id, at, turn.text or turn.heard, turn.answer)
        self._out.append(do.EndTurn(turn.id, outcome, detail))

    def _advance(self, at: float) -> None:
        """What comes next, now that a part of the answer is complete."""
        turn = self._turn
        if turn is None or self._interruption or self._state not in (State.THINKING, State.SPEAKING):
            return
        if turn.needs_create and not turn.calls and not self._slot.busy_for(turn.id) and self.link is not Link.DOWN:
            turn.needs_create = False
            turn.rounds += 1
            self._out += self._slot.request(turn.id, tools=turn.rounds <= self._settings.max_tool_rounds)
        if self._playback.answering:
            return
        if self._slot.busy_for(turn.id) or turn.calls or (turn.needs_create and self.link is not Link.DOWN):
            if self._state is not State.THINKING:
                self._think(at)
            return
        self._finish_turn(turn, at)

    def _finish_turn(self, turn: Turn, at: float) -> None:
        answered = turn.answer.strip() != "" or (turn.acted and not turn.needs_create)
        self._end_turn(at, TurnOutcome.ANSWERED if answered else TurnOutcome.EMPTY)
        asked = turn.answer.rstrip().endswith(("?", "？"))
        mode = self._settings.follow_up
        wanted = mode is FollowUp.ALWAYS or (mode is FollowUp.AFTER_QUESTION and asked)
        if answered and wanted and turn.spoken and not turn.ending and not self._notices.alert_waits:
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
            self._out += self._playback.say(phrase)
        self._rest(at)

    def _user_transcript(self, event: ev.UserTranscript) -> None:
        """For the history of a later session. Recognition must not steer the conversation, and may be late."""
        if self._turn is not None and self._turn.input is Input.COMPLETE:
            self._turn.heard = event.text
        else:
            self._history.heard_late(event.text)

    def _mute_changed(self, event: ev.MuteChanged) -> None:
        """Half a request is no request. What has been asked is still answered."""
        if event.muted and self._state in (State.LISTENING, State.FOLLOW_UP):
            self._end_turn(event.at, TurnOutcome.STOPPED, "muted")
            self._rest(event.at)
        elif event.muted and self._interruption is not None:
            self._go_on(event.at)

    def _volume_changed(self, event: ev.VolumeChanged) -> None:
        """Louder than in the echo test nobody knows what the assistant's own voice passes for."""
        before, self._barge_in = self._barge_in, self._settings.barge_in_at(event.percent)
        if self._barge_in is not before and self._state is State.SPEAKING and self._interruption is None:
            self._listen_for_barge_in()

    def _stop_requested(self, event: ev.StopRequested) -> None:
        self._out += self._notices.dismiss_alerts()
        self._out += self._playback.hush()
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
        self._listen_for_barge_in()

    def _listen_for_barge_in(self) -> None:
        speech = self._barge_in is BargeIn.SPEECH
        self._out.append(do.Listen(Expect.BARGE_IN if speech else Expect.NOTHING))

    def _rest(self, at: float) -> None:
        """Go back to IDLE; the session stays open a while for the next request."""
        if self._state is not State.IDLE:
            self._out.append(do.Listen(Expect.NOTHING))
        self._state = State.IDLE
        self._timers.pop(_Timer.STATE, None)
        self._timers.pop(_Timer.EARCON, None)
        self._change_session(self._life.rest(at))
        self._start_notices(at)

    def _progress(self, at: float) -> None:
        """Something moved: the state's deadline moves with it. LISTENING and FOLLOW_UP have fixed ones."""
        if self._state is State.THINKING:
            running = self._turn is not None and bool(self._turn.calls)
            timeout = self._settings.tool_timeout if running else self._settings.response_timeout
            self._timers[_Timer.STATE] = at + timeout
        elif self._state is State.SPEAKING:
            # Audio arrives faster than it is heard, and nothing happens while the rest of it plays.
            unheard = self._playback.received_s
            self._timers[_Timer.STATE] = max(self._timers[_Timer.STATE], at + unheard + PLAYBACK_MARGIN)

    def _tick(self, at: float) -> None:
        self._change_session(self._life.tick(at, idle=self._state is State.IDLE))
        due = [timer for timer, when in self._timers.items() if when <= at]
        for timer in due:
            if self._timers.get(timer, at + 1) > at:
                continue  # an earlier one of this tick has moved or removed it
            del self._timers[timer]
            match timer:
                case _Timer.EARCON:
                    self._out.append(do.PlayEarcon(EarconKind.WAKE))
                case _Timer.HOLD:
                    self._go_on(at)
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
                if turn is None or turn.input is Input.NONE:
                    self._end_turn(at, TurnOutcome.NO_SPEECH)
                    self._rest(at)
                elif turn.speech_stopped:
                    self._out.append(do.CloseUplink(turn.id))
                    self._commit(turn, at)
                else:
                    self._fail(at, "the utterance did not end", Phrase.FAILED)
            case State.THINKING:
                self._change_session(self._life.close())  # one that stalled once is not trusted with the next turn
                self._fail(at, "no answer in time", Phrase.TOO_SLOW)
            case State.SPEAKING:
                self._fail(at, "playback did not end", Phrase.FAILED)
            case _:
                assert_never(self._state)

    # --- what nobody asked for --------------------------------------------------------------------------------------

    def _start_notices(self, at: float) -> None:
        """Ring, or else announce, when nobody talks. A turn is short, and every state has a deadline."""
        if self._state is State.FOLLOW_UP and self._notices.alert_waits:
            self._rest(at)
        elif self._state is State.IDLE:
            self._out += self._notices.start_alerts()
            if (text := self._notices.next_announcement()) is not None:
                self._announce(text, at)

    def _announce(self, text: str, at: float) -> None:
        """An announcement is a turn of its own, out of band."""
        self._begin_turn(at)
        assert self._turn is not None
        self._persona = MAIN
        self._turn.announcement = text
        self._turn.input = Input.COMPLETE
        self._ensure_session(at)
        self._out += self._slot.request(self._turn.id, tools=False, announce=text)
        self._think(at)

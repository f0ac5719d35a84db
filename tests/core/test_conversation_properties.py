"""Random orders of events, likely and unlikely, against what must always hold."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.conversation import Conversation
from assistant.core.endpointing import Expect
from assistant.core.events import Event, Failure, ResponseStatus, StopReason
from assistant.core.personas import Persona
from assistant.core.policy import END_CONVERSATION, BargeIn, ConversationSettings, FollowUp, Link, State
from assistant.types import AlertId, CallId, ItemId, Milliseconds, ResponseId, TurnId

RESPONSES = st.sampled_from([ResponseId(f"r{number}") for number in range(4)])
ITEMS = st.sampled_from([ItemId(f"i{number}") for number in range(4)])
CALLS = st.sampled_from([CallId(f"c{number}") for number in range(6)])
PERSONAS = {"computer": Persona("twin"), "hey_mycroft": Persona("pirate", "cloud cedar")}
KINDS = {"": "", "twin": "", "pirate": "cloud cedar"}
ALERTS = st.sampled_from([AlertId("a1"), AlertId("a2")])


class House(RuleBasedStateMachine):
    """A world around one conversation: a server, a speaker, tools and people who do anything at any time.

    The server here is a right one (it begins a response only for a create, or for its own turn detection); stale and
    invented events come on top of it.
    """

    @initialize(
        barge_in=st.sampled_from(BargeIn),
        loudest=st.sampled_from([0, 50, 100]),
        follow_up=st.sampled_from(FollowUp),
        server=st.booleans(),
        rounds=st.integers(1, 3),
        fallback=st.booleans(),
        turns=st.integers(0, 3),
    )
    def begin(
        self,
        barge_in: BargeIn,
        loudest: int,
        follow_up: FollowUp,
        server: bool,
        rounds: int,
        fallback: bool,
        turns: int,
    ) -> None:
        self.conversation = Conversation(
            ConversationSettings(
                barge_in=barge_in,
                volume=50,
                speech_volume=loudest,
                follow_up=follow_up,
                server_turn_detection=server,
                max_tool_rounds=rounds,
                personas=PERSONAS,
                fallback=fallback,
                max_session_turns=turns,
            )
        )
        self.barge_in, self.loudest, self.volume = barge_in, loudest, 50.0
        self.expected = Expect.NOTHING
        self.server = server
        self.at = 0.0
        self.session = 0
        self.told = ""  # whom the session takes itself for
        self.creates = 0  # sent and not yet answered by created or refused
        self.active: ResponseId | None = None
        self.cancelled = False
        self.serial = 0
        self.open_turn = TurnId(0)
        self.ran: set[CallId] = set()
        self.owner = TurnId(0)
        self.create_owner = TurnId(0)
        self.ringing: set[AlertId] = set()
        self.ducked = 0.0
        self.held = False

    def send(self, event: Event) -> None:
        for command in self.conversation.handle(event):
            self.check(command)

    def check(self, command: do.Command) -> None:
        match command:
            case do.BeginTurn(turn):
                assert self.open_turn == 0, "a turn begins while another one is open"
                self.open_turn = turn
            case do.EndTurn(turn):
                assert turn == self.open_turn, "only the open turn can end"
                self.open_turn = TurnId(0)
                self.cancelled = self.active is not None
            case do.ChangePersona(persona):
                assert self.conversation.link is not Link.DOWN
                assert persona != self.told and KINDS[persona] == KINDS[self.told], "this needs a new session"
                self.told = persona
            case do.OpenSession(session, persona=persona):
                assert session > self.session
                self.told = persona
                self.session, self.creates, self.active = session, 0, None
            case do.CloseSession(session):
                assert session == self.session
                self.creates, self.active = 0, None
            case do.CreateResponse():
                assert self.creates == 0 and self.active is None, "two responses at a time"
                assert self.open_turn, "nobody asked"
                assert self.told == self.conversation.persona, "somebody else would answer"
                self.creates = 1
                self.create_owner = self.open_turn
            case do.CancelResponse(response):
                assert response == self.active
                self.cancelled = True
            case do.Listen(expect):
                self.expected = expect
            case do.Play():
                assert self.open_turn and self.owner == self.open_turn and not self.cancelled, (
                    "audio of a dead response"
                )
            case do.OpenUplink(turn) | do.CloseUplink(turn) | do.ReplayUplink(turn):
                assert turn == self.open_turn, "audio leaves outside a turn"
            case do.RunTool(turn, call):
                assert turn == self.open_turn
                assert (turn, call) not in self.ran, "a call runs twice"
                self.ran.add((turn, call))
            case do.Duck(db):
                assert db != self.ducked, "ducked twice"
                self.ducked = db
            case do.HoldPlayback():
                assert not self.held, "held twice"
                self.held = True
            case do.ResumePlayback():
                assert self.held, "nothing was held"
                self.held = False
            case do.StopPlayback():
                self.held = False
            case do.StartAlert(alert):
                assert self.open_turn == 0, "ringing into a conversation"
                self.ringing.add(alert)
            case _:
                pass

    # --- people ---

    @rule(seconds=st.floats(0, 30))
    def time_passes(self, seconds: float) -> None:
        until = self.at + seconds
        while (deadline := self.conversation.deadline) is not None and deadline <= until:
            self.at = max(self.at, deadline)
            self.send(ev.Tick(self.at))
        self.at = until

    @rule()
    def early_tick(self) -> None:
        self.send(ev.Tick(self.at))

    @rule(word=st.sampled_from(["alexa", *PERSONAS]))
    def wake(self, word: str) -> None:
        self.send(ev.Woken(self.at, word, 0.9, 1000))

    @rule()
    def cap_is_reached(self) -> None:
        before = self.session
        self.send(ev.SessionRetired(self.at))
        retired = self.conversation.link is Link.DOWN or self.session > before
        assert retired or self.open_turn, "a session that may not be used any more is kept for nobody"

    @rule()
    def button(self) -> None:
        self.send(ev.ListenRequested(self.at, 1000))
        assert self.conversation.state is State.LISTENING

    @rule(muted=st.booleans())
    def mute(self, muted: bool) -> None:
        self.send(ev.MuteChanged(self.at, muted))
        assert not muted or self.conversation.state not in (State.LISTENING, State.FOLLOW_UP)

    @rule(volume=st.sampled_from([0.0, 49.5, 50.0, 50.5, 100.0]))
    def volume_changes(self, volume: float) -> None:
        self.volume = volume
        self.send(ev.VolumeChanged(self.at, volume))

    @rule()
    def speech_starts(self) -> None:
        held = self.held
        self.send(ev.SpeechStarted(self.at, 900))
        assert held or not self.held or self.speech_interrupts

    @rule(reason=st.sampled_from(StopReason))
    def speech_stops(self, reason: StopReason) -> None:
        self.send(ev.SpeechStopped(self.at, 9000, 8000, reason))

    @rule(suspected=st.booleans())
    def suspicion(self, suspected: bool) -> None:
        self.send(ev.BargeInSuspected(self.at) if suspected else ev.BargeInCleared(self.at))

    @rule()
    def an_interruption_is_confirmed(self) -> None:
        self.send(ev.BargeInConfirmed(self.at))

    @rule()
    def text(self) -> None:
        self.send(ev.TextSubmitted(self.at, "hello"))

    @rule()
    def announcement(self) -> None:
        self.send(ev.AnnouncementRaised(self.at, "dinner is ready"))

    @rule()
    def stop(self) -> None:
        self.send(ev.StopRequested(self.at))

    @rule(alert=ALERTS)
    def alert(self, alert: AlertId) -> None:
        self.send(ev.AlertRaised(self.at, alert, "tea"))

    @rule(alert=ALERTS)
    def alert_ends(self, alert: AlertId) -> None:
        self.send(ev.AlertEnded(self.at, alert))

    # --- the session ---

    @rule()
    def hint(self) -> None:
        self.send(ev.ConnectHint(self.at))

    @rule(back=st.sampled_from([0, 0, 0, 1]), expires_in=st.none() | st.floats(-10, 4000))
    def ready(self, back: int, expires_in: float | None) -> None:
        self.send(ev.SessionReady(self.at, self.session - back, expires_in))

    @rule(failure=st.sampled_from(Failure), back=st.sampled_from([0, 0, 1]), wait=st.none() | st.floats(0, 100))
    def lost(self, failure: Failure, back: int, wait: float | None) -> None:
        if back == 0:
            self.creates, self.active = 0, None
        self.send(ev.SessionLost(self.at, self.session - back, failure, wait))

    @rule()
    def server_hears_the_end(self) -> None:
        self.send(ev.ServerSpeechStopped(self.at, self.session))

    def _begin_response(self, owner: TurnId) -> None:
        self.serial += 1
        self.active = ResponseId(f"live{self.serial}")
        unwanted = owner != self.open_turn or owner == 0
        self.cancelled = False
        self.owner = owner
        self.send(ev.ResponseCreated(self.at, self.session, self.active))
        assert self.cancelled == unwanted, "a response that nobody wants is cancelled as soon as it exists"

    @precondition(lambda self: self.creates)
    @rule()
    def create_is_answered(self) -> None:
        self.creates = 0
        self._begin_response(self.create_owner)

    @precondition(lambda self: self.server and not self.creates and not self.active and self.open_turn)
    @rule()
    def server_answers_by_itself(self) -> None:
        if self.conversation.link is Link.DOWN:
            return
        adopted = self.conversation.state is State.THINKING
        self._begin_response(self.open_turn if adopted else TurnId(0))

    @precondition(lambda self: self.creates)
    @rule()
    def create_is_refused(self) -> None:
        self.creates = 0
        self.send(ev.ResponseRefused(self.at, self.session, busy=False))

    @precondition(lambda self: self.active)
    @rule(item=ITEMS, size=st.integers(1, 200_000))
    def audio(self, item: ItemId, size: int) -> None:
        self.send(ev.AnswerAudio(self.at, self.active, item, bytes(size * 2)))

    @precondition(lambda self: self.active)
    @rule(item=ITEMS)
    def audio_done(self, item: ItemId) -> None:
        self.send(ev.AnswerAudioDone(self.at, self.active, item))

    @precondition(lambda self: self.active)
    @rule(call=CALLS)
    def call(self, call: CallId) -> None:
        self.send(ev.ToolCalled(self.at, self.active, call, "clock_time", "{}"))

    @precondition(lambda self: self.active)
    @rule(call=CALLS)
    def goodbye(self, call: CallId) -> None:
        self.send(ev.ToolCalled(self.at, self.active, call, END_CONVERSATION, "{}"))

    @precondition(lambda self: self.active)
    @rule(status=st.sampled_from(ResponseStatus))
    def response_ends(self, status: ResponseStatus) -> None:
        response, self.active = self.active, None
        self.send(ev.ResponseDone(self.at, response, status))

    # --- what nobody asked for ---

    @rule(response=RESPONSES, item=ITEMS)
    def stale_audio(self, response: ResponseId, item: ItemId) -> None:
        before = self.owner
        self.owner = TurnId(-1)  # nothing of it may be played
        self.send(ev.AnswerAudio(self.at, response, item, bytes(960)))
        self.owner = before

    @rule(response=RESPONSES, call=CALLS)
    def stale_call(self, response: ResponseId, call: CallId) -> None:
        ran = len(self.ran)
        self.send(ev.ToolCalled(self.at, response, call, "clock_time", "{}"))
        assert len(self.ran) == ran

    @rule(response=RESPONSES, status=st.sampled_from(ResponseStatus))
    def stale_end(self, response: ResponseId, status: ResponseStatus) -> None:
        self.send(ev.ResponseDone(self.at, response, status))

    @rule(response=RESPONSES, item=ITEMS)
    def text_delta(self, response: ResponseId, item: ItemId) -> None:
        self.send(ev.AnswerText(self.at, self.active or response, item, "How long?"))

    # --- tools and speaker ---

    @rule(call=CALLS)
    def tool_ends(self, call: CallId) -> None:
        self.send(ev.ToolFinished(self.at, call, '"ok"'))

    @rule(item=ITEMS)
    def playback_starts(self, item: ItemId) -> None:
        self.send(ev.PlaybackStarted(self.at, item))

    @rule(item=ITEMS, ms=st.integers(0, 100_000), interrupted=st.booleans())
    def playback_stops(self, item: ItemId, ms: int, interrupted: bool) -> None:
        self.send(ev.PlaybackStopped(self.at, item, Milliseconds(ms), interrupted))

    # --- what must always hold ---

    @invariant()
    def every_state_but_idle_has_a_deadline(self) -> None:
        if self.conversation.state is not State.IDLE:
            assert self.conversation.deadline is not None

    @invariant()
    def only_an_answer_is_ducked(self) -> None:
        assert not self.ducked or self.conversation.state is State.SPEAKING

    @invariant()
    def only_an_answer_is_held(self) -> None:
        assert not self.held or self.conversation.state is State.SPEAKING

    @property
    def speech_interrupts(self) -> bool:
        """Where it is wanted, and not louder than it was tested."""
        return self.barge_in is BargeIn.SPEECH and self.volume <= self.loudest

    @invariant()
    def speech_is_listened_for_exactly_while_it_may_interrupt(self) -> None:
        if self.conversation.state is State.SPEAKING and not self.held:
            assert self.expected is (Expect.BARGE_IN if self.speech_interrupts else Expect.NOTHING)

    @invariant()
    def a_turn_is_open_exactly_while_the_state_says_so(self) -> None:
        busy = self.conversation.state in (State.LISTENING, State.THINKING, State.SPEAKING)
        assert busy == (self.open_turn != 0) == (self.conversation.turn != 0)

    def teardown(self) -> None:
        """Left alone, whatever happened, it comes to rest: no turn, no session, no deadline."""
        if not hasattr(self, "conversation"):
            return
        for _ in range(100):
            if (deadline := self.conversation.deadline) is None:
                break
            self.at = max(self.at, deadline)
            self.send(ev.Tick(self.at))
        assert self.conversation.state is State.IDLE
        assert self.conversation.link is Link.DOWN
        assert self.conversation.deadline is None


House.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestHouse = House.TestCase

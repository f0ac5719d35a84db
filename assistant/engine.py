"""The shell around the conversation: takes events, carries out commands, sends ticks.

It owns the realtime session of the moment, the running tool calls, and the timer of the conversation's deadline. It
does not own the devices: those belong to the daemon, which hands them in.

Everything here runs on the event loop. ``dispatch`` may be called from anywhere on it, also while another event is
being handled: events are taken one at a time, in order.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, assert_never

from assistant.alerts import AlertBoard
from assistant.audio.earcons import earcon
from assistant.audio.hearing import Hearing
from assistant.audio.player import PlaybackStarted, PlaybackStopped, Player, PlayerEvent, SpeakerLost
from assistant.core import commands as do
from assistant.core import events as ev
from assistant.core.commands import Command, Phrase
from assistant.core.completeness import Completeness
from assistant.core.conversation import Conversation
from assistant.core.events import Event
from assistant.core.policy import State
from assistant.journal import Journal
from assistant.phrasebook import Phrasebook
from assistant.realtime.session import RealtimeSession
from assistant.realtime.settings import Persona
from assistant.tools.runner import ToolRunner
from assistant.types import CallId, ItemId, TurnId

log = logging.getLogger(__name__)

CLOSE_GRACE: Final = 1.5
"""Seconds that a session may take to say goodbye before its socket is cut."""

NOT_OFFERED: Final = '{"error": "you have no such tool"}'

UsageSink: TypeAlias = Callable[[Mapping[str, Any]], None]


class SessionFactory(Protocol):
    """Makes a session that is not connected yet; the engine runs it."""

    def __call__(
        self, number: int, persona: str, emit: Callable[[Event], None], usage: UsageSink
    ) -> RealtimeSession: ...


class Engine:
    """Runs one conversation. Call :meth:`run` in a task; everything else may be called while it runs."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        sessions: SessionFactory,
        personas: Callable[[str], Persona],
        hearing: Hearing,
        player: Player,
        alerts: AlertBoard,
        tools: ToolRunner,
        phrases: Phrasebook,
        journal: Journal,
    ) -> None:
        self.conversation = conversation
        self.journal = journal
        self._sessions = sessions
        self._personas = personas
        self._player = player
        self._tools = tools
        self._phrases = phrases
        self._hearing = hearing
        self._alerts = alerts
        self._loop = asyncio.get_running_loop()
        self._events: deque[Event] = deque()
        self._handling = False
        self._timer: asyncio.TimerHandle | None = None
        self._group: asyncio.TaskGroup | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._session: RealtimeSession | None = None
        self._session_tasks: dict[int, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._state = conversation.state
        self._link = conversation.link
        self.idle = asyncio.Event()
        """Set while no turn is going on."""
        self.idle.set()
        self.speaker_lost = asyncio.Event()
        """Set when the speaker's device has gone; whoever opens it again clears it."""

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until :meth:`stop`. Cancelling cuts the session and the running tools.

        An error in handling an event ends it with that error: a conversation that is not what it seems helps nobody.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._pump()
            try:
                await self._over
                await self._say_goodbye()
            finally:
                self._group = None
                self._disarm()

    def end_turn(self) -> None:
        """End whatever is going on, without a sound."""
        self.dispatch(ev.StopRequested(self._loop.time()))

    def stop(self) -> None:
        """End the turn without a sound, close the session, and let :meth:`run` return."""
        if not self._over.done():
            self._over.set_result(None)

    async def _say_goodbye(self) -> None:
        self.end_turn()
        if self._session is not None:
            self._session.close()
        tasks = [task for task in self._session_tasks.values() if not task.done()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_GRACE)
        for task in tasks:
            task.cancel()
        for call in self._calls:
            call.cancel()

    # --- events and time --------------------------------------------------------------------------------------------

    def dispatch(self, event: Event) -> None:
        """Let the conversation handle an event, and carry out what it asks for. Before :meth:`run` it waits."""
        self._events.append(event)
        self.idle.clear()
        self._pump()

    def _pump(self) -> None:
        if self._handling or self._group is None:
            return  # the outer call, or run(), goes on with it
        self._handling = True
        try:
            while self._events:
                self._handle(self._events.popleft())
        except Exception as error:
            if self._over.done():
                raise
            self._over.set_exception(error)
        finally:
            self._handling = False
        self._arm()

    def _handle(self, event: Event) -> None:
        self.journal.event(event)
        for command in self.conversation.handle(event):
            self.journal.command(command, self._loop.time())
            self._perform(command)
        if self.conversation.state is not self._state:
            self._state = self.conversation.state
            self.journal.state(self._state, self._loop.time())
            self._hearing.speaking(self._state is State.SPEAKING)
        if self.conversation.link is not self._link:
            self._link = self.conversation.link
            self.journal.note("link", self._loop.time(), state=self._link.value, persona=self.conversation.persona)
        if self._state is State.IDLE and not self._events:  # one that waits may begin a turn
            self.idle.set()
        else:
            self.idle.clear()

    def _arm(self) -> None:
        self._disarm()
        deadline = self.conversation.deadline
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        # A timer may fire a clock resolution early, and must not be armed again for the same moment for ever.
        self.dispatch(ev.Tick(max(self._loop.time(), self.conversation.deadline or 0.0)))

    # --- commands ---------------------------------------------------------------------------------------------------

    def _perform(self, command: Command) -> None:
        match command:
            case do.Listen(expect, since, delay_ms):
                self._hearing.expect(expect, since, delay_ms)
            case do.OpenUplink(turn, from_sample):
                self._hearing.uplink.open(turn, from_sample)
            case do.CloseUplink(turn):
                self._hearing.uplink.close(turn)
            case do.DropUplink(turn):
                self._hearing.uplink.drop(turn)
            case do.ReplayUplink(turn):
                self._hearing.uplink.replay(turn)
            case do.OpenSession(number, delay_s, persona):
                self._open_session(number, delay_s, persona)
            case do.ChangePersona(persona):
                self._live_session.change_persona(self._personas(persona))
            case do.RestoreHistory(messages):
                self._live_session.restore(messages)
            case do.CloseSession(number):
                self._close_session(number)
            case do.ClearInput():
                self._live_session.clear()
            case do.CommitInput():
                self._live_session.commit()
            case do.SendText(text):
                self._live_session.say(text)
            case do.CreateResponse(tools, announce):
                self._live_session.create_response(tools=tools, announce=announce)
            case do.CancelResponse(response):
                self._live_session.cancel_response(response)
            case do.TruncateItem(item, heard_ms):
                self._live_session.truncate(item, heard_ms)
            case do.AnswerToolCall(call, output):
                self._live_session.answer_call(call, output)
            case do.Play(item, pcm):
                self._player.play(item, pcm)
            case do.FinishPlayback(item):
                self._player.finish(item)
            case do.StopPlayback():
                self._player.interrupt()
            case do.HoldPlayback():
                self._player.hold()
            case do.ResumePlayback():
                self._player.resume()
            case do.Duck(db):
                self._player.duck(db)
            case do.PlayEarcon(kind):
                self._player.earcon(earcon(kind.value))
            case do.SayPhrase(item, phrase):
                self._say_phrase(item, phrase)
            case do.StartAlert(alert):
                self._player.start_alert(alert, earcon("alert"))
                self._alerts.started(alert)
            case do.StopAlert(alert, dismissed):
                self._player.stop_alert(alert)
                self._alerts.stopped(alert, dismissed=dismissed)
            case do.RunTool(turn, call, name, arguments):
                self._run_tool(turn, call, name, arguments)
            case do.BeginTurn(turn):
                log.info("turn %d begins", turn)
            case do.EndTurn(turn, outcome, detail):
                log.info("turn %d: %s%s", turn, outcome.value, f" ({detail})" if detail else "")
                self.journal.note("uplink", self._loop.time(), turn=turn, sent_bytes=self._hearing.uplink.sent_bytes)
            case _:
                assert_never(command)

    # --- the session ------------------------------------------------------------------------------------------------

    @property
    def _live_session(self) -> RealtimeSession:
        """The session of the moment. One that is over takes what it is told and does nothing with it."""
        assert self._session is not None, "the conversation opens a session before it uses one"
        return self._session

    def send_audio(self, pcm: bytes) -> None:
        """Where the uplink sends to."""
        self._live_session.append(pcm)

    def ask_completeness(self, tell: Callable[[Completeness], None]) -> None:
        """Whether the request that is being spoken is whole already; where nobody knows, there is no answer."""

        def answer(found: Completeness) -> None:
            self.journal.note("completeness", self._loop.time(), found=found.value)
            tell(found)

        if self._session is not None:
            self._session.ask_completeness(answer)

    def _open_session(self, number: int, delay: float, persona: str) -> None:
        assert self._group is not None
        session = self._sessions(number, persona, self.dispatch, lambda usage: self._usage(session, usage))
        self._session = session
        task = self._group.create_task(session.run(delay), name=f"session-{number}")
        self._session_tasks[number] = task
        task.add_done_callback(lambda _: self._session_over(session))

    def _close_session(self, number: int) -> None:
        self._live_session.close()
        if (task := self._session_tasks.get(number)) is not None:
            self._loop.call_later(CLOSE_GRACE, task.cancel)

    def retire_session(self) -> None:
        """Let go of the session as soon as no turn is going on, since it may not be used any more (a cap on costs).
        The next turn asks for a new one."""
        self.dispatch(ev.SessionRetired(self._loop.time()))

    def _session_over(self, session: RealtimeSession) -> None:
        del self._session_tasks[session.number]
        counters = session.counters
        self.journal.note(
            "session_closed",
            self._loop.time(),
            session=session.number,
            audio_bytes=counters.audio_bytes,
            messages_out=counters.messages_out,
            messages_in=counters.messages_in,
        )

    def _usage(self, session: RealtimeSession, usage: Mapping[str, Any]) -> None:
        turn = self.conversation.turn
        self.journal.note("usage", self._loop.time(), turn=turn, model=session.model, usage=dict(usage))

    # --- tools and playback -----------------------------------------------------------------------------------------

    def _run_tool(self, turn: TurnId, call: CallId, name: str, arguments: str) -> None:
        assert self._group is not None
        if not self._live_session.offers(name):
            # What a persona may not use is not run either, whatever the model makes up.
            log.warning("the model called %s, which it was not offered", name[:100])
            self.dispatch(ev.ToolFinished(self._loop.time(), call, NOT_OFFERED))
            return
        task = self._group.create_task(self._call_tool(turn, call, name, arguments), name=f"tool-{name}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call_tool(self, turn: TurnId, call: CallId, name: str, arguments: str) -> None:
        outcome = await self._tools.call(name, arguments, turn=turn)
        self.journal.note(
            "tool_result",
            self._loop.time(),
            call=call,
            tool=name,
            status=outcome.status,
            duration_ms=round(outcome.duration_s * 1000, 1),
        )
        self.dispatch(ev.ToolFinished(self._loop.time(), call, outcome.output))

    def _say_phrase(self, item: ItemId, phrase: Phrase) -> None:
        pcm = self._phrases.pcm(phrase)
        if pcm is not None:
            self._player.play(item, pcm)
            self._player.finish(item)

    def playback(self, event: PlayerEvent) -> None:
        """Take what the player reports."""
        match event:
            case PlaybackStarted(item=item, at=at, asked_at=asked_at, first_pull_at=pulled_at):
                self.journal.note("first_sample", pulled_at, item=item, received_at=round(asked_at, 4))
                self.dispatch(ev.PlaybackStarted(at, item))
            case PlaybackStopped(item=item, played_ms=played_ms, interrupted=interrupted, at=at):
                self.dispatch(ev.PlaybackStopped(at, item, played_ms, interrupted))
            case SpeakerLost():
                self.speaker_lost.set()  # its items have been reported one by one
            case _:
                assert_never(event)

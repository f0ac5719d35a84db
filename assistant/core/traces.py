"""Traces of turns: the moments that make up a turn's latency, out of the journal's entries. PURE.

A trace holds times, names of tools, counts and outcomes, and nothing of what was said.

The moments (edges) are those of a voice turn over a realtime session, from the wake word to the last sample heard.
What a person feels as latency is ``last_voiced`` to ``first_sample``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from assistant.core.pricing import OddUsage, Tokens, read_usage
from assistant.types import MIC_RATE, SPEAKER_RATE

JournalEntry: TypeAlias = Mapping[str, Any]

EDGES: Final = (
    "wake",  # the wake word was recognised
    "session_open",  # connecting begins; before the wake word if it was foreseen
    "socket_open",
    "session_created",
    "session_ready",  # it has taken our settings
    "speech_started",  # endpointing is sure that the user speaks
    "uplink_open",  # audio begins to be sent, what waited in the ring buffer first
    "last_voiced",  # the end of the last frame that held speech
    "endpoint",  # endpointing is sure that the user has finished
    "commit",  # the utterance is complete
    "response_created",
    "first_transcript",  # first piece of the answer in words
    "first_audio",  # first piece of the answer's sound
    "first_sample",  # the speaker takes its first sample
    "response_done",  # of the last response
    "playback_end",
    "barge_in",  # the user began the next turn
    "end",
)

SPANS: Final = {
    "last voiced -> commit": ("last_voiced", "commit"),
    "commit -> first audio": ("commit", "first_audio"),
    "first audio -> first sample": ("first_audio", "first_sample"),
    "last voiced -> first sample": ("last_voiced", "first_sample"),
    "wake -> session ready": ("wake", "session_ready"),
    "barge-in -> silence": ("barge_in", "playback_end"),
}
"""The spans that are worth watching, by what people call them."""

MAX_RESPONSES: Final = 64
MAX_ENDED: Final = 4
MAX_LISTED: Final = 50
"""Tools and reconnects that one trace lists."""

_BYTES_PER_MS: Final = SPEAKER_RATE * 2 / 1000


class ResponseOwners:
    """Which turn each response belongs to. Creates are answered in order; a response may be created and end after
    its turn."""

    def __init__(self) -> None:
        self.turn = 0
        self._session: int | None = None
        self._creates: deque[int] = deque(maxlen=MAX_RESPONSES)
        self._turns: dict[str, int] = {}

    def feed(self, entry: JournalEntry) -> None:
        match entry:
            case {"name": "begin_turn", "turn": turn}:
                self.turn = turn
            case {"name": "end_turn"}:
                self.turn = 0
            case {"name": "open_session", "session": session}:
                self._session = session
                self._creates.clear()
            case {"name": "session_lost" | "close_session", "session": session} if session == self._session:
                self._creates.clear()
            case {"name": "create_response"}:
                self._creates.append(self.turn)
            case {"name": "response_refused", "session": session} if session == self._session and self._creates:
                self._creates.popleft()
            case {"name": "response_created", "session": session, "response": response} if session == self._session:
                # Without a create of ours the server has begun it by itself (server turn detection).
                self._turns[response] = self._creates.popleft() if self._creates else self.turn
                if len(self._turns) > MAX_RESPONSES:
                    del self._turns[next(iter(self._turns))]

    def owner(self, response: str) -> int | None:
        """The turn of a response; 0 is no turn, None a response that was never seen."""
        return self._turns.get(response)

    def awaited(self, turn: int) -> bool:
        """Whether a create of this turn is still unanswered."""
        return turn in self._creates


@dataclass(frozen=True, slots=True)
class ToolTrace:
    """One tool call: when it began, and how long it took, in ms (None: it had not ended)."""

    name: str
    at: float
    ms: float | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Reconnect:
    """A session that was lost within the turn, ms, and why."""

    at: float
    cause: str


@dataclass(frozen=True, slots=True)
class TurnTrace:
    """One turn. All times are ms from its beginning: the wake word if there was one, else whatever began it.

    began_at: that moment on the event loop's clock, in seconds.
    trigger: wake, follow_up, barge_in (without a wake word), text, or announcement (nobody asked).
    edges: every name of EDGES; None where it did not happen.
    warm: the session was open already.
    sent_ms: audio sent for the utterance. tokens: None if the server told none.
    """

    turn: int
    began_at: float
    trigger: str
    word: str | None
    outcome: str
    detail: str
    warm: bool
    edges: Mapping[str, float | None]
    tools: tuple[ToolTrace, ...] = ()
    reconnects: tuple[Reconnect, ...] = ()
    sent_ms: int = 0
    responses: int = 0
    tokens: Tokens | None = None

    def span(self, name: str) -> float | None:
        """One of SPANS in ms, or None if it did not happen in this turn."""
        return span_of(self.edges, name)


def span_of(edges: Mapping[str, float | None], name: str) -> float | None:
    """One of SPANS in ms out of the edges of a turn; None if it did not happen, or not in this order."""
    begin, end = (edges.get(edge) for edge in SPANS[name])
    return None if begin is None or end is None or end < begin else end - begin


@dataclass(slots=True)
class _Turn:
    """A turn that is still being followed. Times are on the loop's clock until the trace is made."""

    id: int
    began_at: float
    trigger: str
    word: str | None = None
    warm: bool = False
    edges: dict[str, float] = field(default_factory=dict)
    tools: dict[str, ToolTrace] = field(default_factory=dict)
    reconnects: list[Reconnect] = field(default_factory=list)
    open_responses: set[str] = field(default_factory=set)
    playing: set[str] = field(default_factory=set)
    responses: int = 0
    tokens: Tokens | None = None
    sent_bytes: int = 0
    silenced_at: float | None = None  # since then its answer is held
    outcome: str | None = None
    detail: str = ""

    def first(self, edge: str, at: float) -> None:
        self.edges.setdefault(edge, at)

    def last(self, edge: str, at: float) -> None:
        self.edges[edge] = at

    def ms(self, at: float) -> float:
        return round((at - self.began_at) * 1000, 1)

    def trace(self) -> TurnTrace:
        times = {edge: self.ms(self.edges[edge]) if edge in self.edges else None for edge in EDGES}
        return TurnTrace(
            turn=self.id,
            began_at=self.began_at,
            trigger=self.trigger,
            word=self.word,
            outcome=self.outcome or "unfinished",
            detail=self.detail,
            warm=self.warm,
            edges=times,
            tools=tuple(self.tools.values()),
            reconnects=tuple(self.reconnects),
            sent_ms=int(self.sent_bytes / _BYTES_PER_MS),
            responses=self.responses,
            tokens=self.tokens,
        )


class TraceBuilder:
    """Feed it every journal entry; it gives the traces of turns that are over.

    A turn that has ended is kept until its responses and its playback have ended too, as they do when it was
    interrupted; the next but few turns end it in any case.
    """

    def __init__(self) -> None:
        self._owners = ResponseOwners()
        self._turn: _Turn | None = None
        self._ended: list[_Turn] = []
        self._before: JournalEntry = {}  # the event that came last: what began a turn
        self._held: JournalEntry | None = None  # the speech that has silenced the answer, and may turn out to be none
        self._state = "idle"
        self._usage: Mapping[str, Any] | None = None
        self._session: int | None = None
        self._opened_at: float | None = None  # of a session that is being opened
        self._ready = False
        self._sent_bytes = 0

    def feed(self, entry: JournalEntry) -> list[TurnTrace]:
        """Take an entry; gives the turns that are complete with it."""
        self._owners.feed(entry)
        name, at = entry["name"], entry["at"]
        match entry["kind"]:
            case "state":
                self._state = name
            case "event":
                self._event(name, at, entry)
                self._before = entry
            case "command":
                self._command(name, at, entry)
            case "note":
                self._note(name, at, entry)
        if name == "end_turn":
            return list(self._overdue())  # the uplink's note belongs to it, too
        return [*self._overdue(), *self._complete()]

    def flush(self) -> list[TurnTrace]:
        """The turns that are left at the end of the process."""
        left = [*self._ended, *([self._turn] if self._turn else [])]
        self._ended, self._turn = [], None
        return [turn.trace() for turn in left]

    def _overdue(self) -> Iterator[TurnTrace]:
        while len(self._ended) > MAX_ENDED:
            yield self._ended.pop(0).trace()

    def _complete(self) -> Iterator[TurnTrace]:
        waiting = []
        for turn in self._ended:
            if turn.open_responses or turn.playing or self._owners.awaited(turn.id):
                waiting.append(turn)
            else:
                yield turn.trace()
        self._ended = waiting

    # --- events -----------------------------------------------------------------------------------------------------

    def _event(self, name: str, at: float, entry: JournalEntry) -> None:
        match entry:
            case {"name": "response_created", "response": response}:
                if (turn := self._of_response(response)) is not None:
                    turn.first("response_created", at)
                    turn.responses += 1
                    turn.open_responses.add(response)
            case {"name": "response_done", "response": response}:
                self._response_done(response, at)
            case {"name": "answer_text" | "answer_audio", "response": response}:
                if (turn := self._of_response(response)) is not None:
                    turn.first("first_transcript" if name == "answer_text" else "first_audio", at)
            case {"name": "playback_stopped", "item": item}:
                if (turn := self._of_item(item)) is not None:
                    turn.playing.discard(item)
                    turn.last("playback_end", turn.silenced_at or at)
            case {"name": "session_ready" | "session_lost"}:
                self._link(name, at, entry)
            case {"name": "speech_started" | "speech_stopped" | "server_speech_stopped"} if self._held is None:
                if self._turn is not None:
                    _speech(self._turn, entry)

    def _response_done(self, response: str, at: float) -> None:
        usage, self._usage = self._usage, None
        turn = self._of_response(response)
        if turn is None:
            return
        turn.open_responses.discard(response)
        turn.last("response_done", at)
        try:
            tokens = read_usage(usage) if usage is not None else None
        except OddUsage:
            return
        if tokens is not None:
            turn.tokens = tokens if turn.tokens is None else turn.tokens + tokens

    def _link(self, name: str, at: float, entry: JournalEntry) -> None:
        if entry["session"] != self._session:
            return
        self._ready = name == "session_ready"
        if self._ready:
            self._opened_at = None
            if self._turn is not None:
                for edge, key in (("socket_open", "connected_at"), ("session_created", "created_at")):
                    if entry.get(key) is not None:
                        self._turn.first(edge, entry[key])
                self._turn.first("session_ready", at)
            return
        self._forget_session()
        if self._turn is not None and len(self._turn.reconnects) < MAX_LISTED:
            self._turn.reconnects.append(Reconnect(self._turn.ms(at), str(entry["failure"])))

    def _forget_session(self) -> None:
        self._ready, self._opened_at = False, None
        for turn in self._turns():
            turn.open_responses.clear()

    # --- commands and notes -----------------------------------------------------------------------------------------

    def _command(self, name: str, at: float, entry: JournalEntry) -> None:
        turn = self._turn
        match entry:
            case {"name": "begin_turn", "turn": number}:
                self._begin(number, at)
            case {"name": "end_turn", "outcome": outcome, "detail": detail}:
                self._end(at, outcome, detail)
            case {"name": "hold_playback"} if turn is not None:
                self._held = self._before
                turn.silenced_at = at
            case {"name": "resume_playback"} if turn is not None:
                self._held = turn.silenced_at = None
            case {"name": "open_session", "session": session}:
                self._session, self._ready, self._opened_at = session, False, at
                if turn is not None:
                    turn.first("session_open", at)
            case {"name": "close_session", "session": session} if session == self._session:
                self._forget_session()
            case {"name": "open_uplink"} if turn is not None:
                turn.first("uplink_open", at)
            case {"name": "commit_input" | "send_text"} if turn is not None:
                turn.first("commit", at)
            case {"name": "play", "item": item} if turn is not None:
                turn.playing.add(item)
            case {"name": "run_tool", "call": call, "tool": tool} if turn is not None and len(turn.tools) < MAX_LISTED:
                turn.tools[call] = ToolTrace(str(tool), turn.ms(at))

    def _begin(self, number: int, at: float) -> None:
        held, self._held = self._held, None
        at_once = self._before.get("name") in ("woken", "text_submitted", "listen_requested")
        began_by = self._before if held is None or at_once else held
        cause = began_by.get("name")
        began_at = began_by["at"] if cause in ("woken", "speech_started", "text_submitted") else at
        trigger = "text" if cause == "text_submitted" else "announcement"
        turn = self._turn = _Turn(number, began_at, trigger, warm=self._ready)
        match began_by:
            case {"name": "woken", "word": word}:
                turn.trigger, turn.word = "wake", word
                turn.first("wake", began_at)
            case {"name": "speech_started"}:
                turn.trigger = "follow_up" if self._state == "follow_up" else "barge_in"
                _speech(turn, began_by)
        if self._opened_at is not None:
            turn.first("session_open", self._opened_at)

    def _end(self, at: float, outcome: str, detail: str) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        turn.outcome, turn.detail = outcome, detail
        if outcome == "interrupted":
            turn.first("barge_in", (self._held or self._before).get("at", at))
        else:
            self._held = None
        turn.first("end", at)
        self._ended.append(turn)

    def _note(self, name: str, at: float, entry: JournalEntry) -> None:
        match entry:
            case {"name": "usage", "usage": usage}:
                self._usage = usage  # its response_done follows
            case {"name": "first_sample", "item": item}:
                if (turn := self._of_item(item)) is not None:
                    turn.first("first_sample", at)
            case {"name": "tool_result", "call": call, "status": status, "duration_ms": ms}:
                for turn in self._turns():
                    if (tool := turn.tools.get(call)) is not None:
                        turn.tools[call] = ToolTrace(tool.name, tool.at, ms, str(status))
            case {"name": "uplink", "turn": number, "sent_bytes": sent}:
                before, self._sent_bytes = self._sent_bytes, sent
                for turn in self._turns():
                    if turn.id == number:
                        turn.sent_bytes = max(0, sent - before)

    # --- whose is it? -----------------------------------------------------------------------------------------------

    def _turns(self) -> list[_Turn]:
        return [*([self._turn] if self._turn else []), *self._ended]

    def _of_response(self, response: str) -> _Turn | None:
        owner = self._owners.owner(response)
        return next((turn for turn in self._turns() if turn.id == owner), None)

    def _of_item(self, item: str) -> _Turn | None:
        return next((turn for turn in self._turns() if item in turn.playing), None)


def _speech(turn: _Turn, entry: JournalEntry) -> None:
    """The edges of the user's part. ``last_voiced`` is told as a position in the microphone's stream, beside the
    position at which the event was made: the rest of that frame's way is a few ms."""
    match entry:
        case {"name": "speech_started", "at": at}:
            turn.first("speech_started", at)
        case {"name": "speech_stopped", "at": at, "sample": sample, "last_voiced": last_voiced}:
            turn.first("last_voiced", at - (sample - last_voiced) / MIC_RATE)
            turn.first("endpoint", at)
        case {"name": "server_speech_stopped", "at": at}:
            turn.first("endpoint", at)
            turn.first("commit", at)

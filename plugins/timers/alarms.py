"""Alarms and reminders: jobs of the plugin's schedule that ring, and say what they are about.

They are repeatable: if the assistant ends while one rings, it rings again after the start.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from assistant.plugin import Context, Daily, Field, Job, RingEnd, ToolError, When, tool

from .bell import Bell, Sound
from .words import (
    SECONDS,
    SPOKEN_DAYS,
    SPOKEN_PARTS,
    SPOKEN_REPEATS,
    SPOKEN_TIMES,
    SPOKEN_UNITS,
    Part,
    listing,
    moment,
    rule,
    span,
    spoken_moment,
    spoken_rule,
)

MAX_EACH = 99
LATE_S = 60.0
TOO_LATE_S = 1800.0  # an alarm that is so late is told of, but does not ring

REMINDER_RING_S = 6.0
REMINDER_ROUNDS = 3
REMINDER_PAUSE_S = 60.0

ERRANDS = (
    "call mum",
    "call mom",
    "call dad",
    "call the doctor",
    "take my medicine",
    "take my pills",
    "take out the trash",
    "feed the cat",
    "feed the dog",
    "walk the dog",
    "water the plants",
    "do the laundry",
    "do the dishes",
    "check the oven",
    "drink water",
    "go to bed",
    "leave the house",
)

Time = Annotated[str, Field(pattern=r"^\d{1,2}:\d{2}( next)?$")]
Repeat = Annotated[str, Field(max_length=40)]
LISTS: dict[str, Any] = {
    "time": SPOKEN_TIMES,
    "part": SPOKEN_PARTS,
    "day": SPOKEN_DAYS,
    "repeat": SPOKEN_REPEATS,
}


class Alarms:
    """The tools for alarms and reminders, as a part of the plugin."""

    context: Context
    config: Any
    bell: Bell

    def start_alarms(self) -> None:
        self.context.entities("errands", {text: text for text in self.config.errands})
        self.context.schedule.handle("alarm", self._alarm, repeatable=True)
        self.context.schedule.handle("reminder", self._remind, repeatable=True)

    # --- tools: on threads, since they write to the disk --------------------------------------------------------------

    @tool(
        sentences=[
            "(wake me [up] at|(set|make) an alarm (for|at)|alarm (for|at)) {time} [{part}] [{repeat}|{day}]",
            "(wake me [up]|(set|make) an alarm [for]) ({repeat}|{day}) at {time} [{part}]",
            "(wake me up|(set|make) an alarm)",
        ],
        lists=LISTS,
        asks={"time": "For what time?"},
    )
    def set_alarm(
        self,
        time: Time,
        repeat: Repeat | None = None,
        day: Annotated[str, Field(max_length=10)] | None = None,
        part: Part | None = None,
        name: Annotated[str, Field(max_length=40)] | None = None,
    ) -> dict[str, str]:
        """Set an alarm for a time of day.

        time: HH:MM in 24 hours, such as 07:00; or "7:00 next" for the next seven o'clock if the user did not say which
        repeat: daily, weekdays, weekends, or days such as mon,thu; leave out for an alarm that rings once
        day: today, tomorrow or YYYY-MM-DD; leave out for the next time
        part: the part of the day that the user said with a time of twelve hours
        name: what it is for; leave out if the user gave nothing
        """
        when = self._when(time, part, day, repeat)
        title = f"{name} alarm" if name else "alarm"
        job = self._add("alarm", when, {"title": title})
        return {"say": f"{_capital(title)} set {self._spoken(job)}.", "due": job.due.isoformat()}

    @tool(
        sentences=[
            "remind me to {errand:text} (at {time} [{part}] [{repeat}|{day}]|in {amount} {unit})",
            "remind me to {text} (at {time} [{part}] [{repeat}|{day}]|in {amount} {unit})",
            "remind me to {errand:text} ({repeat}|{day}) at {time} [{part}]",
            "remind me ({repeat}|{day}) at {time} [{part}]",
            "remind me (at {time} [{part}]|in {amount} {unit})",
        ],
        lists={**LISTS, "unit": SPOKEN_UNITS, "errand": "errands"},
    )
    def set_reminder(
        self,
        text: Annotated[str, Field(max_length=200)] | None = None,
        time: Time | None = None,
        amount: Annotated[int, Field(ge=1, le=999)] | None = None,
        unit: Literal["seconds", "minutes", "hours"] = "minutes",
        repeat: Repeat | None = None,
        day: Annotated[str, Field(max_length=10)] | None = None,
        part: Part | None = None,
    ) -> dict[str, str]:
        """Remind the user of something at a time of day, or after some time.

        text: what to remind of, such as "call mum"; ask if the user did not say it
        time: HH:MM in 24 hours, or "6:00 next" for the next six o'clock; leave out if amount is given
        amount: how many units from now on
        unit: the unit of amount
        repeat: daily, weekdays, weekends, or days such as mon,thu; only with time
        day: today, tomorrow or YYYY-MM-DD; only with time
        part: the part of the day that the user said with a time of twelve hours
        """
        if (time is None) == (amount is None):
            raise ToolError("When? Say a time, or in how many minutes.")
        text = " ".join((text or "").split()) or None
        when: When
        if time is not None:
            when = self._when(time, part, day, repeat)
        elif repeat or day:
            raise ToolError("A reminder after some time comes once: give a time of day instead.")
        else:
            when = timedelta(seconds=(amount or 0) * SECONDS[unit])
        job = self._add("reminder", when, {"title": "reminder", "text": text})
        at = f"in {span((amount or 0) * SECONDS[unit])}" if amount else self._spoken(job).removeprefix("for ")
        if text is None:
            say = (
                f"I will ring {at}, without saying why: I did not get the words. "
                "Offline I only know a few errands by ear; others can be typed."
            )
        else:
            say = f"I will remind you {at} to {text}."
        return {"say": say, "due": job.due.isoformat()}

    @tool(sentences=["(list|what are) (my|the) alarms", "(what|which|how many) alarms (are|do i have) [set]"])
    def list_alarms(self) -> dict[str, object]:
        """List all alarms that are still to come."""
        return self._listed("alarm")

    @tool(sentences=["(list|what are) (my|the) reminders", "(what|which|how many) reminders (are there|do i have)"])
    def list_reminders(self) -> dict[str, object]:
        """List all reminders that are still to come."""
        return self._listed("reminder")

    @tool(
        sentences=["(cancel|delete|remove) (the|my) alarm", "(cancel|delete|remove) (the|my) {time} alarm"],
        lists={"time": SPOKEN_TIMES},
    )
    def cancel_alarm(self, time: Time | None = None) -> dict[str, str]:
        """Cancel one alarm, also one that comes again and again.

        time: its time, HH:MM in 24 hours; leave out if there is only one
        """
        jobs = self.context.schedule.jobs("alarm")
        if time is not None:
            half = 12 if time.endswith(" next") else 24
            hour, minute = (int(number) for number in time.removesuffix(" next").split(":"))
            jobs = [job for job in jobs if (job.due.hour % half, job.due.minute) == (hour % half, minute)]
        return self._cancelled(jobs, "alarm")

    @tool(sentences=["(cancel|delete|remove) (the|my) reminder"])
    def cancel_reminder(self, text: str | None = None) -> dict[str, str]:
        """Cancel one reminder, also one that comes again and again.

        text: some words of it; leave out if there is only one
        """
        jobs = self.context.schedule.jobs("reminder")
        if text is not None:
            jobs = [job for job in jobs if text.casefold() in str(job.data.get("text") or "").casefold()]
        return self._cancelled(jobs, "reminder")

    @tool(sentences=["(cancel|delete|remove) all [the|my] alarms"])
    def cancel_all_alarms(self) -> dict[str, object]:
        """Cancel all alarms that are still to come."""
        jobs = self.context.schedule.jobs("alarm")
        count = sum(self.context.schedule.cancel(job) for job in jobs)
        say = {0: "There is no alarm.", 1: "One alarm is cancelled."}.get(count, f"All {count} alarms are cancelled.")
        return {"say": say, "cancelled": count}

    @tool(
        sentences=["snooze", "snooze for {minutes} minute[s]", "(wake|remind) me again in {minutes} minute[s]"],
        lists={"minutes": {"1": "(a|an)"}},
    )
    def snooze(self, minutes: Annotated[int, Field(ge=1, le=120)] | None = None) -> dict[str, str]:
        """Let what rings now, or was silenced a moment ago, ring again later.

        minutes: how much later; leave out for the usual
        """
        minutes = minutes or self.config.snooze_minutes
        sounds = self.bell.snooze()
        if not sounds:
            raise ToolError("Nothing is ringing.")
        for sound in sounds:
            self._add(sound.kind, timedelta(minutes=minutes), {"title": sound.title, "text": sound.text})
        return {"say": f"I will ring again in {span(minutes * 60)}."}

    # --- words --------------------------------------------------------------------------------------------------------

    def _when(self, time: str, part: Part | None, day: str | None, repeat: str | None) -> datetime | Daily:
        if repeat is None:
            return moment(time, part, day, self.context.now())
        if day is not None:
            raise ToolError("It comes either on one day or again and again: leave out day or repeat.")
        return rule(time, part, repeat)

    def _add(self, kind: str, when: When, data: dict[str, Any]) -> Job:
        if len(self.context.schedule.jobs(kind)) >= MAX_EACH:
            raise ToolError(f"There are {MAX_EACH} {kind}s already. Cancel some first.")
        return self.context.schedule.add(kind, when, data)

    def _spoken(self, job: Job) -> str:
        """When a job comes: "for 7 o'clock in the morning"."""
        when = spoken_rule(job.rule) if job.rule else spoken_moment(job.due, self.context.now())
        return f"for {when.removeprefix('at ')}" if when.startswith("at ") and job.kind == "alarm" else when

    def _line(self, job: Job) -> str:
        text = job.data.get("text")
        return f"{job.data['title']} {self._spoken(job)}" + (f" to {text}" if text else "")

    def _listed(self, kind: str) -> dict[str, object]:
        jobs = self.context.schedule.jobs(kind)
        lines = [f"{_capital(self._line(job))}." for job in jobs]
        return {
            "say": " ".join(lines) or f"There is no {kind}.",
            f"{kind}s": [
                {
                    "title": job.data["title"],
                    "text": job.data.get("text"),
                    "due": job.due.isoformat(),
                    "days": job.rule and list(job.rule.days),
                }
                for job in jobs
            ],
        }

    def _cancelled(self, jobs: list[Job], kind: str) -> dict[str, str]:
        if not jobs:
            raise ToolError(f"There is no such {kind}." if self.context.schedule.jobs(kind) else f"There is no {kind}.")
        if len(jobs) > 1:
            raise ToolError(f"There are {len(jobs)}: {listing([self._line(job) for job in jobs])}. Which one?")
        self.context.schedule.cancel(jobs[0])
        return {"say": f"The {self._line(jobs[0])} is cancelled."}

    # --- ringing: on the event loop -----------------------------------------------------------------------------------

    async def _alarm(self, job: Job) -> None:
        title = str(job.data["title"])
        if job.late_s > LATE_S:
            title = f"{title}, which was due {spoken_moment(job.due, self.context.now())} while I was off"
        if job.late_s > TOO_LATE_S:
            self.context.announce(f"There was an {title}.")
            return
        sound = Sound("alarm", title, job.data.get("text"))
        await self.bell.ring(sound, self.config.alarm_limit_s).wait()

    async def _remind(self, job: Job) -> None:
        """Ring shortly and say it, three times unless somebody reacts."""
        text = str(job.data.get("text") or "you asked me to ring")
        if job.late_s > LATE_S:
            text = f"{text}. That was due {spoken_moment(job.due, self.context.now())}, while I was off"
        for round in range(REMINDER_ROUNDS):
            if round:
                await self.context.sleep(REMINDER_PAUSE_S)
            sound = Sound("reminder", str(job.data["title"]), job.data.get("text"))
            end = await self.bell.ring(sound, REMINDER_RING_S).wait()
            if sound.snoozed:
                return
            self.context.announce(f"Reminder: {text}.")
            if end is not RingEnd.LIMIT:
                return


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

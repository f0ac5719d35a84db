"""Short notes: "take a note: the plumber comes on Friday".

Settings (``plugins.notes`` in config.yaml):
    export_file: a plain text file to which every note is also appended, with its time; null = none
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError, tool

READ_ALOUD = 5


class Notes(Plugin):
    class Config(BaseModel):
        export_file: Path | None = None

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        with context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, at TEXT, text TEXT)")

    @tool(sentences=["(take a|make a) note [that] {text}", "note [that] {text}"])
    def take_note(self, text: Annotated[str, Field(min_length=1, max_length=1000)]) -> str:
        """Write down a note in the user's own words.

        text: the note
        """
        now = self.context.now()
        with self.context.database() as db:
            db.execute("INSERT INTO note (at, text) VALUES (?, ?)", (now.isoformat(), text.strip()))
        if self.config.export_file is not None:
            try:
                with self.config.export_file.open("a", encoding="utf-8") as file:
                    file.write(f"{now:%Y-%m-%d %H:%M}  {' '.join(text.split())}\n")
            except OSError as error:
                raise ToolError(f"The note is kept, but its file cannot be written: {error.strerror}.") from None
        return "I have noted it."

    @tool(sentences=["read [me] my [latest|last] notes", "what are my notes", "what did i note"])
    def read_notes(self, about: str | None = None) -> dict[str, object]:
        """Read the latest notes, newest first.

        about: a word that the notes hold; leave out for all
        """
        now = self.context.now()
        with self.context.database() as db:
            rows = db.execute("SELECT at, text FROM note ORDER BY id DESC").fetchall()
        found = [row for row in rows if about is None or about.casefold() in row["text"].casefold()]
        if not found:
            return {"say": "There is no note." if about is None else f"There is no note about {about}.", "notes": []}
        lines = [f"{day(datetime.fromisoformat(row['at']), now)}: {row['text']}" for row in found[:READ_ALOUD]]
        rest = len(found) - len(lines)
        more = f" There {'is one more' if rest == 1 else f'are {rest} more'}." if rest else ""
        return {
            "say": ". ".join(line.rstrip(".") for line in lines) + f".{more}",
            "notes": [dict(r) for r in found[:50]],
        }

    @tool(
        sentences=["(delete|forget) my last note"],
        tier="confirm",
        question="Shall I delete your last note?",
    )
    def delete_last_note(self) -> str:
        """Delete the newest note."""
        with self.context.database() as db:
            row = db.execute("DELETE FROM note WHERE id = (SELECT max(id) FROM note) RETURNING text").fetchone()
        if row is None:
            raise ToolError("There is no note.")
        return f"Deleted: {row['text']}"


def day(at: datetime, now: datetime) -> str:
    """When a note was taken, as people say it."""
    days = (now.date() - at.date()).days
    if days == 0:
        return "Today"
    if days == 1:
        return "Yesterday"
    return f"{at:%A}" if days < 7 else f"{at:%B} {at.day}"

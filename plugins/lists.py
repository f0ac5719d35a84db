"""The shopping list and the to-do list, with undo.

Settings (``plugins.lists`` in config.yaml):
    export_folder: a folder where each list is also kept as a plain text file, one entry a line; null = nowhere
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Annotated, Literal

from assistant.plugin import BaseModel, Context, Field, Plugin, ToolError, tool

UNDO_STEPS = 20
NAMES = {"shopping": "shopping list", "to_do": "to-do list"}
SPOKEN_LISTS = {"shopping": "shopping", "to_do": "(to do|todo)"}
# fmt: off
GROCERIES = (
    "apples", "bananas", "beans", "beer", "bread", "butter", "carrots", "cheese", "chicken", "chocolate", "coffee",
    "cream", "eggs", "fish", "flour", "garlic", "grapes", "ham", "honey", "juice", "lemons", "lettuce", "meat", "milk",
    "mushrooms", "oil", "onions", "oranges", "pasta", "pepper", "potatoes", "rice", "salt", "soap", "sugar", "tea",
    "toilet paper", "tomatoes", "water", "wine", "yogurt",
)
# fmt: on
SPOKEN_GROCERIES = {item: item for item in GROCERIES}

Name = Literal["shopping", "to_do"]
Item = Annotated[str, Field(min_length=1, max_length=100)]


class Lists(Plugin):
    class Config(BaseModel):
        export_folder: Path | None = None

    config: Config

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        with context.database() as db:
            db.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, list TEXT, text TEXT)")
            db.execute("CREATE TABLE IF NOT EXISTS change (id INTEGER PRIMARY KEY, list TEXT, before TEXT, what TEXT)")

    @tool(
        sentences=[
            "(add|put) {grocery:item} (to|on) (the|my) {list} list",
            "(add|put) {item} (to|on) (the|my) {list} list",
        ],
        lists={"grocery": SPOKEN_GROCERIES, "list": SPOKEN_LISTS},
    )
    def add_to_list(self, item: Item, list: Name = "shopping") -> str:
        """Add one thing to the shopping list or the to-do list. Call it once for each thing.

        item: what to buy or to do, in a few words, with its amount if there is one
        list: which list; shopping unless it is a task
        """
        text = " ".join(item.split())
        with self.context.database() as db:
            if any(same(text, row["text"]) for row in entries(db, list)):
                return f"{capital(text)} is on your {NAMES[list]} already."
            remember(db, list, f"{text} is added")
            db.execute("INSERT INTO item (list, text) VALUES (?, ?)", (list, text))
            self._export(db, list)
        return f"{capital(text)} is on your {NAMES[list]}."

    @tool(
        sentences=[
            "(remove|take|delete) {grocery:item} (from|off) (the|my) {list} list",
            "(remove|take|delete) {item} (from|off) (the|my) {list} list",
        ],
        lists={"grocery": SPOKEN_GROCERIES, "list": SPOKEN_LISTS},
    )
    def remove_from_list(self, item: Item, list: Name = "shopping") -> str:
        """Take one thing off a list, because it was bought or done, or is not wanted any more.

        item: the thing as it is on the list
        list: which list
        """
        with self.context.database() as db:
            rows = entries(db, list)
            found = [row for row in rows if same(item, row["text"])]
            found = found or [row for row in rows if words(item) <= words(row["text"])]
            if not found:
                raise ToolError(f"There is no {item.strip()} on your {NAMES[list]}.")
            if len(found) > 1:
                raise ToolError(f"There are {len(found)} of them: {spoken([r['text'] for r in found])}. Which one?")
            remember(db, list, f"{found[0]['text']} is removed")
            db.execute("DELETE FROM item WHERE id = ?", (found[0]["id"],))
            self._export(db, list)
        return f"{capital(found[0]['text'])} is off your {NAMES[list]}."

    @tool(
        sentences=[
            "(what is|what's) [on] (the|my) {list} list",
            "read [me] (the|my) {list} list",
        ],
        lists={"list": SPOKEN_LISTS},
    )
    def read_list(self, list: Name = "shopping") -> dict[str, object]:
        """Tell what is on a list.

        list: which list
        """
        with self.context.database() as db:
            items = [row["text"] for row in entries(db, list)]
        say = f"On your {NAMES[list]}: {spoken(items)}." if items else f"Your {NAMES[list]} is empty."
        return {"say": say, "items": items}

    @tool(
        sentences=["(clear|empty) (the|my) {list} list"],
        lists={"list": SPOKEN_LISTS},
        tier="confirm",
        question="Shall I clear the whole {list} list?",
    )
    def clear_list(self, list: Name) -> str:
        """Take everything off a list.

        list: which list
        """
        with self.context.database() as db:
            remember(db, list, f"the {NAMES[list]} is cleared")
            count = db.execute("DELETE FROM item WHERE list = ?", (list,)).rowcount
            self._export(db, list)
        return f"Your {NAMES[list]} is empty now." if count else f"Your {NAMES[list]} was empty already."

    @tool(sentences=["undo that", "undo the last change"])
    def undo_list_change(self) -> str:
        """Undo the last change of the shopping list or the to-do list. May be called again for the change before."""
        with self.context.database() as db:
            row = db.execute("SELECT * FROM change ORDER BY id DESC LIMIT 1").fetchone()
            if row is None:
                raise ToolError("There is nothing to undo.")
            db.execute("DELETE FROM item WHERE list = ?", (row["list"],))
            db.executemany(
                "INSERT INTO item (list, text) VALUES (?, ?)", [(row["list"], t) for t in json.loads(row["before"])]
            )
            db.execute("DELETE FROM change WHERE id = ?", (row["id"],))
            self._export(db, row["list"])
        return f"Undone: {row['what']}."

    async def check(self) -> str | None:
        folder = self.config.export_folder
        if folder is not None and not folder.is_dir():
            return f"plugins.lists.export_folder: {folder} is no folder: create it"
        return None

    def _export(self, db: sqlite3.Connection, name: str) -> None:
        folder = self.config.export_folder
        if folder is None:
            return
        file, draft = folder / f"{name}.txt", folder / f".{name}.txt"
        try:
            draft.write_text("".join(f"{row['text']}\n" for row in entries(db, name)), encoding="utf-8")
            draft.replace(file)
        except OSError as error:  # the list itself is safe in the database
            self.context.logger.error("%s cannot be written: %s", file, error.strerror)


def entries(db: sqlite3.Connection, name: str) -> list[sqlite3.Row]:
    return db.execute("SELECT id, text FROM item WHERE list = ? ORDER BY id", (name,)).fetchall()


def remember(db: sqlite3.Connection, name: str, what: str) -> None:
    """Keep the list as it is, so that the change that follows can be undone."""
    before = json.dumps([row["text"] for row in entries(db, name)])
    db.execute("INSERT INTO change (list, before, what) VALUES (?, ?, ?)", (name, before, what))
    db.execute("DELETE FROM change WHERE id <= (SELECT max(id) FROM change) - ?", (UNDO_STEPS,))


def same(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()


def words(text: str) -> set[str]:
    return set(text.casefold().split())


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def spoken(items: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))

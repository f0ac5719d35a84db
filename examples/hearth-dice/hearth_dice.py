"""Dice: "roll two dice". An example of a plugin that is installed from its own pyproject.toml."""

from __future__ import annotations

import random
from typing import Annotated

from assistant.plugin import BaseModel, Field, Plugin, tool


class Dice(Plugin):
    class Config(BaseModel):
        """The settings: the section plugins.dice of config.yaml."""

        sides: Annotated[int, Field(ge=2, le=100)] = 6

    config: Config

    @tool(sentences=["(roll|throw) (a|the) (dice|die)", "(roll|throw) {count} dice"])
    def roll_dice(self, count: Annotated[int, Field(ge=1, le=10)] = 1) -> str:
        """Roll one or more dice.

        count: how many
        """
        rolls = [random.randint(1, self.config.sides) for _ in range(count)]
        if count == 1:
            return f"You rolled {rolls[0]}."
        return f"You rolled {', '.join(map(str, rolls[:-1]))} and {rolls[-1]}: {sum(rolls)} in all."

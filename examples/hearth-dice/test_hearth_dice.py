"""What people say, and what is answered."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import hearth_dice

from assistant.testing.plugins import PluginHarness


def test_rolling(tmp_path: Path) -> None:
    async def main() -> None:
        async with PluginHarness(hearth_dice, tmp_path, settings={"sides": 2}) as home:
            said = await home.say("Please roll three dice!")
            assert (said.tool, said.arguments) == ("roll_dice", {"count": 3})
            rolled = [int(number) for number in re.findall(r"\d+", said.answer)]
            assert len(rolled) == 4
            assert sum(rolled[:3]) == rolled[3]
            assert set(rolled[:3]) <= {1, 2}
            assert (await home.say("roll a dice")).answer in ("You rolled 1.", "You rolled 2.")

    asyncio.run(main())

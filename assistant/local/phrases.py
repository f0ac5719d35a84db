"""What the brain understands without any tool, and what it says by itself (English). Data only."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Request(Enum):
    """Something a person can ask for that needs no tool."""

    STOP = "stop"
    HELP = "help"
    HELLO = "hello"
    THANKS = "thanks"


REQUESTS: Final[dict[Request, tuple[str, ...]]] = {
    Request.STOP: ("stop", "cancel", "cancel that", "never mind", "forget it", "stop talking", "be quiet"),
    Request.HELP: ("what can you do", "what can i say", "what can i ask [you]", "help"),
    Request.HELLO: ("hello", "good morning", "good evening"),
    Request.THANKS: ("(thanks|thank you) [very much]",),
}

POLITE_BEFORE: Final = ("please", "can you", "can you please", "could you", "could you please", "would you please")
POLITE_AFTER: Final = ("please",)
"""Words around a command that change nothing; they are understood around every sentence."""

OK: Final = "Okay."
HELLO: Final = "Hello."
WELCOME: Final = "You're welcome."
DONE: Final = "Done."
NOT_HEARD: Final = "Sorry, I did not understand that."
NOT_HEARD_TRY: Final = 'Sorry, I did not understand that. You can say, for example: "{example}".'
NOTHING_INSTALLED: Final = "I work without the internet here, and no tool that I could use is installed."
HELP_INTRO: Final = "I work without the internet, so I know only what the installed tools can do."
HELP_EXAMPLES: Final = "You can say, for example: {examples}."
HELP_OUTRO: Final = "And stop, or never mind."
MISSING: Final = "Please say that again, with the {slots}."
RECOGNIZER_FAILED: Final = "Sorry, I could not hear that. Please say it again."

_COMMON = """
the to i and a of you that in it is for but know was have they on like be not it's so with are one this he
yeah just my we as what if do at or don't about i'm all think there would from two me people can your get out
no that's said up more when an had right well hundred really has thousand will oh because how time them she
been by some who their his were now then go good mean than going her see could much other you're five got
three even too only want did him something very where here way which nine lot make say first years back any
new our also over into ah i've they're year thing still four should work things those take us most didn't why
these never twenty there's need after being can't okay little down kind point actually many day off come same
six before last he's look sure eight money doing pretty around seven always guess life dollars long yes better
probably every we're world does anything maybe school great find doesn't though made big feel through
"""
GARBAGE: Final = tuple(_COMMON.split())
"""Some 200 of the most frequent words of spoken English (highest unigrams of the pocketsphinx model): a loop of them
stands for speech that is no command."""

"""Configuration: ``load()`` a file, get every problem at once with its line, ``render()`` what is in force.

Only commands that need settings import this package: pydantic takes a tenth of a second, which ``--help`` has not.
"""

from assistant.config.loading import find_file, load, parse
from assistant.config.model import Config
from assistant.config.rendering import render
from assistant.config.sections import WakeWord

__all__ = ["Config", "WakeWord", "find_file", "load", "parse", "render"]

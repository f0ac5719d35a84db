"""Configuration: ``load()`` a file, get every problem at once with its line, ``render()`` what is in force.

Only commands that need settings import this package: pydantic takes a tenth of a second, which ``--help`` has not.
"""

from assistant.config.brain_sections import Persona, Provider
from assistant.config.brains import providers_in_use, section_of
from assistant.config.loading import find_file, load, parse
from assistant.config.model import Config
from assistant.config.rendering import render
from assistant.config.sections import WakeWord

__all__ = [
    "Config",
    "Persona",
    "Provider",
    "WakeWord",
    "find_file",
    "load",
    "parse",
    "providers_in_use",
    "render",
    "section_of",
]

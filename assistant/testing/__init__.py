"""Public helpers for tests of Hearth and of its plugins: fakes that are shipped, and a clock that jumps.

Import what you need from the module that holds it, for instance ``from assistant.testing.virtual_time import run``.
"""

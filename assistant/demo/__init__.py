"""A kitchen for people without a microphone: the real daemon, with simulated people around it.

:mod:`~assistant.demo.kitchen` is the room, :mod:`~assistant.demo.scenes` what happens in it, and
:mod:`~assistant.demo.stage` runs the daemon and shows the turns.
"""

"""The embedded realtime server and its offline brain.

::

    server      sockets, paths, keys; one Session per connection
    session     one connection: reads client events, owns conversation, audio input and responses
    protocol    PURE: the events of the GA dialect, session settings and their checks
    mind        what decides in a session: the brain, or a language model (chat) with the brain behind it
    brain       PURE: what to do next, given what was said and what tools answered
    skills, slots  PURE: tool specs -> sentence templates, slot values, problems
    language    the words of a language, from assistant/languages; translation: what tools say in another one
    understanding  text -> tool call or a built-in request, with hassil; nearest: what was nearly written
    grammar     PURE: templates -> word graph for the recogniser
    engines     which recogniser there is: recognizer_process (a child, recognizer_worker, which may die),
                or one of transcribers, which others bring
    voice       text -> speech with espeak-ng

Of this, the daemon imports ``language`` and ``process`` only: it speaks to this server over a socket as to any other.
"""

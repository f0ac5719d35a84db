"""The embedded realtime server and its offline brain.

::

    server      sockets, paths, keys; one Session per connection
    session     one connection: reads client events, owns conversation, audio input and responses
    protocol    PURE: the events of the GA dialect, session settings and their checks
    brain       PURE: what to do next, given what was said and what tools answered
    skills      PURE: tool specs -> sentence templates, slot values, problems
    understanding  text -> tool call or a built-in request, with hassil
    grammar     PURE: templates -> word graph for the recogniser
    recognizer  speech -> text in a child process (recognizer_worker), which may die
    voice       text -> speech with espeak-ng

Nothing here is imported by the daemon, which speaks to this server over a socket as it does to any other.
"""

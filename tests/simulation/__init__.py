"""A week of household life on a virtual clock: the whole daemon, people, a television, a cloud, and faults.

::

    plan      what happens and when, drawn from a seed               (pure)
    world     clock, microphone, speaker, threads: what the daemon lives in
    cloud     a realtime server on loopback that understands what people say, when it is not made to fail
    people    carry out the plan
    watch     what must always hold, looked at whenever anything happens
    play      puts them together, counts, and makes a failing plan small

Sound is labelled instead of spoken: every sample of a frame is one number that says who speaks and what. So the wake
word's model and the VAD are replaced by readers of labels; all behind them is real, up to the WebSocket.
Run it with ``make simulate DAYS=7 SEED=1``.
"""

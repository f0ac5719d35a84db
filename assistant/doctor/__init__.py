"""``assistant doctor``: would the assistant work here, and if not, what is to be done?

Each check looks at one thing and gives findings: one line for people, each with what to do about it. No check raises,
and none takes longer than its limit.
"""

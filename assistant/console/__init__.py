"""The console: a small web server that shows the assistant, steers it, and lets one talk to it from a browser.

It knows nobody's secrets, keeps nothing, and asks for nothing that the control socket could not be asked for.
"""

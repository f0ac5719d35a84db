"""Trains the word "stop" (``assistant/adapters/stop.npz``): ``make train-stop``. docs/echo.md says how good it is."""

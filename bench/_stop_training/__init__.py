"""Trains a head for the word "stop": ``make train-stop``. docs/echo.md says why it is not the one that is shipped."""

"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Continuous integration tries the same examples each time: a run says something about the change, and not about luck.
# Developers' machines go on finding new ones.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

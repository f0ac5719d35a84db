"""Speaks sentences into files, in a process of its own: ``python -m assistant.local.render FOLDER < request.json``.

The request is ``{"voice": ..., "speed": ..., "texts": {name: sentence}}``. Each sentence becomes ``FOLDER/name.pcm``:
24 kHz int16 little endian mono. A file appears whole or not at all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from assistant.errors import HearthError
from assistant.local.voice import Voice


def main() -> int:
    request = json.load(sys.stdin)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        voice = Voice(request["voice"], request["speed"])
        for name, text in request["texts"].items():
            unfinished = folder / f"{name}.part"
            unfinished.write_bytes(b"".join(voice.speak(text)))
            unfinished.replace(folder / f"{name}.pcm")
    except (HearthError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

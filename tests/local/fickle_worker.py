"""A recogniser child that fails in a chosen way: ``python fickle_worker.py dies|hangs|babbles|refuses|FILE``.

FILE: the first one hangs and makes the file; one that finds it has heard "hello".
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from assistant.local.recognizer_wire import HEADER, Frame, Kind, decode_header, pack


def main(how: str) -> None:
    answer(Frame(Kind.READY, 0).encode())
    while raw := sys.stdin.buffer.read(HEADER.size):
        length, frame = decode_header(raw)
        sys.stdin.buffer.read(length)
        if frame.kind is Kind.GRAMMAR:
            answer(Frame(Kind.LOADED, frame.stream, payload=pack({"missing": []})).encode())
        if frame.kind is Kind.FINISH:
            if how == "dies":
                sys.exit(1)
            if how == "hangs":
                time.sleep(60)
            if how == "refuses":
                answer(Frame(Kind.FAILED, frame.stream, frame.utterance, pack({"message": "no"})).encode())
            if how == "babbles":
                answer(b"\xff" * 64)
            if how.startswith("/"):
                if not Path(how).exists():
                    Path(how).touch()
                    time.sleep(60)
                heard = {"text": "hello", "rejected": False, "guess": "", "cmn": None}
                answer(Frame(Kind.RESULT, frame.stream, frame.utterance, pack(heard)).encode())


def answer(raw: bytes) -> None:
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])

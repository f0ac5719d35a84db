"""A recogniser child that fails in a chosen way: ``python fickle_worker.py dies|hangs|babbles``."""

from __future__ import annotations

import sys
import time

from assistant.local.recognizer_wire import HEADER, Frame, Kind, decode_header, pack


def main(how: str) -> None:
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


def answer(raw: bytes) -> None:
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])

"""The recogniser child: ``python -m assistant.local.recognizer_worker``, frames on stdin and stdout.

A process of its own because pocketsphinx holds Python's interpreter lock while it decodes: 130 ms for three seconds of
audio, in which a server could neither send nor hear. It ends when stdin does, so it cannot outlive its server.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from assistant.local.recognizer_wire import HEADER, Frame, Kind, decode_header, pack

GARBAGE_MARK: Final = "~"
"""In front of the words of the garbage loop, so that a command's "the" and the loop's "the" stay apart."""

_BEAMS: Final = {"beam": 1e-64, "wbeam": 1e-48, "pbeam": 1e-64}
"""Wider than the defaults: twice the work (real-time factor 0.07 on one x86 core instead of 0.035), but at 20 dB the
commands understood rise while the foreign speech that is acted on falls to a quarter."""

_LEAST_AUDIO: Final = 16_000  # bytes, half a second: less than that says nothing about the microphone

_LEAST_GARBAGE_MS: Final = 300
"""Shorter than this, it is a cough or a click and not somebody who deserves an answer."""

_SPARE_DECODERS: Final = 1  # kept when sessions end: loading takes 70 ms, keeping one 10 MB


class Decoder:
    """One pocketsphinx decoder: a grammar, a cepstral mean, one utterance at a time.

    The cepstral mean adapts to the microphone and is carried from one utterance to the next. As long as there is none,
    an utterance is only collected, and decoded at its end with its own mean: that takes 100 ms once, where a cold
    decoder would refuse the first two sentences that are said to it.
    """

    def __init__(self) -> None:
        from pocketsphinx import Decoder as PocketsphinxDecoder

        # lm=None: the language model would cost 27 MB and is of no use beside a grammar. bestpath: the lattice makes
        # the last frame take up to 1.5 s and its posterior tells nothing.
        self._decoder = PocketsphinxDecoder(lm=None, bestpath=False, loglevel="FATAL", samprate=16000, **_BEAMS)
        self._warm = False
        self._audio = bytearray()
        self._active = False
        self._grammars = 0

    def open(self, mean: str | None) -> None:
        """Make it as new, with the given cepstral mean."""
        self.abandon()
        self._warm = mean is not None
        # Without this, a decoder that has once been live goes on with its running mean even in a batch.
        self._decoder.reinit_feat()
        if mean is not None:
            self._decoder.set_cmn(mean)

    def load(self, spec: Mapping[str, Any]) -> list[str]:
        """Take a grammar; gives the words without a pronunciation, in which case nothing was changed."""
        self.abandon()
        known: Mapping[str, str] = spec["pronunciations"]
        garbage = [word for word in spec["garbage"] if self._decoder.lookup_word(word)]
        words = sorted({word for _, _, word in spec["arcs"]})
        missing = [word for word in words if not self._decoder.lookup_word(word) and word not in known]
        if missing:
            return missing
        added = [(word, known[word]) for word in words if not self._decoder.lookup_word(word)]
        added += [
            (GARBAGE_MARK + word, self._decoder.lookup_word(word))
            for word in garbage
            if not self._decoder.lookup_word(GARBAGE_MARK + word)
        ]
        for word, phones in added:
            self._decoder.add_word(word, phones, update=False)
        name = f"grammar{self._grammars}"
        fsg = self._decoder.create_fsg(name, 0, spec["states"], _transitions(spec, garbage))
        self._decoder.add_fsg(name, fsg)
        self._decoder.activate_search(name)
        if self._grammars:
            self._decoder.remove_search(f"grammar{self._grammars - 1}")
        self._grammars += 1
        return []

    def begin(self) -> None:
        self.abandon()
        self._active = True
        if self._warm:
            self._decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        if not self._active or not pcm:  # an empty buffer is an IndexError to pocketsphinx
            return
        if self._warm:
            self._decoder.process_raw(pcm)
        else:
            self._audio += pcm

    def finish(self) -> dict[str, Any]:
        """End the utterance; what was heard, and the cepstral mean to carry on with."""
        if not self._active:
            raise RuntimeError("no utterance was begun")
        self._active = False
        words = (self._end() if self._warm else self._decode_cold()).split()
        rejected = any(word.startswith(GARBAGE_MARK) for word in words)
        if rejected and self._garbage_ms() < _LEAST_GARBAGE_MS:
            words, rejected = [], False
        return {
            "text": " ".join(word.removeprefix(GARBAGE_MARK) for word in words),
            "rejected": rejected,
            "guess": "",
            "cmn": self._decoder.get_cmn() if self._warm else None,
        }

    def _garbage_ms(self) -> int:
        """How long the words of the garbage loop last, silence not counted."""
        segments = self._decoder.seg() or ()
        frames = sum(s.end_frame - s.start_frame + 1 for s in segments if s.word.startswith(GARBAGE_MARK))
        return 10 * int(frames)

    def _end(self) -> str:
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return str(hypothesis.hypstr) if hypothesis and hypothesis.hypstr else ""

    def _decode_cold(self) -> str:
        if len(self._audio) < _LEAST_AUDIO:
            self._audio.clear()
            return ""
        self._decoder.start_utt()
        self._decoder.process_raw(bytes(self._audio), full_utt=True)
        heard = self._end()
        self._audio.clear()
        self._decoder.set_cmn(self._decoder.get_cmn(True))
        self._warm = True
        return heard

    def abandon(self) -> None:
        """Drop the utterance, if there is one."""
        if self._active and self._warm:
            self._decoder.end_utt()
        self._active = False
        self._audio.clear()


def _transitions(
    spec: Mapping[str, Any], garbage: list[str]
) -> list[tuple[int, int, float] | tuple[int, int, float, str]]:
    """The graph from state 0 to a single final state, and the garbage loop beside it."""
    final = spec["states"]
    loop = final + 1
    arcs: list[tuple[int, int, float] | tuple[int, int, float, str]] = [
        (source, target, 1.0, word) for source, target, word in spec["arcs"]
    ]
    arcs += [(state, final, 1.0) for state in spec["finals"]]
    if garbage:
        probability = spec["strictness"]
        arcs += [(0, loop, probability, GARBAGE_MARK + word) for word in garbage]
        arcs += [(loop, loop, probability, GARBAGE_MARK + word) for word in garbage]
        arcs.append((loop, final, 1.0))
    return arcs


class Worker:
    """Answers frames, one after the other."""

    def __init__(self) -> None:
        self._streams: dict[int, Decoder] = {}
        self._spare: list[Decoder] = []

    def prepare(self) -> None:
        """Load a decoder before anybody asks for one."""
        self._spare.append(Decoder())

    def handle(self, frame: Frame) -> Frame | None:
        match frame.kind:
            case Kind.OPEN:
                decoder = self._streams.get(frame.stream) or (self._spare.pop() if self._spare else Decoder())
                decoder.open(frame.json().get("cmn"))
                self._streams[frame.stream] = decoder
            case Kind.GRAMMAR:
                missing = self._streams[frame.stream].load(frame.json())
                return Frame(Kind.LOADED, frame.stream, payload=pack({"missing": missing}))
            case Kind.BEGIN:
                self._streams[frame.stream].begin()
            case Kind.AUDIO:
                self._streams[frame.stream].feed(frame.payload)
            case Kind.FINISH:
                result = self._streams[frame.stream].finish()
                return Frame(Kind.RESULT, frame.stream, frame.utterance, pack(result))
            case Kind.ABANDON:
                self._streams[frame.stream].abandon()
            case Kind.CLOSE:
                closed = self._streams.pop(frame.stream, None)
                if closed and len(self._spare) < _SPARE_DECODERS:
                    closed.abandon()
                    self._spare.append(closed)
            case _:
                raise ValueError(f"{frame.kind.name} is not for the recogniser")
        return None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole process group; the server ends us
    frames_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not land among the frames
    worker = Worker()
    worker.prepare()
    while (frame := _read(sys.stdin.buffer)) is not None:
        try:
            answer = worker.handle(frame)
        except Exception as error:  # one bad frame must not end the streams of the other sessions
            message = f"{type(error).__name__} while handling {frame.kind.name}: {error}"
            answer = Frame(Kind.FAILED, frame.stream, frame.utterance, pack({"message": message}))
        if answer is not None:
            frames_out.write(answer.encode())
            frames_out.flush()


def _read(stream: BinaryIO) -> Frame | None:
    """The next frame, or None at the end of the input."""
    raw = stream.read(HEADER.size)
    if len(raw) < HEADER.size:
        return None
    length, frame = decode_header(raw)
    payload = stream.read(length)
    return Frame(frame.kind, frame.stream, frame.utterance, payload) if len(payload) == length else None


if __name__ == "__main__":
    main()

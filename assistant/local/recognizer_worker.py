"""The recogniser child: ``python -m assistant.local.recognizer_worker``, frames on stdin and stdout.

A process of its own because pocketsphinx holds Python's interpreter lock while it decodes: 130 ms for three seconds of
audio, in which a server could neither send nor hear. It ends when stdin does, so it cannot outlive its server.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from assistant.errors import ModelLoadError
from assistant.local.noise import snr_db, suppressed
from assistant.local.recognizer_wire import HEADER, Frame, Kind, decode_header, pack

GARBAGE_MARK: Final = "~"
"""In front of the words of the garbage loop, so that a command's "the" and the loop's "the" stay apart."""

_BEAMS: Final = {"beam": 1e-64, "wbeam": 1e-48, "pbeam": 1e-64}
"""Wider than the defaults: twice the work (real-time factor 0.07 on one x86 core instead of 0.035), but at 20 dB the
commands understood rise while the foreign speech that is acted on falls to a quarter."""

_GUESS_BEAMS: Final = {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}
"""Among voices in the background the right sentence falls out of narrower beams before it is over."""

_ANY_WORDS_BEAMS: Final = {"beam": 1e-36, "wbeam": 1e-22, "pbeam": 1e-36}
"""Narrow ones tell as much here, at a third of the work."""

_GUESS_MARGIN: Final = -5.0
"""By how much a sentence must fit better than any words, for each 10 ms of audio (10,000 times the logarithm of their
probabilities' ratio), to be worth a question. At -5 half of what is said over voices at 15 dB is asked back and right,
and 2 % of foreign speech; at 0 a quarter of that is."""

_GUESS_LONGEST_S: Final = 6.0  # no command is longer

_NOISY_DB: Final = 25.0
"""Loud over quiet frames: above it there is no noise to suppress. (10 dB of pink noise under speech measure 15.)"""

_LEISURE: Final = 0.5
"""Seconds that the first look may have taken for each second of audio: a machine that is slower, or has too much else
to do, answers late enough without a second one."""

_LEAST_AUDIO: Final = 16_000  # bytes, half a second: less than that says nothing about the microphone

_LEAST_GARBAGE_MS: Final = 300
"""Shorter than this, it is a cough or a click and not somebody who deserves an answer."""

_SPARE_DECODERS: Final = 1  # kept when sessions end: loading takes 70 ms, keeping one 10 MB


_GARBAGE_SEARCH: Final = "garbage"

_Arc = tuple[int, int, float] | tuple[int, int, float, str]


class Decoder:
    """One pocketsphinx decoder: a grammar, a cepstral mean, one utterance at a time.

    The cepstral mean adapts to the microphone and is carried from one utterance to the next. As long as there is none,
    an utterance is only collected, and decoded at its end with its own mean: that takes 100 ms once, where a cold
    decoder would refuse the first two sentences that are said to it.

    An utterance in noise gets a second look, as a whole and without the noise: at 10 dB that finds four of five
    sentences that were misheard. Speech that is none of the sentences is then held against the sentences alone and
    against the loop of common words alone. What is found is a guess, to be asked back and never to be acted on.
    """

    def __init__(self, *, suppress_noise: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        from pocketsphinx import Decoder as PocketsphinxDecoder

        # lm=None: the language model would cost 27 MB and is of no use beside a grammar. bestpath: the lattice makes
        # the last frame take up to 1.5 s and its posterior tells nothing.
        self._decoder = PocketsphinxDecoder(lm=None, bestpath=False, loglevel="FATAL", samprate=16000, **_BEAMS)
        self._warm = False
        self._suppress_noise = suppress_noise
        self._now = now
        self._busy_s = 0.0  # with this utterance
        self._audio = bytearray()  # of the utterance, as it came
        self._active = False
        self._grammars = 0
        self._spec: Mapping[str, Any] = {}
        self._garbage: list[str] = []
        self._dictionary: dict[str, str] = {}  # the phones of the words that were looked up or added
        self._guesses = ""  # name of the search without garbage, once it was needed
        self._garbage_search: tuple[tuple[str, ...], float] | None = None  # what that of nothing but garbage is made of

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
        garbage = [word for word in spec["garbage"] if self._phones(word)]
        words = sorted({word for _, _, word in spec["arcs"]})
        missing = [word for word in words if not self._phones(word) and word not in known]
        if missing:
            return missing
        added = [(word, known[word]) for word in words if not self._phones(word)]
        added += [
            (GARBAGE_MARK + word, self._phones(word)) for word in garbage if not self._phones(GARBAGE_MARK + word)
        ]
        for word, phones in added:
            self._decoder.add_word(word, phones, update=False)
            self._dictionary[word] = phones
        name = f"grammar{self._grammars}"
        fsg = self._decoder.create_fsg(name, 0, spec["states"], _transitions(spec, garbage))
        self._decoder.add_fsg(name, fsg)
        self._decoder.activate_search(name)
        if self._grammars:
            self._decoder.remove_search(f"grammar{self._grammars - 1}")
        self._grammars += 1
        if self._guesses:
            self._decoder.remove_search(self._guesses)
        self._spec, self._garbage, self._guesses = spec, garbage, ""
        return []

    def _phones(self, word: str) -> str:
        """How a word is pronounced; empty if nobody knows. Each word is asked for once: the binding of pocketsphinx
        5.1 never frees what its ``lookup_word`` finds, and a grammar with its garbage loop looks up some hundreds."""
        if word not in self._dictionary:
            self._dictionary[word] = self._decoder.lookup_word(word) or ""
        return self._dictionary[word]

    def begin(self) -> None:
        self.abandon()
        self._active = True
        self._busy_s = 0.0
        if self._warm:
            self._decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        if not self._active or not pcm:  # an empty buffer is an IndexError to pocketsphinx
            return
        self._audio += pcm
        if self._warm:
            since = self._now()
            self._process(pcm)
            self._busy_s += self._now() - since

    def so_far(self) -> str:
        """The beginning of a sentence, or a whole one, that was heard until now; empty if it is none, or if there is no
        cepstral mean yet and the audio is only collected."""
        hypothesis = self._decoder.hyp() if self._active and self._warm else None
        heard = str(hypothesis.hypstr) if hypothesis and hypothesis.hypstr else ""
        return "" if GARBAGE_MARK in heard else heard

    def finish(self) -> dict[str, Any]:
        """End the utterance; what was heard, and the cepstral mean to carry on with."""
        if not self._active:
            raise RuntimeError("no utterance was begun")
        self._active = False
        since = self._now()
        words = (self._end()[0] if self._warm else self._decode_cold()).split()
        rejected = any(word.startswith(GARBAGE_MARK) for word in words)
        if rejected and self._garbage_ms() < _LEAST_GARBAGE_MS:
            words, rejected = [], False
        self._busy_s += self._now() - since
        seconds = len(self._audio) / 32_000
        looks_again = words and seconds <= _GUESS_LONGEST_S and self._busy_s <= _LEISURE * seconds
        guess = self._second_look(rejected=rejected) if looks_again else ""
        self._audio.clear()
        return {
            "text": " ".join(word.removeprefix(GARBAGE_MARK) for word in words),
            "rejected": rejected,
            "guess": guess,
            "cmn": self._decoder.get_cmn() if self._warm else None,
        }

    def abandon(self) -> None:
        """Drop the utterance, if there is one."""
        if self._active and self._warm:
            self._decoder.end_utt()
        self._active = False
        self._audio.clear()

    def _process(self, pcm: bytes, *, whole: bool = False) -> None:
        if pcm:
            self._decoder.process_raw(pcm, full_utt=whole)

    def _garbage_ms(self) -> int:
        """How long the words of the garbage loop last, silence not counted."""
        segments = self._decoder.seg() or ()
        frames = sum(s.end_frame - s.start_frame + 1 for s in segments if s.word.startswith(GARBAGE_MARK))
        return 10 * int(frames)

    def _end(self) -> tuple[str, float]:
        """The words, and the logarithm of their probability."""
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        if not hypothesis or not hypothesis.hypstr or hypothesis.score <= 0:
            return "", -math.inf
        return str(hypothesis.hypstr), math.log(hypothesis.score)

    def _decode_cold(self) -> str:
        if len(self._audio) < _LEAST_AUDIO:
            return ""
        heard, _ = self._decode_whole(bytes(self._audio))
        self._decoder.set_cmn(self._decoder.get_cmn(True))
        self._warm = True
        return heard

    def _decode_whole(self, pcm: bytes) -> tuple[str, float]:
        """A whole utterance with its own cepstral mean."""
        self._decoder.start_utt()
        self._process(pcm, whole=True)
        return self._end()

    # -- what was it, if it was anything? ----------------------------------------------------------------------------

    def _second_look(self, *, rejected: bool) -> str:
        """The sentence that the utterance probably is, or nothing."""
        mean = self._decoder.get_cmn()
        audio = bytes(self._audio)
        try:
            return self._without_noise(audio) or (self._against_any_words(audio) if rejected else "")
        finally:
            self._decoder.reinit_feat()
            self._decoder.set_cmn(mean)
            self._decoder.activate_search(f"grammar{self._grammars - 1}")

    def _without_noise(self, audio: bytes) -> str:
        """The sentence that is heard once the noise is suppressed."""
        if not self._suppress_noise or snr_db(audio) > _NOISY_DB:
            return ""
        try:
            cleaned = suppressed(audio)
        except ModelLoadError as error:
            print(error, file=sys.stderr)
            self._suppress_noise = False
            return ""
        self._decoder.reinit_feat()
        heard, _ = self._decode_whole(cleaned)
        return "" if GARBAGE_MARK in heard else heard

    def _against_any_words(self, audio: bytes) -> str:
        """The sentence that fits best, if it fits so much better than any words that we may ask."""
        self._add_guesses()
        scores = {}
        for name in (self._guesses, _GARBAGE_SEARCH):
            self._decoder.reinit_feat()
            self._decoder.activate_search(name)
            scores[name] = self._decode_whole(audio)
        (guess, fit), (_, any_words) = scores.values()
        margin = (any_words - fit) * 10_000 / (len(audio) / 320)
        return guess if guess and margin <= _GUESS_MARGIN else ""

    def _add_guesses(self) -> None:
        """The searches for it are built when they are first needed: most sessions never do."""
        if self._guesses:
            return
        self._guesses = f"guess{self._grammars - 1}"
        with self._beams(_GUESS_BEAMS):
            self._add_search(self._guesses, _transitions(self._spec, []))
        if self._garbage_search != (loop := (tuple(self._garbage), self._spec["strictness"])):
            nothing = {**self._spec, "arcs": [], "finals": []}
            with self._beams(_ANY_WORDS_BEAMS):
                self._add_search(_GARBAGE_SEARCH, _transitions(nothing, self._garbage))
            self._garbage_search = loop

    def _add_search(self, name: str, transitions: list[_Arc]) -> None:
        self._decoder.add_fsg(name, self._decoder.create_fsg(name, 0, self._spec["states"], transitions))

    @contextmanager
    def _beams(self, beams: Mapping[str, float]) -> Iterator[None]:
        """A search keeps the beams that are set when it is added."""
        for name, value in beams.items():
            self._decoder.config[name] = value
        yield
        for name, value in _BEAMS.items():
            self._decoder.config[name] = value


def _transitions(spec: Mapping[str, Any], garbage: list[str]) -> list[_Arc]:
    """The graph from state 0 to a single final state, and the garbage loop beside it."""
    final = spec["states"]
    loop = final + 1
    arcs: list[_Arc] = [(source, target, 1.0, word) for source, target, word in spec["arcs"]]
    arcs += [(state, final, 1.0) for state in spec["finals"]]
    if garbage:
        probability = spec["strictness"]
        arcs += [(0, loop, probability, GARBAGE_MARK + word) for word in garbage]
        arcs += [(loop, loop, probability, GARBAGE_MARK + word) for word in garbage]
        arcs.append((loop, final, 1.0))
    return arcs


class Worker:
    """Answers frames, one after the other."""

    def __init__(self, *, suppress_noise: bool = False) -> None:
        self._suppress_noise = suppress_noise
        self._streams: dict[int, Decoder] = {}
        self._spare: list[Decoder] = []

    def prepare(self) -> None:
        """Load a decoder before anybody asks for one."""
        self._spare.append(self._new_decoder())

    def _new_decoder(self) -> Decoder:
        return Decoder(suppress_noise=self._suppress_noise)

    def handle(self, frame: Frame) -> Frame | None:
        match frame.kind:
            case Kind.OPEN:
                decoder = self._streams.get(frame.stream) or (self._spare.pop() if self._spare else self._new_decoder())
                decoder.open(frame.json().get("cmn"))
                self._streams[frame.stream] = decoder
            case Kind.GRAMMAR:
                missing = self._streams[frame.stream].load(frame.json())
                return Frame(Kind.LOADED, frame.stream, payload=pack({"missing": missing}))
            case Kind.BEGIN:
                self._streams[frame.stream].begin()
            case Kind.AUDIO:
                self._streams[frame.stream].feed(frame.payload)
            case Kind.ASK:
                heard = self._streams[frame.stream].so_far()
                return Frame(Kind.SO_FAR, frame.stream, frame.utterance, pack({"text": heard}))
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
    parser = argparse.ArgumentParser(prog="python -m assistant.local.recognizer_worker")
    parser.add_argument("--suppress-noise", action="store_true")
    worker = Worker(suppress_noise=parser.parse_args().suppress_noise)
    worker.prepare()
    _write(frames_out, Frame(Kind.READY, 0))
    while (frame := _read(sys.stdin.buffer)) is not None:
        try:
            answer = worker.handle(frame)
        except Exception as error:  # one bad frame must not end the streams of the other sessions
            message = f"{type(error).__name__} while handling {frame.kind.name}: {error}"
            answer = Frame(Kind.FAILED, frame.stream, frame.utterance, pack({"message": message}))
        if answer is not None:
            _write(frames_out, answer)


def _write(stream: BinaryIO, frame: Frame) -> None:
    stream.write(frame.encode())
    stream.flush()


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

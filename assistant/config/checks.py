"""Rules that join several settings, and warnings about what is allowed but probably not meant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from assistant.config.brains import Finding, foreign_settings, providers_in_use, resolve, section_of
from assistant.config.credentials import file_warning
from assistant.config.sections import Settings, WakeWord
from assistant.config.values import STDIN, WAV_PREFIX
from assistant.core.pricing import listed_as
from assistant.core.wake_attempts import NEAR_MISS

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def find_problems(settings: Settings) -> Iterator[Finding]:
    """What makes this configuration unusable although each value is fine by itself."""
    for provider in providers_in_use(settings):
        yield from resolve(settings, provider)[1]
    yield from foreign_settings(settings)
    if settings.session.local_first and settings.session.turn_detection != "local":
        yield ("session", "local_first"), "wants turn_detection: local; else the provider hears everything"
    yield from _hearing(settings)
    yield from _embedded(settings)
    yield from _console(settings)
    if settings.audio.output.device == STDIN:
        yield ("audio", "output", "device"), "'-' is standard input: a speaker needs wav:PATH"


def find_warnings(settings: Settings) -> Iterator[Finding]:
    """What is worth one line at start."""
    for name in ("openai", "azure", "voice_live", "custom"):
        file = getattr(settings, name).api_key_file
        if file is not None and (message := file_warning(file)):
            yield (name, "api_key_file"), message
    if settings.tools.pin_file is not None and (message := file_warning(settings.tools.pin_file)):
        yield ("tools", "pin_file"), message
    if settings.console.token_file is not None and (message := file_warning(settings.console.token_file)):
        yield ("console", "token_file"), message
    for provider in providers_in_use(settings):
        if provider != "local" and _is_open(resolve(settings, provider)[0].url):
            path = (section_of(provider), "endpoint" if provider in ("azure", "azure_preview", "voice_live") else "url")
            yield path, "not encrypted: what people say and the key can be read on the way; use wss://"
    yield from _money(settings)
    if settings.session.local_first and providers_in_use(settings) == ("local",):
        yield ("session", "local_first"), "has no effect: the embedded brain answers everything anyway"
    if settings.local.brain == "chat" and settings.local.stt.engine == "pocketsphinx":
        message = "pocketsphinx hears only the tools' sentences: the language model will not be told of anything else"
        yield ("local", "stt", "engine"), message
    if settings.barge_in.mode == "speech" and settings.echo.canceller == "off":
        yield ("barge_in", "mode"), "without echo cancellation the assistant may interrupt itself; headphones are fine"
    if settings.echo.noise_suppression and settings.echo.canceller in ("device", "off"):
        yield ("echo", "noise_suppression"), "has no effect: it is a part of canceller: webrtc"


def _console(settings: Settings) -> Iterator[Finding]:
    console = settings.console
    given = console.token_env or console.token_file or "CREDENTIALS_DIRECTORY" in os.environ
    if console.enabled and console.host not in _LOOPBACK and not given:
        yield ("console", "host"), "who listens beyond this machine needs a token: set console.token_file"


def _embedded(settings: Settings) -> Iterator[Finding]:
    local = settings.local
    needs = {
        "wyoming": ("uri", "tcp://HOST:PORT of a speech-to-text server"),
        "vosk": ("model", "the folder of a model for vosk"),
        "faster_whisper": ("model", "the folder of a model for faster-whisper"),
    }
    for engine, key, such_as in (("wyoming", "uri", "tcp://HOST:PORT"), ("piper", "model", "NAME.onnx")):
        if local.tts.engine == engine and getattr(local.tts, key) is None:
            yield ("local", "tts", key), f"engine {engine} needs this: such as {such_as}"
    if local.stt.engine in needs:
        key, what = needs[local.stt.engine]
        if getattr(local.stt, key) is None:
            yield ("local", "stt", key), f"engine {local.stt.engine} needs this: {what}"
    if local.brain == "chat":
        for key, example in (("url", "http://127.0.0.1:11434/v1"), ("model", "qwen3:4b")):
            if getattr(local.chat, key) is None:
                yield ("local", "chat", key), f"brain: chat needs this, such as {example}"


def _money(settings: Settings) -> Iterator[Finding]:
    models = {provider: resolve(settings, provider)[0].model for provider in providers_in_use(settings)}
    unpriced = [p for p, model in models.items() if p != "local" and listed_as(model, settings.prices) is None]
    for name in ("daily_cap", "monthly_cap"):
        if unpriced and getattr(settings.money, name) is not None:
            missing = models[unpriced[0]] or f"the model of provider {unpriced[0]}"
            yield ("money", name), f"no price is known for {missing}, so its costs may not count: add it to prices"


def _hearing(settings: Settings) -> Iterator[Finding]:
    endpointing, barge_in = settings.endpointing, settings.barge_in
    if endpointing.start_ms > endpointing.start_window_ms:
        message = f"must be at least start_ms ({endpointing.start_ms}): it is the window in which that much is heard"
        yield ("endpointing", "start_window_ms"), message
    if settings.echo.canceller == "device" and (settings.audio.input.device or "").startswith(WAV_PREFIX):
        yield ("echo", "canceller"), "device is for microphones: a recording cancels nothing, so set auto or off"
    if barge_in.speech_ms > barge_in.speech_window_ms:
        message = f"must be at least speech_ms ({barge_in.speech_ms}): it is the window in which that much is heard"
        yield ("barge_in", "speech_window_ms"), message
    if endpointing.end_silence_ms >= endpointing.max_utterance_s * 1000:
        yield ("endpointing", "end_silence_ms"), "must be shorter than max_utterance_s"
    seen: dict[str, int] = {}
    for index, word in enumerate(settings.wake.words):
        if word.patience > word.patience_window:
            message = f"must be at least patience ({word.patience}): it is out of how many scores"
            yield ("wake", "words", index, "patience_window"), message
        yield from _verifier(word, index)
        if word.persona is not None and word.persona not in settings.personas:
            names = ", ".join(sorted(settings.personas)) or "none"
            yield ("wake", "words", index, "persona"), f"there is no such persona; there are: {names}"
        if word.model in seen:
            yield ("wake", "words", index, "model"), f"the same wake word as words[{seen[word.model]}]: remove one"
        seen.setdefault(word.model, index)


def _verifier(word: WakeWord, index: int) -> Iterator[Finding]:
    if word.verifier is None:
        return
    if word.engine != "openwakeword":
        message = f"is for engine openwakeword: {word.engine} does not show what its scores are made of"
        yield ("wake", "words", index, "verifier"), message
    for key, threshold in (("threshold", word.threshold), ("threshold_speaking", word.threshold_speaking)):
        if threshold is not None and threshold < NEAR_MISS:
            message = f"must be at least {NEAR_MISS} with a verifier: it is not asked below"
            yield ("wake", "words", index, key), message


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("ws", "http") and parts.hostname not in _LOOPBACK

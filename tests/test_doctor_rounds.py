"""``assistant doctor``: each check passing and failing, and the whole round as a user sees it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from assistant.adapters.wav_device import WavMicrophone, WavSpeaker
from assistant.audio.echo_report import EchoReport
from assistant.audio.wav import wav_header
from assistant.cli import execute
from assistant.config import parse
from assistant.control import client
from assistant.doctor import brain, machine
from assistant.doctor import rounds as doctor_rounds
from assistant.doctor.findings import Check, Finding, Level, Result, examine, ok
from assistant.doctor.sound import SoundCheck, judge, judge_echo, levels
from assistant.errors import EXIT_CONFIG, DeviceError, ModelLoadError
from assistant.realtime.session import Endpoint
from assistant.testing import virtual_time
from assistant.testing.scripted_server import Peer, ScriptedServer
from assistant.tools.entry import PluginInfo, PluginStatus
from assistant.types import FRAME_SAMPLES, MIC_RATE, AudioFrame
from tests.house import House, room, run_command, write_wav
from tests.vsound import virtual_sound

QUIET = np.random.default_rng(3).normal(0, 30, (100, FRAME_SAMPLES))


def captured(samples: np.ndarray) -> list[AudioFrame]:
    """A frame a row."""
    return [AudioFrame(n * FRAME_SAMPLES, row.tobytes(), 0.0) for n, row in enumerate(samples)]


def told(findings: list[Finding]) -> str:
    return " | ".join(f"{finding.level}: {finding.text}; {finding.advice}" for finding in findings)


# --- sound -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "seconds", "level", "words"),
    [
        (lambda x: x, 2.0, "ok", "room -"),
        (lambda x: x * 0, 2.0, "problem", "nothing but zeros"),
        (lambda x: x * 2000, 2.0, "advice", "clipped"),
        (lambda x: x + 3000, 2.0, "advice", "constant offset"),
        (lambda x: x * 30, 2.0, "advice", "a loud room"),
        (lambda x: x / 30, 2.0, "advice", "very faint"),
        (lambda x: x, 3.0, "advice", "in a second comes 0.67 s of audio; its sampling rate"),
        (lambda x: x, 1.0, "advice", "in a second comes 2.00 s of audio"),
        (lambda x: np.repeat(x[::2], 2, axis=0), 2.0, "advice", "50% of the frames are the one before once more"),
    ],
)
def test_what_a_microphone_sounds_like(
    change: Callable[[np.ndarray], np.ndarray], seconds: float, level: str, words: str
) -> None:
    samples = np.clip(change(QUIET), -32768, 32767).astype("<i2")
    shown = told(judge(levels(captured(samples), seconds)))
    assert shown.startswith(level) and words in shown


def test_a_microphone_that_loses_frames() -> None:
    frames = captured(np.clip(QUIET, -32768, 32767).astype("<i2"))
    del frames[10:15]
    assert "5% of the audio is lost" in told(judge(levels(frames, 2.0)))
    del frames[20:]
    assert "comes 0.50 s" in told(judge(levels(frames, 1.0)))


def test_levels_are_in_decibels_of_full_scale() -> None:
    tone = (np.sin(np.arange(FRAME_SAMPLES * 50) * 0.3) * 32767 * 0.1).astype("<i2").reshape(50, -1)
    found = levels(captured(tone), 1.0)
    assert found.peak_dbfs == pytest.approx(-20, abs=0.1)
    assert found.floor_dbfs == pytest.approx(-23, abs=0.1)
    assert found.rate == pytest.approx(1.0)


def test_a_dead_channel_is_told_once(tmp_path: Path) -> None:
    live = QUIET.astype("<i2").ravel()
    stereo = np.stack((np.tile(live, 5), np.zeros(5 * live.size, "<i2")), axis=1).tobytes()
    (tmp_path / "in.wav").write_bytes(wav_header(MIC_RATE, len(stereo), channels=2) + stereo)

    async def look() -> tuple[list[Finding], list[Finding]]:
        loop = asyncio.get_running_loop()
        sound = SoundCheck(WavMicrophone(tmp_path / "in.wav", loop=loop), WavSpeaker(None, loop=loop), 50)
        try:
            return await sound.listen(), await sound.play()
        finally:
            await sound.close()

    heard, played = map(told, virtual_time.run(look()))
    assert "advice: the microphone: its right channel is silent, the left one is used" in heard
    assert "did not hear it" in played and "channel" not in played


def test_what_the_echo_test_allows() -> None:
    report = EchoReport("mic", None, 70, 80.0, -30.0, 35.0, 0, 0, 30.0, True)
    auto = parse("audio: {output: {volume: 70}}", Path("config.yaml"))
    louder = parse("audio: {output: {volume: 71}}", Path("config.yaml"))
    by_hand = parse("barge_in: {mode: wake_word}", Path("config.yaml"))
    assert "may interrupt an answer, up to volume 70" in judge_echo(report, True, auto, "webrtc").text
    assert "at volume 70: at 71, only the wake word" in judge_echo(report, True, louder, "webrtc").text
    assert "another canceller" in judge_echo(report, False, auto, "device").text
    assert judge_echo(report, False, auto, "webrtc").level is Level.ADVICE
    assert judge_echo(None, False, auto, "device").level is Level.ADVICE
    assert judge_echo(None, False, auto, "off").level is Level.OK
    assert judge_echo(None, False, by_hand, "webrtc").level is Level.OK


# --- machine ---------------------------------------------------------------------------------------------------------


def test_keys_are_found_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key_file = tmp_path / "key"
    key_file.write_text("sk-very-secret-1234567890")
    config = parse(f"provider: openai\nopenai: {{api_key_file: {key_file}}}\n", tmp_path / "config.yaml")
    shown = told(asyncio.run(machine.secrets(config)))
    assert "openai: there is a key" in shown and "open to other users" in shown
    assert "secret" not in shown
    key_file.unlink()
    assert "cannot be read" in told(asyncio.run(machine.secrets(config)))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = parse("provider: openai\n", tmp_path / "config.yaml")
    assert "problem: openai: there is no key" in told(asyncio.run(machine.secrets(config)))


def test_models_that_do_not_load_and_a_machine_that_is_too_slow() -> None:
    class Instant:
        names = ("x",)

        def process(self, pcm: bytes) -> None:
            return None

    def broken() -> Instant:
        raise ModelLoadError("hey.onnx: is no model")

    assert "hey.onnx: is no model" in told(asyncio.run(machine.wake_words(broken)))  # type: ignore[arg-type]
    assert told(asyncio.run(machine.wake_words(Instant))).startswith("ok")  # type: ignore[arg-type]


def test_plugins_that_are_off_cost_nothing_else() -> None:
    found = [
        PluginInfo("clock", PluginStatus.ENABLED, "", "clock.py", ("now",)),
        PluginInfo("lamp", PluginStatus.LOAD_ERROR, "no module named lampy", "lamp.py", ()),
        PluginInfo("shell", PluginStatus.DISABLED, "", "shell.py", ()),
    ]
    shown = told(asyncio.run(machine.plugins(found, ["tools.disabled: nobody is named x"])))
    assert "1 are enabled" in shown and "lamp: load error: no module named lampy" in shown and "nobody" in shown
    assert "shell" not in shown


def test_an_assistant_that_runs_tells_its_troubles() -> None:
    status = {"troubles": [{"part": "disk", "text": "full"}], "muted": True, "uptime_s": 7200.0, "state": "idle"}
    shown = told(asyncio.run(machine.running(status)))
    assert "disk: full" in shown and "unmute" in shown
    well = told(asyncio.run(machine.running({**status, "troubles": [], "muted": False})))
    assert "idle, for 2.0 hours, without troubles" in well


def test_an_assistant_that_hangs_is_not_taken_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(*_: object, **__: object) -> None:
        raise client.Refused("the assistant did not answer within 5 s: see its log")

    monkeypatch.setattr(client, "request", hangs)
    config = parse("state_dir: state\n", tmp_path / "config.yaml")
    shown = told(asyncio.run(machine.running(doctor_rounds.running_status(config))))
    assert shown.startswith("advice: control socket: the assistant did not answer within 5 s")


def test_a_clock_that_is_wrong_and_one_that_nobody_keeps_right(monkeypatch: pytest.MonkeyPatch) -> None:
    states = ((5, "nothing keeps it right; install"), (0, ", synchronised"), (-1, "does not tell"))
    for state, words in states:
        kernel = SimpleNamespace(adjtimex=lambda _, state=state: state)
        monkeypatch.setattr(machine.ctypes, "CDLL", lambda *_, kernel=kernel, **__: kernel)
        assert words in told(asyncio.run(machine.clock()))
    monkeypatch.setattr(machine.time, "time", lambda: 86400.0)
    assert "problem: the clock is wrong by years; set it" in told(asyncio.run(machine.clock()))


def test_a_disk_that_cannot_be_used_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    shown = told(asyncio.run(machine.disk(tmp_path / "state")))
    assert shown.startswith("problem: ") and "check the disk, and who owns the folder" in shown
    assert "GB are free" in told(asyncio.run(machine.disk(tmp_path / "new")))


# --- the brain -------------------------------------------------------------------------------------------------------


def trip(script: Callable[[Peer], Awaitable[None]], **options: object) -> list[Finding]:
    async def run() -> list[Finding]:
        async with ScriptedServer(script, **options) as server:  # type: ignore[arg-type]

            async def endpoint() -> Endpoint:
                return Endpoint(server.url)

            return await brain.round_trip("custom", endpoint)

    return virtual_time.run(run())


async def answers(peer: Peer) -> None:
    await peer.open_session()
    await peer.expect("conversation.item.create")
    await peer.expect("response.create")
    await peer.answer("Yes.", bytes(4800))
    await peer.drain()


async def fails(peer: Peer) -> None:
    await peer.open_session()
    await peer.expect("conversation.item.create")
    await peer.expect("response.create")
    await peer.send("response.created", response={"id": "r", "status": "in_progress"})
    details = {"type": "failed", "error": {"code": "insufficient_quota"}}
    await peer.send("response.done", response={"id": "r", "status": "failed", "status_details": details, "output": []})
    await peer.drain()


async def stalls(peer: Peer) -> None:
    await peer.open_session()
    await peer.drain()


def test_a_round_trip_to_the_provider() -> None:
    shown = told(trip(answers))
    assert "ok: custom: a session after" in shown and "ok: custom: answers after" in shown
    assert "problem: custom: the answer was failed" in told(trip(fails))
    assert "problem: custom: no answer" in told(trip(stalls))
    refused = told(trip(answers, refuse=HTTPStatus.UNAUTHORIZED))
    assert "HTTP 401: the key or token is not accepted" in refused and "docs/providers.md" in refused
    assert "no such model or deployment" in told(trip(answers, refuse=HTTPStatus.NOT_FOUND))


def test_a_server_that_is_not_there_is_named_by_what_fails_first() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    shown = told(asyncio.run(brain.network(f"ws://127.0.0.1:{port}/v1")))
    assert "127.0.0.1 is 127.0.0.1" in shown and f"port {port} cannot be reached: Connection refused; nothing" in shown
    shown = told(asyncio.run(brain.network(f"ws://localhost:{port}/v1")))
    assert f"port {port} cannot be reached: Connection refused; " in shown, "also where a name has several addresses"

    async def endpoint() -> Endpoint:
        return Endpoint(f"ws://localhost:{port}/v1/realtime")

    shown = told(asyncio.run(brain.round_trip("custom", endpoint)))
    assert f"problem: custom: localhost:{port}: Connection refused; check the network" in shown
    shown = told(asyncio.run(brain.network("wss://nobody.invalid/v1")))
    assert "problem: nobody.invalid has no address" in shown


def test_a_server_without_tls_where_tls_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[Finding]:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await brain.network(f"wss://127.0.0.1:{port}/v1")

    assert "problem: " in told(asyncio.run(run()))


# --- the rounds ------------------------------------------------------------------------------------------------------


def test_a_check_that_hangs_or_breaks_does_not_end_the_rounds() -> None:
    async def hangs() -> list[Finding]:
        await asyncio.sleep(1e6)
        return []

    async def breaks() -> list[Finding]:
        raise ZeroDivisionError

    async def no_device() -> list[Finding]:
        raise DeviceError("microphone: none")

    async def fine() -> list[Finding]:
        return [ok("fine")]

    async def run() -> list[Result]:
        checks = [Check("a", hangs, 5.0), Check("b", breaks), Check("c", no_device), Check("d", fine)]
        return [result async for result in examine(checks)]

    results = virtual_time.run(run())
    breaking = breaks.__code__.co_firstlineno + 1
    assert [finding.text for result in results for finding in result.findings] == [
        "no result after 5 s",
        f"the check itself failed: ZeroDivisionError in test_doctor_rounds.py, line {breaking}",
        "microphone: none",
        "fine",
    ]


def test_the_doctor_with_files_as_devices(tmp_path: Path) -> None:
    write_wav(tmp_path / "in.wav", room(1.0, "hello there", 3.0))
    (tmp_path / "config.yaml").write_text(
        "state_dir: state\naudio: {input: {device: 'wav:in.wav'}, output: {device: none}}\n"
    )
    result = run_command("doctor", "--json", "--config", "config.yaml", folder=tmp_path, within=90)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    found = [json.loads(line) for line in result.stdout.splitlines()]
    by_check = {line["check"]: line for line in found}
    order = ["config", "secrets", "disk", "clock", "running", "microphone", "speaker", "barge-in"]
    assert list(by_check) == [*order, "wake word", "plugins", "brain"]
    assert by_check["microphone"]["level"] == "ok"
    assert "answers after" in by_check["brain"]["text"]


def test_what_would_not_work_is_said_and_is_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "provider: openai\nstate_dir: state\naudio: {input: {device: 'wav:none.wav'}, output: {device: none}}\n"
    )
    result = run_command("doctor", "--offline", "--config", "config.yaml", folder=tmp_path, within=90)
    assert result.returncode == 1
    assert "PROBLEM" in result.stdout and "openai: there is no key" in result.stdout
    assert "none.wav" in result.stdout
    assert result.stdout.rstrip().endswith("it would not work as it is")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_a_wrong_configuration_is_a_finding_like_others(
    as_json: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("provder: openai\naudio: {input: {devic: x}}\n")
    options = ["--json"] if as_json else []
    assert execute(["doctor", *options, "--config", str(tmp_path / "config.yaml")]) == EXIT_CONFIG
    shown = capsys.readouterr()
    assert shown.err == ""
    if as_json:
        found = [json.loads(line) for line in shown.out.splitlines()]
        assert [(line["check"], line["level"]) for line in found] == [("config", "problem")] * 2
        assert "did you mean provider?" in found[0]["text"]
    else:
        first, second, _, end = shown.out.splitlines()
        assert first.startswith("config       PROBLEM") and ":2: audio.input.devic" in second
        assert end == "2 problems: it would not work as it is"


@pytest.mark.sound
def test_the_doctor_on_a_sound_card_while_the_assistant_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with virtual_sound() as sound:
        for name, value in sound.changed_env.items():
            monkeypatch.setenv(name, value)
        loop = ["module-loopback", "source=speaker.monitor", "sink=micfeed", "latency_msec=60", "adjust_time=0"]
        subprocess.run(["pactl", "load-module", *loop], check=True, stdout=subprocess.DEVNULL)
        config = "provider: local\nstate_dir: state\nlog: {{events_file: events.jsonl}}\n{more}"
        with House(tmp_path, config=config) as house:
            house.start()
            house.wait_for("ready")
            result = run_command("doctor", "--config", "config.yaml", folder=tmp_path, within=90)
    assert "without troubles" in result.stdout, result.stdout
    assert "the microphone hears it after" in result.stdout, result.stdout
    # The quiet of a null sink is digital, as that of a microphone that is switched off.
    assert "PROBLEM  nothing but zeros" in result.stdout, result.stdout
    assert result.returncode == 1
    assert result.stdout.count("PROBLEM") == 1, result.stdout


def test_every_failure_has_an_advice() -> None:
    assert set(brain.WHAT_TO_DO) == set(brain.Failure)

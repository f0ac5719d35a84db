"""The command line. This module imports no heavy library, so that ``--help`` and usage errors come at once.

Each command is a module with a ``main(options) -> int``. Errors that a user can cause are HearthErrors: one line on
standard error, and the exit status of the error.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from assistant import __version__
from assistant.errors import EXIT_OK, HearthError

_EPILOG = """\
examples:
  assistant run                                listen on this machine's microphone
  assistant ask "what time is it"              one request in writing
  assistant ask "set a timer for 5 minutes" --out answer.wav
  assistant status                             how is the one that runs?
  assistant check-config                       is config.yaml right?
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line, with help texts."""
    parser = argparse.ArgumentParser(
        prog="assistant",
        description="Hearth: an always-on voice assistant for the home.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hearth-assistant {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = _command(commands, "run", "listen and answer until stopped")
    run.add_argument(
        "--events", type=Path, metavar="FILE", help="write what happens as JSON lines (holds what is said)"
    )
    run.add_argument("--mic", metavar="DEVICE", help="microphone: a name, wav:FILE, or wav:- for standard input")
    run.add_argument("--speaker", metavar="DEVICE", help="speaker: a name, wav:FILE, or none")

    ask = _command(commands, "ask", "send one written request and hear the answer")
    ask.add_argument("text", help='the request, such as "what time is it"')
    ask.add_argument("--out", type=Path, metavar="WAV", help="write the spoken answer to a file, and play nothing")
    ask.add_argument("--quiet", action="store_true", help="do not play the answer, only print it")

    _add_control(commands)

    _command(commands, "check-config", "check the configuration and print what is in force")
    doctor = _command(commands, "doctor", "would the assistant work here, and if not, what is to be done?")
    doctor.add_argument(
        "--echo", action="store_true", help="instead, play speech for 35 s: may speech interrupt an answer here?"
    )
    doctor.add_argument("--offline", action="store_true", help="do not talk to a provider (which costs a few tokens)")
    doctor.add_argument("--json", action="store_true", help="print JSON lines")
    devices = commands.add_parser("devices", help="list microphones and speakers")
    devices.set_defaults(module="devices")

    tools = commands.add_parser("tools", help="list the tools, or call one")
    actions = tools.add_subparsers(dest="action", metavar="ACTION", required=True)
    tools_list = _command(actions, "list", "list plugins and their tools", module="tools")
    tools_list.add_argument("--json", action="store_true", help="print JSON")
    call = _command(actions, "call", "call one tool", module="tools")
    call.add_argument("name", help="the tool's name")
    call.add_argument("--yes", action="store_true", help="run it although it would ask for a yes or the PIN")
    call.add_argument("--json", dest="arguments", default="{}", metavar="JSON", help="its arguments (default: {})")

    new = _command(actions, "new", "write a plugin to begin with, and its test", module="tools")
    new.add_argument("name", help="its name, such as my_lamp")
    new.add_argument("--folder", type=Path, default=Path("plugins"), help="where it goes (default: plugins)")
    _command(actions, "check", "look for what could be better in plugins and their sentences", module="tools")
    reload = _command(actions, "reload", "make the running assistant load plugins again", module="tools")
    reload.add_argument("plugin", nargs="?", help="its name (default: all whose files have changed)")
    calls = _command(actions, "log", "show which tools were called, and how that ended", module="tools")
    calls.add_argument("--last", type=int, default=20, metavar="N", help="how many calls (default: 20)")
    calls.add_argument("--json", action="store_true", help="print JSON lines")

    cost = _command(commands, "cost", "show what the cloud has cost")
    cost.add_argument("--days", type=_positive, default=7, metavar="N", help="days in the table (default: 7)")
    cost.add_argument("--json", action="store_true", help="print JSON")

    turns = _command(commands, "turns", "show how the last turns went, and where their time was spent")
    turns.add_argument(
        "turn", type=int, nargs="?", metavar="TURN", help="draw one turn: its number in the table, or -1 for the last"
    )
    turns.add_argument("--last", type=_positive, default=20, metavar="N", help="turns in the table (default: 20)")
    turns.add_argument(
        "--days", type=_positive, default=7, metavar="N", help="days that p50 and p95 are about (default: 7)"
    )
    turns.add_argument("--json", action="store_true", help="print JSON")

    _add_wake(commands)

    serve = _command(commands, "serve", "run the embedded realtime server alone, or lend the tools to MCP clients")
    serve.add_argument("--mcp", action="store_true", help="lend the tools, over standard input and output")
    serve.add_argument("--mcp-http", metavar="HOST:PORT", help="lend them over HTTP on this machine instead")
    serve.add_argument(
        "--mcp-token-file", type=Path, metavar="FILE", help="what HTTP clients must show (default: $HEARTH_MCP_TOKEN)"
    )
    serve.add_argument("--host", help="address to listen on (default: local.host of the config)")
    serve.add_argument("--port", type=int, help="port to listen on; 0 = any free one (default: local.port)")
    serve.add_argument("--realtime", action="store_true", help="send answers no faster than they are played")
    serve.add_argument("--session-limit", type=float, default=3600.0, metavar="SECONDS", help="how long one may last")
    serve.add_argument("--max-sessions", type=int, default=16, metavar="N", help="sessions at once (default: 16)")
    serve.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="misbehave, for tests: close=1011*1, stall, fail ...",
    )
    serve.add_argument("--log-level", help=argparse.SUPPRESS)
    serve.add_argument("--until-eof", action="store_true", help="end when standard input closes")

    demo = commands.add_parser("demo", help="run the daemon in a simulated kitchen, without a sound card")
    demo.add_argument("--out", type=Path, default=Path("build/demo"), metavar="FOLDER", help="where the recordings go")
    demo.set_defaults(module="demo")
    return parser


def _add_control(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = _command(commands, "status", "show how the running assistant is", module="control")
    status.add_argument("--json", action="store_true", help="print JSON")
    _command(commands, "events", "show what happens, as JSON lines (holds what is said)", module="control")

    control = commands.add_parser("control", help="steer the running assistant: mute, listen, stop, say ...")
    actions = control.add_subparsers(dest="action", metavar="ACTION", required=True)
    _command(actions, "mute", "close the microphone until it is wanted again", module="control")
    _command(actions, "unmute", "open the microphone again", module="control")
    _command(actions, "listen", "do as if the wake word had been said", module="control")
    _command(actions, "stop", "end what is being said, and what rings", module="control")
    say = _command(actions, "say", "say a sentence to the room", module="control")
    say.add_argument("text", help="the sentence")
    ask = _command(actions, "ask", "ask something in writing; the answer is spoken in the room", module="control")
    ask.add_argument("text", help="the request")
    volume = _command(actions, "volume", "set how loud it plays, until it ends", module="control")
    volume.add_argument("percent", type=_percent, help="0 to 100")


def _add_wake(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    wake = commands.add_parser("wake", help="try, record and look back at the wake words")
    actions = wake.add_subparsers(dest="action", metavar="ACTION", required=True)
    word_help = "only this wake word: one of the config, a bundled name, or the path of a model"

    trial = _command(actions, "eval", "let recordings pass through the daemon's ears", module="wake")
    trial.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="sound files (wav, flac ...) or folders")
    trial.add_argument("--wake-word", metavar="W", help=word_help)
    trial.add_argument("--gain", type=float, default=0.0, metavar="DB", help="play them louder or quieter (-20)")
    trial.add_argument("--json", action="store_true", help="print JSON")

    record = _command(actions, "record", "take tries at the microphone and propose a threshold", module="wake")
    record.add_argument("--wake-word", metavar="W", help=word_help)
    record.add_argument("--tries", type=int, default=10, metavar="N", help="how many (default: 10)")
    record.add_argument("--mic", metavar="DEVICE", help="microphone: a name, or wav:FILE")
    record.add_argument("--keep", type=Path, metavar="FOLDER", help="keep each try as a file, to train a verifier")

    _add_verifier(actions)
    history = _command(actions, "history", "show what scored on the wake words", module="wake")
    history.add_argument("--threshold", type=float, metavar="T", help="also say what this threshold would have done")
    history.add_argument("--last", type=int, default=50, metavar="N", help="show so many entries (default: 50)")
    history.add_argument("--json", action="store_true", help="print JSON")


def _add_verifier(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verifier = actions.add_parser("verifier", help="train or import a model of how the people here say a wake word")
    ways = verifier.add_subparsers(dest="what", metavar="ACTION", required=True)
    train = _command(ways, "train", "train it on recordings", module="wake_verifier")
    train.add_argument("--wake-word", metavar="W", help="one of the config, a bundled name, or the path of a model")
    for name, what in (("positive", "the wake word"), ("negative", "other speech")):
        train.add_argument(
            f"--{name}", nargs="+", type=Path, required=True, metavar="PATH", help=f"files or folders of {what}"
        )
    train.add_argument("--out", type=Path, metavar="FILE", help="the file to write (default: WORD-verifier.npz)")
    foreign = _command(ways, "import", "convert a file of openWakeWord's, without running it", module="wake_verifier")
    foreign.add_argument("file", type=Path, metavar="FILE.pkl", help="what its train_custom_verifier wrote")
    foreign.add_argument("out", type=Path, metavar="OUT.npz", help="the file to write")
    foreign.add_argument("--wake-word", required=True, metavar="W", help="the wake word that it was trained for")


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_text: str, module: str | None = None
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the config file (default: the first one found)")
    parser.set_defaults(module=module or name.replace("-", "_"))
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 10000, got {text!r}")
    return int(text)


def _percent(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to 100, got {text!r}")
    return int(text)


def execute(arguments: Sequence[str]) -> int:
    """Parse, run the command, and turn what a user can cause into one line and an exit status."""
    options = build_parser().parse_args(arguments)
    try:
        module = importlib.import_module(f"assistant.cli.{options.module}")
        status: int = module.main(options)
    except HearthError as error:
        print(f"assistant: {error}" if "\n" not in str(error) else str(error), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone; Python must not complain about it at exit
        return EXIT_OK
    return status

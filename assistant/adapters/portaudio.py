"""PortAudio, tamed: quiet initialisation, devices by name, and calls that hang without taking us along.

What there is to know about PortAudio 19.6 (through PyAudio 0.2.14), measured on ALSA with PulseAudio:

- Its control calls (initialise, open, close, terminate) are not thread-safe, and hang for ever when the sound server
  freezes. So they run one at a time, each on a thread of its own with a limit. After a hang the library is of no more
  use, until the server thaws or the process starts again: :class:`SoundSystemFrozen` says so at once.
- Its device list is made at ``Pa_Initialize`` and stays as it was until the last user has terminated. An instance that
  is made while another stream is open shows the old list: see ``_refuse_stale_list``.
- It writes some eighty lines to standard error when it looks for devices: ALSA is told to be silent, and standard
  error is caught while PortAudio initialises. Lines that are not known noise are passed on.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from assistant.adapters.alsa_cards import USB_PREFIX, card_number, stable_name, usb_path
from assistant.adapters.device_choice import DeviceAbsent, DeviceInfo, Direction, choose, who_holds
from assistant.errors import EXIT_RESTART, DeviceError

T = TypeVar("T")

OPEN_LIMIT_S: Final = 5.0
CLOSE_LIMIT_S: Final = 3.0

_NOISE: Final = re.compile(rb"ALSA lib|Cannot connect to server|jack server is not running|Jack|JACK|Expression '|\s*$")

log = logging.getLogger(__name__)


class SoundSystemFrozen(DeviceError):
    """A call into PortAudio did not return. Only a new process is sure to help."""

    exit_status = EXIT_RESTART


Callback = Callable[[Any, int, Any, int], tuple[bytes | None, int]]
"""PyAudio's stream callback: (input, frames, times, status) -> (output, paContinue or paAbort)."""


@dataclass(eq=False, slots=True)
class OpenStream:
    """A running stream. ``stream`` is a ``pyaudio.Stream``, ``pyaudio`` the instance that it holds open."""

    device: str
    rate: int
    channels: int
    stream: Any
    pyaudio: Any
    on_stale: Callable[[DeviceError], None]

    def close(self) -> None:
        """Close the stream and let go of PortAudio. Raises SoundSystemFrozen if that takes more than 3 s."""
        _call(self._close, CLOSE_LIMIT_S)

    def _close(self) -> None:
        _users.discard(self)
        try:
            self.stream.close()
        except OSError as error:
            log.debug("closing %s: %s", self.device, _reason(error))
        finally:
            self.pyaudio.terminate()


_users: Final[set[OpenStream]] = set()  # every open stream; touched only within _call
_cards_seen = ""  # the sound cards when the device list was made; likewise


def list_devices() -> list[DeviceInfo]:
    """All devices, as far as PortAudio knows. Raises DeviceError."""

    def look() -> list[DeviceInfo]:
        pyaudio = _initialise()
        try:
            return [info for _, info in _devices(pyaudio)]
        finally:
            pyaudio.terminate()

    return _call(look, OPEN_LIMIT_S)


def open_stream(
    direction: Direction,
    name: str | None,
    rate: int,
    channels: Callable[[DeviceInfo], Sequence[int]],
    make_callback: Callable[[int, int], Callback],
    on_stale: Callable[[DeviceError], None],
) -> OpenStream:
    """Open a device for int16 and start it. ``make_callback(rate, channels)`` is asked for what was possible.

    name: the device's name, a part of it, or usb:PORT; None is the system's default.
    rate: preferred; otherwise the device's own.
    channels: how many of them, the best first; what the device does not have is left out.
    on_stale: called when this stream must be closed so that new hardware can be seen.

    Raises DeviceError.
    """

    def attempt() -> OpenStream:
        pyaudio = _initialise()
        try:
            index, info = _find(pyaudio, direction, name)
            stream, actual_rate, count = _open(pyaudio, direction, index, info, (rate, channels(info)), make_callback)
        except BaseException:
            pyaudio.terminate()
            raise
        opened = OpenStream(info.name, actual_rate, count, stream, pyaudio, on_stale)
        _users.add(opened)
        return opened

    try:
        return _call(attempt, OPEN_LIMIT_S, discard=OpenStream._close)
    except _StaleList as stale:
        for user in stale.users:
            user.on_stale(DeviceError(f"sound: {user.device} is opened again, since the sound hardware has changed"))
        raise DeviceError(f"{direction.value}: the sound hardware has changed; looking at it again") from None


# --- one call at a time, with a limit --------------------------------------------------------------------------------

_one_at_a_time: Final = threading.Lock()
_frozen: Final = threading.Event()


def _call(function: Callable[[], T], limit_s: float, discard: Callable[[T], None] | None = None) -> T:
    """Run ``function`` on a thread and wait ``limit_s`` for it; ``discard`` takes a result that comes too late."""
    frozen = SoundSystemFrozen("sound: the sound system does not answer; restart the sound server, then the assistant")
    if _frozen.is_set() or not _one_at_a_time.acquire(timeout=limit_s):
        raise frozen
    outcome: list[T | BaseException] = []
    done = threading.Event()
    handover = threading.Lock()
    given_up = False

    def body() -> None:
        try:
            result: T | BaseException = function()
        except BaseException as error:  # carried over to the caller's thread
            result = error
        with handover:
            outcome.append(result)
            late = given_up
        if late:
            if discard is not None and not isinstance(result, BaseException):
                discard(result)
            _frozen.clear()
        _one_at_a_time.release()
        done.set()

    threading.Thread(target=body, name="portaudio", daemon=True).start()
    if not done.wait(limit_s):
        with handover:
            if not outcome:
                given_up = True
                _frozen.set()
                _stderr.release()
                raise frozen
        done.wait()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


# --- devices by name -------------------------------------------------------------------------------------------------


def _devices(pyaudio: Any) -> list[tuple[int, DeviceInfo]]:
    defaults = []
    for ask in (pyaudio.get_default_input_device_info, pyaudio.get_default_output_device_info):
        try:
            defaults.append(ask()["index"])
        except OSError:  # there is none
            defaults.append(None)
    found = []
    for index in range(pyaudio.get_device_count()):
        info = pyaudio.get_device_info_by_index(index)
        name = str(info["name"])
        card = card_number(name)
        device = DeviceInfo(
            stable_name(name),
            int(info["maxInputChannels"]),
            int(info["maxOutputChannels"]),
            int(info["defaultSampleRate"]),
            index == defaults[0],
            index == defaults[1],
            card,
            None if card is None else usb_path(card),
        )
        found.append((index, device))
    return found


def _find(pyaudio: Any, direction: Direction, name: str | None) -> tuple[int, DeviceInfo]:
    if name is not None and name.startswith(USB_PREFIX):
        _refuse_stale_list()  # its numbers of cards may no longer be those of the ports
    try:
        return choose(_devices(pyaudio), direction, name)
    except DeviceAbsent:
        _refuse_stale_list()
        raise


class _StaleList(Exception):
    """The device list is older than the hardware."""

    def __init__(self, users: list[OpenStream]) -> None:
        self.users = users


def _refuse_stale_list() -> None:
    """Before saying that a device is absent: could it be that our list is older than the device?

    The list is only made anew when no stream is open. So when the sound cards have changed since, the streams that are
    open are asked to end. Their owners open them again, and so does the owner of this attempt, on a new list.
    """
    if _users and _cards() != _cards_seen:
        raise _StaleList(list(_users))


def _cards() -> str:
    try:
        return Path("/proc/asound/cards").read_text()
    except OSError:  # no sound in the kernel, or not Linux
        return ""


def _open(
    pyaudio: Any,
    direction: Direction,
    index: int,
    info: DeviceInfo,
    wanted: tuple[int, Sequence[int]],
    make_callback: Callable[[int, int], Callback],
) -> tuple[Any, int, int]:
    """The first format of the list that the device takes: (stream, rate, channels)."""
    import pyaudio as library

    rate, channels = wanted
    formats = [(r, c) for r in (rate, info.rate, 48_000) for c in channels if c <= info.channels(direction)]
    reason = ""
    for actual_rate, count in dict.fromkeys(formats):
        side = "input" if direction is Direction.INPUT else "output"
        try:
            stream = pyaudio.open(
                rate=actual_rate,
                channels=count,
                format=library.paInt16,
                frames_per_buffer=actual_rate // 50,  # 20 ms; larger ones come in irregular bursts
                stream_callback=make_callback(actual_rate, count),
                **{side: True, f"{side}_device_index": index},
            )
        except (OSError, ValueError) as error:
            reason = reason or _reason(error)
        else:
            return stream, actual_rate, count
    held = who_holds(direction, f"{USB_PREFIX}{info.usb}" if info.usb else info.name) if info.card is not None else None
    why = held or f"cannot be opened: {reason}; is another program using it?"
    raise DeviceError(f"{direction.value} {info.name!r}: {why}")


def _reason(error: Exception) -> str:
    return str(error.args[-1]) if error.args else type(error).__name__


# --- initialisation --------------------------------------------------------------------------------------------------


def _initialise() -> Any:
    """A ``pyaudio.PyAudio`` of one's own, to be terminated; only within ``_call``."""
    global _cards_seen
    try:
        import pyaudio as library
    except ImportError as error:
        raise DeviceError(
            f"sound: PyAudio does not load ({error}); `apt install libportaudio2`, and to build PyAudio"
            " `apt install portaudio19-dev gcc python3-dev` before `pip install PyAudio`"
        ) from error
    if not _users:
        _cards_seen = _cards()
    _silence_alsa()
    try:
        with _stderr.caught():
            return library.PyAudio()
    except OSError as error:
        raise DeviceError(f"sound: PortAudio does not start: {_reason(error)}") from error


@functools.cache
def _silence_alsa() -> None:
    """Give ALSA an error handler that does nothing.

    Any harmless C function will do, since its caller cleans up the arguments: unlike a Python function, it needs no GIL
    on the audio threads and is still there when the interpreter is not.
    """
    with contextlib.suppress(OSError, AttributeError):
        nothing = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p)
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(nothing)


class _Stderr:
    """File 2, which C libraries write to, caught for a while.

    Lines that are not known noise are passed on afterwards, since other threads may have been logging.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._real = -1
        self._caught = -1

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        with self._lock:
            self._caught = os.memfd_create("stderr")
            self._real = os.dup(2)
            os.dup2(self._caught, 2)
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Also called when what was to be silenced hangs: the log must not be lost for that."""
        with self._lock:
            if self._real < 0:
                return
            os.dup2(self._real, 2)
            os.close(self._real)
            self._real = -1
            os.lseek(self._caught, 0, os.SEEK_SET)
            with os.fdopen(self._caught, "rb") as lines:
                kept = b"".join(line for line in lines if not _NOISE.match(line))
            if kept:
                os.write(2, kept)


_stderr: Final = _Stderr()

"""A real Home Assistant on 127.0.0.1, for tests and measurements: installed once, started empty each time.

``python -m tests.real_home`` installs it into ``build/home-assistant`` (0.4 GB; half a minute where pip has the wheels
at hand). It is a pinned, old release, since newer ones do not run on every Python that Hearth supports.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientSession

VERSION = "2024.3.3"
ROOT = Path(__file__).resolve().parents[1]
VENV = Path(os.environ.get("HEARTH_TEST_HOME_ASSISTANT", ROOT / "build" / "home-assistant"))
PYTHON = VENV / "bin" / "python"
CLIENT = "http://127.0.0.1/"

# Beside the package itself: what it would install at its first start, which a test does not wait for.
PACKAGES = [
    *(f"homeassistant=={VERSION}", "josepy<2", "SQLAlchemy", "fnv-hash-fast", "psutil-home-assistant", "Pillow"),
    *("janus", "securetar==2024.2.1", "home-assistant-frontend", "paho-mqtt==1.6.1"),
]
STAMP = VENV / f".installed-{hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:12]}"

_BASE = """
homeassistant:
  name: Test Home
  unit_system: metric
  time_zone: Europe/Berlin
  latitude: 52.5
  longitude: 13.4
  elevation: 30
  currency: EUR
  country: DE
http:
  server_host: 127.0.0.1
  server_port: PORT
api:
websocket_api:
config:
onboarding:
logger:
  default: error
"""

_HOUSE = """
input_boolean:
  coffee: {name: Coffee Machine}
  heater: {name: Heater}
  bolt: {name: Bolt}
  tv: {name: Tv State}
input_number:
  bedroom: {name: Raw bedroom, min: -20, max: 50, initial: 19.5}
  ceiling: {name: Raw ceiling, min: 0, max: 255}
  blind: {name: Raw blind, min: 0, max: 100, initial: 100}
  fan: {name: Raw fan, min: 0, max: 100}
  volume: {name: Raw volume, min: 0, max: 1, step: 0.01, initial: 0.4}
  hue: {name: Raw hue, min: 0, max: 360}
  saturation: {name: Raw saturation, min: 0, max: 100}
light:
  - platform: template
    lights:
      kitchen_ceiling:
        unique_id: kitchen_ceiling
        friendly_name: Kitchen Ceiling
        value_template: "{{ states('input_number.ceiling') | float > 0 }}"
        level_template: "{{ states('input_number.ceiling') | int }}"
        color_template: "({{ states('input_number.hue') }}, {{ states('input_number.saturation') }})"
        turn_on: {service: input_number.set_value, target: {entity_id: input_number.ceiling}, data: {value: 255}}
        turn_off: {service: input_number.set_value, target: {entity_id: input_number.ceiling}, data: {value: 0}}
        set_level:
          service: input_number.set_value
          target: {entity_id: input_number.ceiling}
          data: {value: "{{ brightness }}"}
        set_color:
          - {service: input_number.set_value, target: {entity_id: input_number.hue}, data: {value: "{{ h }}"}}
          - {service: input_number.set_value, target: {entity_id: input_number.saturation}, data: {value: "{{ s }}"}}
      desk_lamp:
        unique_id: desk_lamp
        friendly_name: Desk Lamp
        turn_on: []
        turn_off: []
      dead_lamp:
        unique_id: dead_lamp
        friendly_name: Dead Lamp
        value_template: "{{ false }}"
        turn_on: []
        turn_off: []
cover:
  - platform: template
    covers:
      bedroom_blind:
        unique_id: bedroom_blind
        friendly_name: Bedroom Blind
        device_class: blind
        position_template: "{{ states('input_number.blind') | int }}"
        set_cover_position:
          service: input_number.set_value
          target: {entity_id: input_number.blind}
          data: {value: "{{ position }}"}
        open_cover: {service: input_number.set_value, target: {entity_id: input_number.blind}, data: {value: 100}}
        close_cover: {service: input_number.set_value, target: {entity_id: input_number.blind}, data: {value: 0}}
fan:
  - platform: template
    fans:
      office_fan:
        unique_id: office_fan
        friendly_name: Office Fan
        value_template: "{{ 'on' if states('input_number.fan') | float > 0 else 'off' }}"
        percentage_template: "{{ states('input_number.fan') | int }}"
        turn_on: {service: input_number.set_value, target: {entity_id: input_number.fan}, data: {value: 100}}
        turn_off: {service: input_number.set_value, target: {entity_id: input_number.fan}, data: {value: 0}}
        set_percentage:
          service: input_number.set_value
          target: {entity_id: input_number.fan}
          data: {value: "{{ percentage }}"}
lock:
  - platform: template
    unique_id: front_door
    name: Front Door
    value_template: "{{ is_state('input_boolean.bolt', 'on') }}"
    lock: {service: input_boolean.turn_on, target: {entity_id: input_boolean.bolt}}
    unlock: {service: input_boolean.turn_off, target: {entity_id: input_boolean.bolt}}
climate:
  - platform: generic_thermostat
    unique_id: bedroom_heating
    name: Bedroom Heating
    heater: input_boolean.heater
    target_sensor: sensor.bedroom_temperature
    min_temp: 5
    max_temp: 30
    initial_hvac_mode: "off"
media_player:
  - platform: universal
    unique_id: tv
    name: Television
    state_template: "{{ 'playing' if is_state('input_boolean.tv', 'on') else 'off' }}"
    commands:
      turn_on: {service: input_boolean.turn_on, target: {entity_id: input_boolean.tv}}
      turn_off: {service: input_boolean.turn_off, target: {entity_id: input_boolean.tv}}
      volume_set:
        service: input_number.set_value
        target: {entity_id: input_number.volume}
        data: {value: "{{ volume_level }}"}
    attributes:
      volume_level: input_number.volume
template:
  - sensor:
      - name: Bedroom Temperature
        unique_id: bedroom_temperature
        state: "{{ states('input_number.bedroom') }}"
        unit_of_measurement: "°C"
        device_class: temperature
  - binary_sensor:
      - name: Back Door
        unique_id: back_door
        state: "{{ is_state('input_boolean.bolt', 'off') }}"
        device_class: door
scene:
  - id: movie
    name: Movie Night
    entities: {input_boolean.coffee: "off"}
script:
  brew: {alias: Brew Coffee, sequence: [{service: input_boolean.turn_on, target: {entity_id: input_boolean.coffee}}]}
"""


def _interpreter() -> str:
    """A Python that this release has wheels for. Raises RuntimeError if there is none."""
    if sys.version_info < (3, 13):
        return sys.executable
    for name in ("python3.12", "python3.11"):
        if (found := shutil.which(name)) and not subprocess.run([found, "-c", "import ensurepip"]).returncode:
            return found
    raise RuntimeError(f"Home Assistant {VERSION} needs Python 3.11 or 3.12, and there is neither")


def install() -> None:
    """Put it into its own environment, once. Raises CalledProcessError when pip fails, and RuntimeError."""
    if STAMP.is_file():
        return
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([_interpreter(), "-m", "venv", VENV], check=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    # Its own list of versions that go together, which comes inside the package.
    subprocess.run([*pip, "--no-deps", PACKAGES[0]], check=True)
    (constraints,) = VENV.glob("lib/python*/site-packages/homeassistant/package_constraints.txt")
    subprocess.run([*pip, "--constraint", constraints, *PACKAGES], check=True)
    STAMP.touch()


class RealHome:
    """Use :func:`real_home`. Every method blocks."""

    def __init__(self, folder: Path, more: str = "") -> None:
        """more: YAML that is added to its configuration."""
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "configuration.yaml").write_text(_BASE.replace("PORT", str(self.port)) + _HOUSE + more)

    def start(self, limit_s: float = 60.0) -> None:
        """Start it, and wait until it says that it runs. The first time its owner moves in, who gets a token."""
        with (self.folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "homeassistant", "--config", self.folder, "--skip-pip"],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + limit_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_end = (self.folder / "output.log").read_text()[-2000:]
                raise RuntimeError(f"Home Assistant does not start:\n{log_end}")
            time.sleep(0.2)
        if not self.token:
            self._move_in()
        while self.request("/api/config")["state"] != "RUNNING":
            if time.monotonic() > deadline:
                raise RuntimeError(f"Home Assistant stays {self.request('/api/config')['state']}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End it in good order; what it knows of areas and names stays."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def request(self, path: str, body: Any = None, form: dict[str, str] | None = None) -> Any:
        """One HTTP request, with the token if there is one; the answer, decoded."""
        data = urlencode(form).encode() if form else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data)
        if not form:
            request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read())

    def set_state(self, service: str, **data: Any) -> None:
        """Call a service as somebody else in the house would: ``set_state("light.turn_on", entity_id=...)``."""
        self.request(f"/api/services/{service.replace('.', '/')}", data)

    def administer(self, *commands: dict[str, Any]) -> list[Any]:
        """Commands of its WebSocket API, such as making an area; their results."""

        async def main() -> list[Any]:
            async with ClientSession() as session, session.ws_connect(f"{self.url}/api/websocket") as socket:
                await socket.receive_json()
                await socket.send_json({"type": "auth", "access_token": self.token})
                await socket.receive_json()
                results = []
                for number, command in enumerate(commands, start=1):
                    await socket.send_json({"id": number, **command})
                    answer = await socket.receive_json()
                    assert answer["success"], answer
                    results.append(answer["result"])
                return results

        return asyncio.run(main())

    def state(self, entity: str) -> str:
        return str(self.request(f"/api/states/{entity}")["state"])

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/onboarding", timeout=5):
                return True
        except OSError:
            return False

    def _move_in(self) -> None:
        owner = {"client_id": CLIENT, "name": "Test", "username": "test", "password": "test", "language": "en"}
        code = self.request("/api/onboarding/users", owner)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
        self.token = self.request("/auth/token", form=grant)["access_token"]
        # The other steps of moving in would install what a house usually has, from the internet.


@contextlib.contextmanager
def real_home(more: str = "") -> Iterator[RealHome]:
    """A running Home Assistant, of which nothing is left afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="real-home."))
    try:
        home = RealHome(folder, more)
        try:
            home.start()
            yield home
        finally:
            home.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        install()
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"tests.real_home: {error}")
    print(f"Home Assistant {VERSION} is in {VENV}")

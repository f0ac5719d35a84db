"""A daemon in a network of its own, with everything that is on that network captured.

``unshare --net python -m tests.captured_house FOLDER``: nothing but loopback is there, and nobody but the daemon and a
scripted server uses it. The daemon plays ``FOLDER/room.wav``; ``FOLDER/packets.json`` then lists every packet that
carried data: when (monotonic clock, which the daemon's journal uses, too), from which port, to which, and how much. It
also says how large the session's settings were by themselves.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.house import House
from tests.test_daemon import answer_everything, base, serving

ETH_P_ALL = 3
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
OUTGOING = 4  # PACKET_OUTGOING: loopback shows every packet twice, on its way out and in
TCP, UDP = 6, 17


def bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = fcntl.ioctl(probe, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0))
        (flags,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def payload(packet: bytes) -> tuple[int, int, int] | None:
    """Source port, destination port and bytes of data of an Ethernet frame with IPv4; anything else is all data."""
    kind, ip = packet[12:14], packet[14:]
    if kind != b"\x08\x00":
        return 0, 0, len(packet)
    header, protocol, total = (ip[0] & 15) * 4, ip[9], int.from_bytes(ip[2:4], "big")
    if protocol not in (TCP, UDP):
        return 0, 0, total
    source, target = struct.unpack_from(">HH", ip, header)
    inner = (ip[header + 12] >> 4) * 4 if protocol == TCP else 8
    size = total - header - inner
    return (source, target, size) if size or protocol == UDP else None  # handshakes and acknowledgements carry nothing


class Capture:
    """Every packet with data, in order. Sees all interfaces; use it as a context manager."""

    def __init__(self) -> None:
        self.packets: list[tuple[float, int, int, int]] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.settimeout(0.2)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                packet, address = self._socket.recvfrom(65_536)
            except TimeoutError:
                continue
            if address[2] != OUTGOING and (found := payload(packet)):
                self.packets.append((time.monotonic(), *found))

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()


def main(folder: Path) -> int:
    bring_up_loopback()
    with Capture() as capture, serving(answer_everything) as server, House(folder, base(server)) as house:
        port = urlsplit(server.url).port
        house.start()
        status = house.end()
        messages = [message for peer in server.peers for message in peer.received]
    settings = [message for message in messages if message["type"] == "session.update"]
    found = {"server": port, "packets": capture.packets, "settings_bytes": sum(len(json.dumps(m)) for m in settings)}
    (folder / "packets.json").write_text(json.dumps(found), "utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

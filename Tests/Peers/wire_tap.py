"""A relay between a provider and its peer that keeps what goes over the wire.

The peers have logs of their own, each of what its tests look for; none of them has what is on the wire, as it is. A relay sees
every byte of both directions, of the fakes and of real services alike, and neither side knows of it. What the bytes mean is
read afterwards (`wire_text.py`).

    recording = Recording()
    with Tap(recording, peer.port) as tap:
        ...                          # the provider is configured with tap.port
    recording.pieces                 # Piece(connection, is_sent, data), in the order in which they passed
"""

import contextlib
import re
import socket
import threading
from typing import NamedTuple

# Twice what a datagram can hold.
CHUNK = 131072
EVENT_SOCKET = re.compile(rb"udp:127\.0\.0\.1:(\d+)")


class Piece(NamedTuple):
    connection: int
    # By the one that connected.
    is_sent: bool
    data: bytes


class Recording:
    """What passed, of one tap or of several that belong together."""

    def __init__(self):
        self.pieces = []
        self._lock = threading.Lock()
        self._connections = 0

    def connection(self):
        with self._lock:
            self._connections += 1
            return self._connections

    def keep(self, connection, is_sent, data):
        with self._lock:
            self.pieces.append(Piece(connection, is_sent, data))


class Tap:
    """Takes TCP connections on `port` and has one to `target` for each."""

    def __init__(self, recording, target):
        self.recording, self.target = recording, target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *failure):
        for sock in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            number = self.recording.connection()
            for sock in (near, far):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(sock)
            for reader, writer, is_sent in ((near, far, True), (far, near, False)):
                threading.Thread(target=self._pump, args=(reader, writer, number, is_sent), daemon=True).start()

    def _pump(self, reader, writer, number, is_sent):
        with contextlib.suppress(OSError):
            while data := reader.recv(CHUNK):
                self.recording.keep(number, is_sent, data)
                writer.sendall(data)
        with contextlib.suppress(OSError):
            writer.shutdown(socket.SHUT_WR)


class DatagramTap:
    """OpenSIPS' management interface: requests to `target`, the answers back, and the events that were subscribed to, which
    pass here too because the address in the subscription is replaced."""

    def __init__(self, recording, target):
        self.recording, self.target = recording, ("127.0.0.1", target)
        self._near, self._far, self._events = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
        for sock in (self._near, self._far, self._events):
            sock.bind(("127.0.0.1", 0))
        self.port = self._near.getsockname()[1]
        self._client = self._subscriber = None

    def __enter__(self):
        for sock, relay in ((self._near, self._ask), (self._far, self._answer), (self._events, self._tell)):
            threading.Thread(target=self._pump, args=(sock, relay), daemon=True).start()
        return self

    def __exit__(self, *failure):
        for sock in (self._near, self._far, self._events):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _pump(self, sock, relay):
        while True:
            try:
                data, address = sock.recvfrom(CHUNK)
                if not data:
                    return
                self.recording.keep(0, sock is self._near, data)
                relay(data, address)
            except OSError:
                return

    def _ask(self, data, address):
        self._client = address
        if found := EVENT_SOCKET.search(data):
            self._subscriber = ("127.0.0.1", int(found.group(1)))
            data = EVENT_SOCKET.sub(b"udp:127.0.0.1:%d" % self._events.getsockname()[1], data)
        self._far.sendto(data, self.target)

    def _answer(self, data, _):
        self._near.sendto(data, self._client)

    def _tell(self, data, _):
        self._events.sendto(data, self._subscriber)

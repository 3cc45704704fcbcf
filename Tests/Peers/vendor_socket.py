"""The server's side of a WebSocket (RFC 6455) for fakes of vendors: threads, and strict with its client.

`VendorServer` accepts connections on a free port of 127.0.0.1 for as long as its block lasts, and hands every upgrade
to `admit(request)`, which gives None or (status, headers, body) of a refusal, and then to `serve(connection, request)`.
"""

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    """The connection is over; `code` is the client's close code, or None."""

    def __init__(self, code=None):
        super().__init__(code)
        self.code = code


class Request(NamedTuple):
    path: str
    # Every value of each name.
    query: dict
    # By lower-case name.
    headers: dict


class Connection:
    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self._buffer = b""
        self._lock = threading.Lock()

    def _read(self, count):
        while len(self._buffer) < count:
            data = self.sock.recv(65536)
            if not data:
                raise Closed
            self._buffer += data
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def line(self):
        while b"\r\n" not in self._buffer:
            data = self.sock.recv(65536)
            if not data or len(self._buffer) > 65536:
                raise Closed
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\r\n", 1)
        return line.decode()

    def send(self, opcode, payload=b""):
        head = bytes([0x80 | opcode])
        if len(payload) < 126:
            head += bytes([len(payload)])
        elif len(payload) < 1 << 16:
            head += b"\x7e" + struct.pack(">H", len(payload))
        else:
            head += b"\x7f" + struct.pack(">Q", len(payload))
        with self._lock:
            self.sock.sendall(head + payload)

    def send_text(self, text):
        self.send(TEXT, text.encode())

    def send_json(self, value):
        self.send_text(json.dumps(value))

    def close(self, code=1000, reason=""):
        """Says goodbye, and waits a second for the answer."""
        with contextlib.suppress(OSError, Closed):
            self.send(CLOSE, struct.pack(">H", code) + reason.encode())
            self.sock.settimeout(1)
            while self._frame()[1] != CLOSE:
                pass
        raise Closed(code)

    def abort(self):
        """Cuts the connection without a close frame."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Closed

    def message(self, timeout=None):
        """(opcode, payload) of the next message; control frames are handled on the way. TimeoutError when none comes."""
        parts, kind = [], None
        while True:
            if not self._buffer:
                self.sock.settimeout(timeout)
                self._buffer = self.sock.recv(65536)
                if not self._buffer:
                    raise Closed
                self.sock.settimeout(10)
            final, opcode, payload = self._frame()
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                with contextlib.suppress(OSError):
                    self.send(CLOSE, payload)
                raise Closed(struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else None)
            elif opcode != PONG:
                if (opcode == 0) != (kind is not None):
                    self.close(1002, "fragments out of order")
                kind = kind or opcode
                parts.append(payload)
                if final:
                    return kind, b"".join(parts)

    def _frame(self):
        first, second = self._read(2)
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70 or not second & 0x80 or opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            self.close(1002, "reserved bits, an unmasked frame or an unknown opcode")
        if length == 126:
            length = struct.unpack(">H", self._read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self._read(8))[0]
        mask = self._read(4)
        payload = self._read(length)
        key = (mask * (length // 4 + 1))[:length]
        return first & 0x80, opcode, (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")


class VendorServer:
    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._open = set()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *failure):
        self.stop()

    def stop(self):
        """Nobody listens any more, and open connections are cut."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self):
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def admit(self, request):
        return None

    def serve(self, connection, request):
        raise NotImplementedError

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock):
        self._open.add(sock)
        sock.settimeout(10)
        connection = Connection(sock)
        try:
            request = self._upgraded(connection)
            if request:
                self.serve(connection, request)
        except (Closed, OSError, ValueError, struct.error):
            pass
        finally:
            self._open.discard(sock)
            sock.close()

    def _upgraded(self, connection):
        method, target, _ = connection.line().split(" ", 2)
        headers = {}
        while line := connection.line():
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
        parts = urlsplit(target)
        request = Request(parts.path or "/", parse_qs(parts.query, keep_blank_values=True), headers)
        valid = (method == "GET" and headers.get("upgrade", "").lower() == "websocket"
                 and "upgrade" in headers.get("connection", "").lower() and headers.get("sec-websocket-version") == "13"
                 and len(base64.b64decode(headers.get("sec-websocket-key", ""))) == 16)
        refusal = (400, {}, "not an upgrade") if not valid else self.admit(request)
        if refusal:
            status, more, body = refusal
            lines = [f"HTTP/1.1 {status} Refused", f"Content-Length: {len(body.encode())}", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in more.items()]
            connection.sock.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
            return None
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        connection.sock.sendall(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                 f"Sec-WebSocket-Accept: {accept}\r\n\r\n").encode())
        return request

#!/usr/bin/env python3
"""A WebSocket server written after RFC 6455, strict with its client: what a client must not send closes with 1002.

It prints "port N" once it listens, and ends when its standard input closes. `--tls CERTIFICATE KEY` serves wss.

    /echo            sends every message back
    /headers         sends the headers of the upgrade, as JSON
    /fragments       sends "one two three" in three fragments with a ping between them, then echoes
    /large?n=        sends a message of n bytes
    /flood?n=&size=  sends n binary messages, the number in the first four bytes
    /deaf            never reads again after the upgrade
    /mute            reads and never answers: no pong, no close
    /bye?code=       closes at once with that code and the reason "as asked"
    /drop            cuts the connection without a close frame
    /slow-upgrade    answers the upgrade after 2 s
    /status/401      refuses the upgrade with that status
    /bad-accept      upgrades with a wrong Sec-WebSocket-Accept
    /masked          sends a masked frame, which a server must not
"""

import base64
import hashlib
import json
import socket
import ssl
import struct
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Closed(Exception):
    pass


class Connection:
    def __init__(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.file = sock.makefile("rb")

    def read(self, count):
        data = self.file.read(count)
        if len(data) < count:
            raise Closed
        return data

    def send(self, opcode, payload=b"", final=True, masked=False):
        head = bytes([(0x80 if final else 0) | opcode])
        bit = 0x80 if masked else 0
        if len(payload) < 126:
            head += bytes([bit | len(payload)])
        elif len(payload) < 1 << 16:
            head += bytes([bit | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
        self.sock.sendall(head + (b"\0\0\0\0" if masked else b"") + payload)

    def close(self, code, reason=b""):
        self.send(CLOSE, struct.pack(">H", code) + reason)

    def fail(self, reason):
        self.close(1002, reason.encode())
        raise Closed

    def frame(self):
        first, second = self.read(2)
        final, opcode, length = first & 0x80, first & 0x0F, second & 0x7F
        if first & 0x70:
            self.fail("reserved bits")
        if not second & 0x80:
            self.fail("a client must mask")
        if opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            self.fail("unknown opcode")
        if opcode >= 8 and (length > 125 or not final):
            self.fail("a control frame must be short and whole")
        if length == 126:
            length = struct.unpack(">H", self.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.read(8))[0]
        mask = self.read(4)
        payload = self.read(length)
        key = (mask * (length // 4 + 1))[:length]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
        return final, opcode, payload

    def message(self, answer_pings=True):
        """The next message; control frames are handled on the way."""
        parts, kind = [], None
        while True:
            final, opcode, payload = self.frame()
            if opcode == PING:
                if answer_pings:
                    self.send(PONG, payload)
            elif opcode == CLOSE:
                self.send(CLOSE, payload)
                raise Closed
            elif opcode != PONG:
                if (opcode == 0) != (kind is not None):
                    self.fail("fragments out of order")
                kind = kind or opcode
                parts.append(payload)
                if final:
                    whole = b"".join(parts)
                    if kind == TEXT:
                        try:
                            whole.decode()
                        except UnicodeDecodeError:
                            self.fail("text that is not UTF-8")
                    return kind, whole

    def echo(self):
        while True:
            self.send(*self.message())


def serve(sock):
    connection = Connection(sock)
    try:
        request = connection.file.readline().decode().split()
        headers = {}
        while (line := connection.file.readline().strip()):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        parts = urlsplit(request[1])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path.startswith("/status/"):
            sock.sendall(f"HTTP/1.1 {parts.path[8:]} No\r\nContent-Length: 0\r\n\r\n".encode())
            return
        valid = (
            request[0] == "GET"
            and headers.get("upgrade", "").lower() == "websocket"
            and "upgrade" in headers.get("connection", "").lower()
            and headers.get("sec-websocket-version") == "13"
            and len(base64.b64decode(headers.get("sec-websocket-key", ""))) == 16
        )
        if not valid:
            sock.sendall(b"HTTP/1.1 400 Not an upgrade\r\nContent-Length: 0\r\n\r\n")
            return
        if parts.path == "/slow-upgrade":
            time.sleep(2)
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        if parts.path == "/bad-accept":
            accept = accept[::-1]
        answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        answer += f"Sec-WebSocket-Accept: {accept}\r\n"
        if "sec-websocket-protocol" in headers:
            answer += f"Sec-WebSocket-Protocol: {headers['sec-websocket-protocol'].split(',')[0].strip()}\r\n"
        sock.sendall((answer + "\r\n").encode())
        play(connection, parts.path, query, headers, request[1])
    except (Closed, OSError, ValueError):
        pass
    finally:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()


def play(connection, path, query, headers, target):
    if path == "/headers":
        connection.send(TEXT, json.dumps({"target": target, **headers}).encode())
    elif path == "/fragments":
        connection.send(TEXT, b"one ", final=False)
        connection.send(PING, b"between")
        connection.send(0, b"two ", final=False)
        connection.send(0, b"three")
    elif path == "/large":
        connection.send(BINARY, bytes(int(query["n"])))
    elif path == "/flood":
        for number in range(int(query["n"])):
            connection.send(BINARY, struct.pack(">I", number) + bytes(int(query["size"]) - 4))
    elif path == "/deaf":
        time.sleep(60)
    elif path == "/mute":
        while True:
            connection.frame()
    elif path == "/bye":
        connection.close(int(query["code"]), b"as asked")
        connection.frame()
        return
    elif path == "/drop":
        return
    elif path == "/masked":
        connection.send(TEXT, b"masked", masked=True)
    connection.echo()


listener = socket.create_server(("127.0.0.1", 0), backlog=256)
tls = None
if len(sys.argv) > 1 and sys.argv[1] == "--tls":
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[2], sys.argv[3])


def serve_secure(sock):
    try:
        sock = tls.wrap_socket(sock, server_side=True)
    except (ssl.SSLError, OSError):
        return
    serve(sock)


def accept():
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve_secure if tls else serve, args=(sock,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
print("port", listener.getsockname()[1], flush=True)
sys.stdin.read()

"""A bidirectional Media Stream as Twilio's side of it: the WebSocket, what may come over it, and the buffer that is played on a clock of
its own. Used by twilio_peer.py; written from Twilio's documentation and strict as it is.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

FRAME = 160  # 20 ms
SILENCE = b"\xff"


def signature(token, url, fields=(), algorithm="sha1"):
    """What X-Twilio-Signature holds: base64 of the HMAC over the URL and the sorted names and values of the form."""
    text = url
    for name in sorted({name for name, _ in fields}):
        for value in sorted({value for other, value in fields if other == name}):
            text += name + value
    return base64.b64encode(hmac.new(token.encode(), text.encode(), algorithm).digest()).decode()


def sid(prefix):
    return prefix + secrets.token_hex(16)


class Refused(Exception):
    """The application answered with something else than 101; `status` has it."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


class WebSocket:
    """A client after RFC 6455, without extensions."""

    def __init__(self, host, port, path, headers, name):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", f"Host: {name}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
        lines += [f"{header}: {value}" for header, value in headers.items()]
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        self.file = self.socket.makefile("rb")
        status = int(self.file.readline().split()[1])
        answer = {}
        while line := self.file.readline().strip():
            header, _, value = line.decode().partition(":")
            answer[header.lower()] = value.strip()
        if status != 101:
            self.file.close()
            self.socket.close()
            raise Refused(status)
        expected = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        assert answer["sec-websocket-accept"] == base64.b64encode(expected).decode(), "a wrong Sec-WebSocket-Accept"
        self.socket.settimeout(None)
        self.lock = threading.Lock()

    def send(self, payload, opcode=1):
        mask = os.urandom(4)
        head = bytes([0x80 | opcode])
        head += bytes([0x80 | len(payload)]) if len(payload) < 126 else struct.pack(">BH", 0x80 | 126, len(payload))
        with self.lock:
            self.socket.sendall(head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload)))

    def receive(self):
        """(opcode, payload) of a whole message, or None at the end. Pings are answered."""
        while True:
            head = self.file.read(2)
            if len(head) < 2:
                return None
            assert head[0] & 0x80 and not head[0] & 0x70, "a server that fragments or uses extensions was not asked to"
            assert not head[1] & 0x80, "a server must not mask"
            length = head[1] & 127
            if length == 126:
                length, = struct.unpack(">H", self.file.read(2))
            elif length == 127:
                length, = struct.unpack(">Q", self.file.read(8))
            payload = self.file.read(length)
            opcode = head[0] & 15
            if opcode == 9:
                self.send(payload, 10)
            elif opcode == 8:
                with contextlib.suppress(OSError):
                    self.send(payload, 8)
                return 8, payload
            elif opcode != 10:
                return opcode, payload

    def cut(self):
        """Ends the connection without a close frame."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.file.close()
        self.socket.close()


class Stream:
    """A bidirectional media stream. `events` has what came, with its time; `heard` is what the caller has heard."""

    EXPECTED = {"media": {"event": str, "streamSid": str, "media": {"payload": str}},
                "mark": {"event": str, "streamSid": str, "mark": {"name": str}},
                "clear": {"event": str, "streamSid": str}}

    def __init__(self, call, url, parameters):
        self.call, self.sid = call, sid("MZ")
        self.parameters = parameters
        self.events, self.violations, self.heard = [], [], bytearray()
        self.close_code = None
        self.most_ahead_ms = 0
        self._buffer, self._to_say = [], bytearray()  # Frames and marks that wait to be played; what the caller says.
        self._state = threading.Lock()
        self._over = threading.Event()
        self._sequence = self._chunk = 0
        twilio = call.twilio
        parts = urlsplit(url)
        assert parts.scheme == ("wss" if twilio.public.startswith("https") else "ws"), f"error 31922: {url}"
        assert not parts.query, f"error 31920: a query in {url}"
        headers = {"x-twilio-signature": signature(call.faults.get("stream_token", twilio.token),
                                                   url + call.faults.get("signed_slash", ""))}
        local = urlsplit(twilio.local)
        self.socket = WebSocket(local.hostname, local.port, parts.path, headers, parts.netloc)
        self.began = time.monotonic()

    def run(self):
        self.tell({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        self.count({"event": "start", "start": {
            "accountSid": self.call.twilio.account, "streamSid": self.sid, "callSid": self.call.sid, "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": self.parameters}})
        threading.Thread(target=self._clock, daemon=True).start()
        try:
            while (message := self.socket.receive()) is not None:
                opcode, payload = message
                if opcode == 8:
                    self.close_code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                    break
                self._take(opcode, payload)
        except OSError:
            pass
        self._over.set()
        self.socket.cut()

    def tell(self, message):
        with contextlib.suppress(OSError):
            self.socket.send(json.dumps(message, separators=(",", ":")).encode())

    def count(self, message):
        """With the next sequence number, a string as Twilio has it."""
        with self._state:
            self._sequence += 1
            message.update(sequenceNumber=str(self._sequence), streamSid=self.sid)
            self.tell(message)

    def _clock(self):
        """One frame in each direction, every 20 ms."""
        due = time.monotonic()
        while not self._over.is_set():
            due += 0.02
            time.sleep(max(0, due - time.monotonic()))
            self._play()
            with self._state:
                said, self._to_say = bytes(self._to_say[:FRAME]), self._to_say[FRAME:]
            if not self.call.faults.get("silent"):
                self._chunk += 1
                self.count({"event": "media", "media": {
                    "track": "inbound", "chunk": str(self._chunk),
                    "timestamp": str(int((time.monotonic() - self.began) * 1000)),
                    "payload": base64.b64encode(said.ljust(FRAME, SILENCE)).decode()}})

    def _play(self):
        with self._state:
            while self._buffer and isinstance(self._buffer[0], str):
                self._return_mark(self._buffer.pop(0))
            piece = bytearray()
            while len(piece) < FRAME and self._buffer and not isinstance(self._buffer[0], str):
                take = FRAME - len(piece)
                piece += self._buffer[0][:take]
                self._buffer[0] = self._buffer[0][take:]
                if not self._buffer[0]:
                    self._buffer.pop(0)
            self.heard += piece.ljust(FRAME, SILENCE)

    def _return_mark(self, name):
        # With the lock held, so not by `count`.
        self._sequence += 1
        self.tell({"event": "mark", "sequenceNumber": str(self._sequence), "streamSid": self.sid, "mark": {"name": name}})

    def _take(self, opcode, payload):
        def violation(what):
            self.violations.append(f"{what}: {payload[:120]!r}")
        if opcode != 1:
            return violation("warning 31950, a binary message")
        try:
            message = json.loads(payload)
        except ValueError:
            return violation("warning 31951, no JSON")
        event = message.get("event")
        if not self._is_as(self.EXPECTED.get(event), message):
            return violation("warning 31951, an unknown event or other members than documented")
        if message["streamSid"] != self.sid:
            return violation("warning 31951, a wrong streamSid")
        now = time.monotonic()
        with self._state:
            if event == "media":
                audio = base64.b64decode(message["media"]["payload"], validate=True)
                self._buffer.append(audio)
                ahead = sum(len(each) for each in self._buffer if not isinstance(each, str)) / 8
                self.most_ahead_ms = max(self.most_ahead_ms, ahead)
                self.events.append((now, "media", audio))
            elif event == "mark":
                self.events.append((now, "mark", message["mark"]["name"]))
                self._buffer.append(message["mark"]["name"])
            else:
                marks = [each for each in self._buffer if isinstance(each, str)]
                self.events.append((now, "clear", sum(len(each) for each in self._buffer) - sum(map(len, marks))))
                self._buffer = []
                for name in marks:
                    self._return_mark(name)

    def _is_as(self, shape, message):
        if not isinstance(shape, dict):
            return isinstance(message, shape) if shape else False
        return isinstance(message, dict) and message.keys() == shape.keys() and all(
            self._is_as(shape[key], message[key]) for key in shape)

    # What the caller does.

    def say(self, mu_law):
        with self._state:
            self._to_say += mu_law
        return len(mu_law) / 8000

    def press(self, digits):
        for digit in digits:
            self.count({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": digit}})

    def garbage(self, *payloads):
        # The host may have enough in the middle of them.
        with contextlib.suppress(OSError):
            for payload in payloads:
                self.socket.send(payload)

    def stop(self, closes=True):
        """Twilio's end of a stream: `stop`, and the close behind it."""
        self.count({"event": "stop", "stop": {"accountSid": self.call.twilio.account, "callSid": self.call.sid}})
        self._over.set()
        if closes:
            with contextlib.suppress(OSError):
                self.socket.send(struct.pack(">H", 1000), 8)

    def wait(self, seconds=5):
        return self._over.wait(seconds)

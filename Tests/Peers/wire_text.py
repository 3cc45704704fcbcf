"""What went over a wire (`wire_tap.py`), as text that a person reads and a test compares.

HTTP/1.1, WebSockets (RFC 6455), gRPC over HTTP/2 (RFC 9113) and datagrams of JSON. An exchange is a request with its answer, a
WebSocket, or a gRPC call; exchanges stand in the order in which they began, `>` before what the connecting side sends and `<`
before what comes back. JSON is laid out, messages of a .proto are decoded, audio is a length, a hash and its first bytes; headers
of the answer that say nothing of the protocol are left out. `scrubs` gives a name to what is another each time.

Audio that a person speaks is never the same twice, and neither is what a recogniser makes of it. In the directions that are
`live`, a string of "<" and ">", messages have types in place of values; audio, and messages that look like an earlier one, are
shown once.
"""

import base64
import email.parser
import email.policy
import hashlib
import io
import json
import pathlib
import re
import struct
import subprocess
from typing import NamedTuple
from urllib.parse import parse_qsl

import hpack

# Of a message that is shown as it came. A longer one is laid out, with its members in order.
WIDTH = 180
SHOWN_OF_ANSWERS = {"content-type", "retry-after", ":status", "grpc-status", "grpc-message"}
# Their lengths and the framing are the transport's.
HIDDEN = {"content-length", "transfer-encoding", "date", "server"}
BASE64 = re.compile(r"[A-Za-z0-9+/]{60,}={0,2}")
AUDIO = "⟨audio⟩"
SCRUBS = [
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"(?i)(sec-websocket-key: ).*", r"\1NONCE"),
    (r"(user-agent: vchost/)\S+", r"\1VERSION"),
    (r"(user-agent: ).*grpc-c\+\+.*", r"\1GRPC"),
    (r"(grpc-timeout: ).*", r"\1TIMEOUT"),
    (r"(boundary=)\S+", r"\1BOUNDARY"),
]


class Entry(NamedTuple):
    is_sent: bool
    # With AUDIO where `audio` is shown.
    text: str
    audio: bytes = None
    shape: object = None


class Exchange:
    def __init__(self):
        self.entries = []
        # Connections that were made ahead and not used come and go by the clock.
        self.is_shown = True

    def add(self, is_sent, text, audio=None, shape=None):
        self.entries.append(Entry(is_sent, text, audio, shape))


def transcript(recording, protos=(), live="", scrubs=()):
    """The text of a recording; `protos` are the files that have its gRPC services."""
    reader = Reader(Messages(protos), live)
    for piece in list(recording.pieces):
        reader.take(piece)
    blocks = [lines(exchange.entries, live) for exchange in reader.exchanges if exchange.is_shown]
    text = "\n\n".join("\n".join(block) for block in blocks) + "\n"
    for pattern, name in [*SCRUBS, *scrubs]:
        text = re.sub(pattern, name, text)
    return text


def lines(entries, live):
    shown, at, seen = [], 0, set()
    while at < len(entries):
        entry, run = entries[at], 1
        if entry.audio is not None and not live:
            while at + run < len(entries) and entries[at + run][:2] == entry[:2] and entries[at + run].audio is not None:
                run += 1
        if not (live and entry.shape in seen):
            text = entry.text if entry.audio is None else entry.text.replace(AUDIO, summary(entry.audio))
            shown += [f"{'>' if entry.is_sent else '<'} {line}".rstrip() for line in text.split("\n")]
            if entry.shape is not None:
                seen.add(entry.shape)
        if run > 1:
            whole = b"".join(other.audio for other in entries[at:at + run])
            shown.append(f"{'>' if entry.is_sent else '<'} and {run - 1} more like it, in all {summary(whole)}")
        at += run
    return shown


def summary(data):
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        form, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[20:36])
        return f"WAV: format {form}, {channels} channel, {rate} Hz, {bits} bits, {summary(data[44:])}"
    return f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()[:16]}, first {data[:8].hex(' ')}"


class Reader:
    """Pieces in, exchanges out."""

    def __init__(self, messages, live):
        self.messages, self.live, self.exchanges, self._connections = messages, live, [], {}

    def begin(self):
        self.exchanges.append(Exchange())
        return self.exchanges[-1]

    def take(self, piece):
        if piece.connection == 0:
            return self.datagram(piece)
        if piece.connection not in self._connections:
            # The preface, or a server that speaks first.
            kind = HTTP2 if piece.data.startswith(b"PRI") or not piece.is_sent else HTTP1
            self._connections[piece.connection] = kind(self)
        self._connections[piece.connection].take(piece.is_sent, piece.data)

    def datagram(self, piece):
        exchange = self.exchanges[0] if self.exchanges else self.begin()
        exchange.add(piece.is_sent, *self.said(piece.data.decode(), piece.is_sent))

    def is_live(self, is_sent):
        return (">" if is_sent else "<") in self.live

    def said(self, text, is_sent, is_body=False):
        """Text, audio and shape of a message that may be JSON. What is byte for byte in some protocols is seen as it came."""
        try:
            value = json.loads(text)
        except ValueError:
            return text, None, None
        audio = []
        value = without_audio(value, audio)
        if self.is_live(is_sent):
            text = laid_out(outline(value)).replace(f"\"{AUDIO}\"", f"({len(audio[0])} bytes)" if audio else "")
            return text, None, (is_sent, text)
        if audio:
            return laid_out(value), audio[0], None
        return laid_out(value) if is_body or len(text) > WIDTH or "\n" in text else text, None, None

    def body(self, exchange, is_sent, kind, data):
        """A whole body."""
        kind = kind.lower()
        if not data:
            return
        if kind.startswith("multipart/"):
            parts = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(b"Content-Type: " + kind_of(data) + b"\r\n\r\n" + data)
            for part in parts.iter_parts():
                exchange.add(is_sent, f"  part {part['content-disposition']}" + (f", {part['content-type']}" if part["content-type"] else ""))
                self.body(exchange, is_sent, "" if part.get_filename() else "text/plain", part.get_payload(decode=True))
        elif "x-www-form-urlencoded" in kind:
            for name, value in parse_qsl(data.decode(), keep_blank_values=True):
                exchange.add(is_sent, f"  {name} = {token_of(value) if name == 'assertion' else value}")
        elif "event-stream" in kind or "ndjson" in kind:
            for line in data.decode().splitlines():
                if line:
                    head, text = line.split(": ", 1) if line.startswith("data: {") else ("", line)
                    exchange.add(is_sent, (f"{head}: " if head else "") + self.said(text, is_sent, True)[0])
        elif data[:4] != b"RIFF" and ("json" in kind or kind.startswith(("text/", "application/xml"))):
            exchange.add(is_sent, *self.said(data.decode(), is_sent, True)[:2])
        elif self.live:
            exchange.add(is_sent, "(" + re.sub(r"\d+ bytes, SHA.*", "what was said", summary(data)) + ")")
        else:
            exchange.add(is_sent, f"({AUDIO})", data)


def kind_of(multipart):
    return b'multipart/form-data; boundary="' + multipart[2:multipart.index(b"\r\n")] + b'"'


def token_of(text):
    """The claims of a JSON Web Token (RFC 7519)."""
    head, claims, _ = text.split(".")
    parts = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in (head, claims)]
    return " . ".join(json.dumps(part, sort_keys=True) for part in parts) + " . SIGNATURE"


def laid_out(value):
    short = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return short if len(short) <= WIDTH else json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2)


def without_audio(value, audio):
    if isinstance(value, dict):
        return {name: without_audio(each, audio) for name, each in value.items()}
    if isinstance(value, list):
        return [without_audio(each, audio) for each in value]
    if isinstance(value, str) and not audio and BASE64.fullmatch(value):
        audio.append(base64.b64decode(value))
        return AUDIO
    return value


# What tells messages of one kind apart, and so is shown as it is.
TELLING = {"type", "event", "is_final", "speech_final", "from_finalize", "encoding", "sampleRate", "channels", "tracks", "track", "protocol",
           "version", "is_over", "name"}


def outline(value, name=""):
    """A message with types in place of what is another in each call; of a list, the first."""
    if isinstance(value, dict):
        return {each: outline(member, each) for each, member in value.items()}
    if isinstance(value, list):
        return [outline(each, name) for each in value[:1]]
    if name in TELLING or isinstance(value, bool) or value is None or value == AUDIO:
        return value
    return "TEXT" if isinstance(value, str) else "NUMBER"


class HTTP1:
    """Requests and answers by turns, until one of them makes the connection a WebSocket."""

    def __init__(self, reader):
        self.reader, self.buffers, self.waiting = reader, {True: b"", False: b""}, []
        self.sockets = None
        self.is_upgrading = False

    def take(self, is_sent, data):
        self.buffers[is_sent] += data
        while self.sockets[is_sent]() if self.sockets else self.message(is_sent):
            pass

    def message(self, is_sent):
        data = self.buffers[is_sent]
        # What comes after the request of a WebSocket waits for the answer.
        if b"\r\n\r\n" not in data or is_sent and self.is_upgrading:
            return False
        head, rest = data.split(b"\r\n\r\n", 1)
        first, *headers = head.decode().split("\r\n")
        headers = [(name.strip().lower(), value.strip()) for name, value in (line.split(":", 1) for line in headers)]
        known = dict(headers)
        status = None if is_sent else int(first.split()[1])
        if not is_sent and not self.waiting[0].is_shown:
            # The answer to HEAD, which has none.
            body = b""
        elif known.get("transfer-encoding", "").lower() == "chunked":
            body, rest = unchunked(rest)
            if body is None:
                return False
        else:
            length = int(known.get("content-length", 0))
            if len(rest) < length:
                return False
            body, rest = rest[:length], rest[length:]
        self.buffers[is_sent] = rest
        if is_sent:
            self.waiting.append(self.reader.begin())
            self.is_upgrading = "upgrade" in known.get("connection", "").lower()
            self.waiting[-1].is_shown = not first.startswith("HEAD ")
        exchange = self.waiting[-1] if is_sent or status == 100 else self.waiting.pop(0)
        exchange.add(is_sent, first if is_sent else f"{status}")
        for name, value in headers:
            if name not in HIDDEN if is_sent else name in SHOWN_OF_ANSWERS:
                exchange.add(is_sent, f"  {name}: {value}")
        self.reader.body(exchange, is_sent, known.get("content-type", ""), body)
        if self.is_upgrading and not is_sent:
            self.is_upgrading = False
            if status == 101:
                exchange.is_shown = False
                self.sockets = {each: Frames(self, exchange, each).next for each in (True, False)}
                while self.sockets[True]():
                    pass
        return True


def unchunked(data):
    """(body, what follows it), or (None, data) when it is not whole."""
    file, body = io.BytesIO(data), b""
    while (line := file.readline()).endswith(b"\r\n"):
        length = int(line.split(b";")[0], 16)
        piece = file.read(length + 2)
        if len(piece) < length + 2:
            break
        if length == 0:
            return body, file.read()
        body += piece[:-2]
    return None, data


class Frames:
    """One direction of a WebSocket."""

    def __init__(self, http, exchange, is_sent):
        self.http, self.exchange, self.is_sent, self.parts, self.kind = http, exchange, is_sent, b"", None

    def next(self):
        data = self.http.buffers[self.is_sent]
        if len(data) < 2:
            return False
        length, at = data[1] & 127, 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[2:2 + size], "big"), 2 + size
        mask, at = (data[at:at + 4], at + 4) if data[1] & 0x80 else (b"", at)
        if len(data) < at + length:
            return False
        payload = data[at:at + length]
        self.http.buffers[self.is_sent] = data[at + length:]
        if mask:
            payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
        opcode = data[0] & 15
        if opcode < 8:
            self.kind, self.parts = opcode or self.kind, self.parts + payload
            if data[0] & 0x80:
                self.message(self.parts)
                self.parts = b""
        # Who closes first after all was said is a matter of luck.
        elif opcode == 8 and payload[:2] not in (b"", b"\x03\xe8"):
            self.exchange.add(self.is_sent, f"close {int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}".rstrip())
        return True

    def message(self, data):
        reader = self.http.reader
        self.exchange.is_shown = True
        if self.kind == 1:
            self.exchange.add(self.is_sent, *reader.said(data.decode(), self.is_sent))
        else:
            self.exchange.add(self.is_sent, f"({AUDIO})", data, (self.is_sent, "binary"))


class HTTP2:
    """Calls of gRPC."""

    def __init__(self, reader):
        self.reader, self.calls = reader, {}
        self.sides = {is_sent: {"buffer": b"", "headers": b"", "decoder": hpack.Decoder()} for is_sent in (True, False)}

    def take(self, is_sent, data):
        side = self.sides[is_sent]
        side["buffer"] += data
        if side["buffer"].startswith(b"PRI"):
            if len(side["buffer"]) < 24:
                return
            side["buffer"] = side["buffer"][24:]
        while len(side["buffer"]) >= 9:
            length = int.from_bytes(side["buffer"][:3], "big")
            kind, flags, stream = side["buffer"][3], side["buffer"][4], int.from_bytes(side["buffer"][5:9], "big") & 0x7FFFFFFF
            if len(side["buffer"]) < 9 + length:
                return
            payload, side["buffer"] = side["buffer"][9:9 + length], side["buffer"][9 + length:]
            if kind in (0, 1) and flags & 8:
                payload = payload[1:len(payload) - payload[0]]
            if kind == 1 and flags & 32:
                payload = payload[5:]
            self.frame(is_sent, kind, flags, stream, payload)

    def frame(self, is_sent, kind, flags, stream, payload):
        side = self.sides[is_sent]
        if kind in (1, 9):
            side["headers"] += payload
            if flags & 4:
                self.headers(is_sent, stream, side["decoder"].decode(side["headers"]))
                side["headers"] = b""
        elif kind == 0 and stream in self.calls:
            call = self.calls[stream]
            call[is_sent] += payload
            while len(call[is_sent]) >= 5 and len(call[is_sent]) >= 5 + (length := int.from_bytes(call[is_sent][1:5], "big")):
                message, call[is_sent] = call[is_sent][5:5 + length], call[is_sent][5 + length:]
                text, audio = self.reader.messages.decoded(call["path"], is_sent, message)
                shape = (is_sent, re.sub(r": .*", "", text)) if self.reader.live else None
                if self.reader.is_live(is_sent):
                    text = re.sub(r": (.).*", lambda found: ": TEXT" if found.group(1) == '"' else ": VALUE", text)
                call["exchange"].add(is_sent, text, audio, shape)
            if is_sent and flags & 1:
                call["exchange"].add(True, "end of the client's messages")

    def headers(self, is_sent, stream, headers):
        if stream not in self.calls:
            self.calls[stream] = {"exchange": self.reader.begin(), "path": dict(headers)[":path"], True: b"", False: b""}
        # A client that has the last message needs no status, and may be gone before it.
        if not is_sent and dict(headers).get("grpc-status") == "0":
            return
        for name, value in headers:
            if name not in HIDDEN if is_sent else name in SHOWN_OF_ANSWERS:
                self.calls[stream]["exchange"].add(is_sent, f"  {name}: {value}")


class Messages:
    """Messages of services in .proto files, by `protoc --decode`."""

    def __init__(self, protos):
        self.types, self._known = {}, {}
        for proto in map(pathlib.Path, protos):
            text = proto.read_text()
            package, service = (re.search(rf"^{word} ([\w.]+)", text, re.M).group(1) for word in ("package", "service"))
            for name, sent, received in re.findall(r"rpc (\w+)\((?:stream )?(\w+)\) returns \((?:stream )?(\w+)\)", text):
                self.types[f"/{package}.{service}/{name}"] = (proto, {True: f"{package}.{sent}", False: f"{package}.{received}"})

    def decoded(self, path, is_sent, data):
        """A message as (text, its audio); the text of protobuf, with what is no text as a length and a hash."""
        if (path, is_sent, data) not in self._known:
            proto, names = self.types[path]
            said = subprocess.run(["protoc", f"--decode={names[is_sent]}", f"-I{proto.parent}", proto.name], input=data, capture_output=True,
                                  check=True).stdout.decode()
            audio = []

            def value(found):
                raw = found.group(1).encode().decode("unicode_escape").encode("latin-1")
                try:
                    text = raw.decode()
                    if text.replace("\n", "").isprintable():
                        return json.dumps(text, ensure_ascii=False)
                except UnicodeDecodeError:
                    pass
                audio.append(raw)
                return AUDIO
            text = re.sub(r'"((?:[^"\\]|\\.)*)"', value, said).rstrip("\n") or "(an empty message)"
            self._known[path, is_sent, data] = text, audio[0] if audio else None
        return self._known[path, is_sent, data]

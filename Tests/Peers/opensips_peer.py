"""A strict OpenSIPS with its back-to-back module, as far as a connector sees it: MI over UDP, events, and callers with RTP.

Written from captures of OpenSIPS 3.6.8 and independent of the plugin. What the real one refuses is refused here in the same
words; what it does silently is done silently; what it would break (headers without a body go out as uninitialised memory,
a content type that is no header line) is noted in `faults`, which a test expects to be empty. Texts are Latin-1 inside, that
is bytes, because OpenSIPS passes what is above 0x7f as it came.

    with OpenSIPS() as peer:
        call = peer.call("desk")              # INVITE
        call.wait_for("INVITE", 200)          # what the connector answered
        call.say(samples); call.heard()       # RTP, PCMU
        call.bye()
"""

import array
import contextlib
import itertools
import json
import queue
import random
import socket
import threading
import time

SDP = ("v=0\r\no=sipp 53655765 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {types}\r\n"
       "a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na={direction}\r\n")

# The sets of parameters that the commands have, in 3.6. Each optional set stands beside the necessary names.
BODIES = [(), ("body",), ("extra_headers",), ("body", "content_type"), ("body", "extra_headers"), ("body", "content_type", "extra_headers")]
START = [()] + [tuple(chosen) for count in range(1, 7)
                for chosen in itertools.combinations(("proxy", "body", "content_type", "extra_headers", "flags", "socket"), count)
                if ("content_type" not in chosen or "body" in chosen)
                # A set that was forgotten in OpenSIPS.
                and chosen != ("proxy", "body", "flags", "socket")]
COMMANDS = {
    "ua_session_reply": (("key", "method", "code", "reason"), BODIES),
    "ua_session_update": (("key", "method"), BODIES),
    "ua_session_terminate": (("key",), [(), ("extra_headers",)]),
    "ua_session_client_start": (("ruri", "to", "from"), START),
    "ua_session_list": ((), [(), ("key",)]),
    "event_subscribe": (("event", "socket"), [(), ("expire",)]),
    "uptime": ((), [()]),
}


class Refused(Exception):
    def __init__(self, code, message, data=None):
        super().__init__(code, message, data)


class Entity:
    """A session, and the person at its other end."""

    NEW, EARLY, CONFIRMED, ESTABLISHED = 1, 3, 4, 5

    def __init__(self, peer, key, inbound, flags, types="0 8 101", name="alice"):
        self.peer, self.key, self.inbound, self.flags, self.types, self.name = peer, key, inbound, flags, types, name
        self.state = self.NEW
        self.open = set()  # methods of the person's that wait for an answer
        self.cseq, self.version = itertools.count(1), itertools.count(1)
        self.replies, self.requests, self.told = queue.Queue(), queue.Queue(), []
        self.ended_by_us = threading.Event()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.far = None
        self._heard, self._times, self._microphone = bytearray(), [], queue.Queue()
        self._stopped = threading.Event()
        self._talker = None

    # What the person does

    def request(self, method, body="", kind="UPDATED", extra="", content_type=None):
        if method in ("INFO", "UPDATE", "OPTIONS", "NOTIFY", "INVITE", "MESSAGE") and kind == "UPDATED":
            assert not self.open, f"OpenSIPS answers {method} by itself with 500 Overlapping Requests: {self.open} is open"
            self.open.add(method)
        self.peer.raise_event(self, kind, method, body, extra=extra, content_type=content_type)

    def sdp(self, direction="sendrecv"):
        return SDP.format(version=next(self.version), port=self.port, types=self.types, direction=direction)

    def ack(self):
        self.state = self.ESTABLISHED
        if "a" in self.flags:
            self.peer.raise_event(self, "UPDATED", "ACK")

    def bye(self):
        """OpenSIPS answers it, raises the event, and forgets the session at once."""
        self.request("BYE", kind="TERMINATED")
        self.peer.forget(self)

    def cancel(self):
        """OpenSIPS answers CANCEL, and leaves the INVITE open."""
        self.request("CANCEL", kind="TERMINATED")

    def reinvite(self, direction="sendrecv", method="INVITE"):
        self.request(method, self.sdp(direction), content_type="application/sdp")
        answer = self.wait_for(method, 200)
        if method == "INVITE":
            self.ack()
        return answer["body"]

    def press(self, digit):
        self.request("INFO", f"Signal={digit}\r\nDuration=160\r\n", content_type="application/dtmf-relay")
        self.wait_for("INFO", 200)

    def notify(self, line, state):
        self.request("NOTIFY", line + "\r\n", extra=f"Event: refer\r\nSubscription-State: {state}\r\n",
                     content_type="message/sipfrag;version=2.0")
        self.wait_for("NOTIFY", 200)

    def answer_request(self, method, status, reason, body="", content_type=None):
        """Answers a request of the connector's: EARLY, ANSWERED or REJECTED."""
        kind = "EARLY" if status < 200 else "ANSWERED" if status < 300 else "REJECTED"
        self.peer.raise_event(self, kind, method, body, status=status, reason=reason, content_type=content_type)

    def wait_for(self, method, code=None, seconds=10):
        """The connector's next answer, which must be to this method."""
        try:
            reply = self.replies.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"{method} was not answered within {seconds} s; commands: {self.peer.commands[-8:]}")
        assert reply["method"] == method and code in (None, reply["code"]), f"awaited {code} to {method}, got {reply}"
        return reply

    def wait_for_request(self, method, seconds=10):
        try:
            request = self.requests.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"the connector did not send {method} within {seconds} s; commands: {self.peer.commands[-8:]}")
        assert request["method"] == method, f"awaited {method}, got {request}"
        return request

    # RTP

    def connect(self, sdp):
        """Talks to where a description says: silence until `say`."""
        host = next(line for line in sdp.split("\r\n") if line.startswith("c=")).split()[-1]
        media = next(line for line in sdp.split("\r\n") if line.startswith("m=audio"))
        self.far = (host, int(media.split()[1]))
        if self._talker is None:
            self._talker = threading.Thread(target=self._talk, daemon=True)
            self._talker.start()
            threading.Thread(target=self._listen, daemon=True).start()

    def say(self, coded):
        """µ-law, as it goes on the wire."""
        for at in range(0, len(coded) - 159, 160):
            self._microphone.put(bytes(coded[at:at + 160]))

    def heard(self):
        """What came, as samples of 16 bit."""
        return array.array("h", (LINEAR[byte] for byte in bytes(self._heard)))

    def heard_bytes(self):
        return len(self._heard)

    def _talk(self):
        source = random.Random(self.port)
        number, stamp, ssrc = source.randrange(65536), source.randrange(2**32), source.randrange(2**32)
        due = time.monotonic()
        while not self._stopped.is_set():
            payload = self._microphone.get() if not self._microphone.empty() else b"\xff" * 160
            header = bytes([0x80, 0]) + number.to_bytes(2, "big") + stamp.to_bytes(4, "big") + ssrc.to_bytes(4, "big")
            with contextlib.suppress(OSError):
                self.socket.sendto(header + payload, self.far)
            number, stamp = (number + 1) % 65536, (stamp + 160) % 2**32
            due += 0.02
            time.sleep(max(0, due - time.monotonic()))

    def _listen(self):
        self.socket.settimeout(0.2)
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):
                packet = self.socket.recv(2048)
                if len(packet) > 12 and packet[1] & 0x7F == 0:
                    self._heard += packet[12:]

    def hang(self):
        self._stopped.set()
        if self._talker:
            self._talker.join(1)
        time.sleep(0)
        self.socket.close()


class OpenSIPS:
    """Runs from `with` or `start` to `stop`; `restart` forgets everything, as the real one does."""

    def __init__(self, flags="drbh", workers=3, port=None):
        self.flags, self.worker_count = flags, workers
        self.port = port or self._free()
        self.subscribers, self.entities, self.every = {}, {}, []
        # What came: (command, parameters); what the real one would have made a mess of.
        self.commands, self.faults = [], []
        # How many of these to lose.
        self.lose_commands = self.lose_answers = self.lose_events = 0
        self._keys = itertools.count(1)
        self._lock = threading.RLock()
        self._news = threading.Condition(self._lock)
        self.running = False
        self.outbound = queue.Queue()

    @staticmethod
    def _free():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def __enter__(self):
        return self.start()

    def __exit__(self, *failure):
        self.stop()
        for entity in self.every:
            entity.hang()

    def start(self):
        self.management = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.management.bind(("127.0.0.1", self.port))
        self.workers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(self.worker_count)]
        self._turn = itertools.cycle(self.workers)
        self.running = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def stop(self):
        if not self.running:
            return
        self.running = False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bell:
            bell.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(2)
        for each in [self.management, *self.workers]:
            each.close()
        self.subscribers, self.entities = {}, {}

    def restart(self):
        self.stop()
        self.start()

    # For tests

    def wait_for_subscription(self, seconds=10):
        with self._news:
            if not self._news.wait_for(lambda: self._live(), seconds):
                raise AssertionError(f"nobody subscribed within {seconds} s; commands: {self.commands[-8:]}")

    def call(self, user="desk", headers="", body=None, types="0 8 101", display='"Caller" ', cancel=None):
        """INVITE. `headers` are raw lines; `body` replaces the description; `cancel`: CANCEL comes "after" it at once, or its
        event "before", because another worker was faster."""
        entity = Entity(self, self._key(), True, self.flags, types)
        entity.user, entity.display, entity.extra = user, display, headers
        with self._lock:
            self.entities[entity.key] = entity
            self.every.append(entity)
        entity.open.add("INVITE")
        with self._lock:
            if cancel == "before":
                entity.cancel()
            self.raise_event(entity, "NEW", "INVITE", entity.sdp() if body is None else body, extra=headers,
                             content_type="application/sdp")
            if cancel == "after":
                entity.cancel()
        return entity

    def answered(self, *arguments, **named):
        """A call that is up, with RTP."""
        call = self.call(*arguments, **named)
        reply = call.wait_for("INVITE")
        if reply["code"] == 180:
            reply = call.wait_for("INVITE")
        assert reply["code"] == 200, reply
        call.ack()
        call.connect(reply["body"])
        return call

    def forget(self, entity):
        with self._lock:
            self.entities.pop(entity.key, None)

    def send_raw(self, data):
        """Whatever, to all subscribers, from the next worker."""
        with self._lock:
            for address in self._live():
                next(self._turn).sendto(data, address)

    # Events

    def _key(self):
        return f"B2B.{next(self._keys)}.{random.randrange(500)}.{int(time.time())}.{random.randrange(2**31)}"

    def _live(self):
        now = time.monotonic()
        return [address for address, until in self.subscribers.items() if until > now]

    def raise_event(self, entity, kind, method, body="", status=0, reason=None, extra="", content_type=None):
        tag = "" if kind == "NEW" else f";tag={entity.key}"
        user, display = getattr(entity, "user", "desk"), getattr(entity, "display", "")
        headers = (f"Via: SIP/2.0/UDP 127.0.0.1:15070;branch=z9hG4bK-{random.randrange(2**31)}\r\n"
                   f"From: {display}<sip:{entity.name}@127.0.0.1:15070>;tag=T1\r\nTo: <sip:{user}@127.0.0.1:15060>{tag}\r\n"
                   f"Call-ID: {entity.port}@127.0.0.1\r\nCSeq: {next(entity.cseq)} {method}\r\n"
                   f"Contact: <sip:{entity.name}@127.0.0.1:15070;transport=UDP>\r\nMax-Forwards: 70\r\n{extra}"
                   + (f"Content-Type: {content_type}\r\n" if content_type else "") + f"Content-Length: {len(body):5}\r\n")
        params = {
            "key": entity.key, "event_type": kind, "entity_type": "UAS" if entity.inbound else "UAC", "status": status,
            "reason": reason, "method": method, "body": body if "b" in entity.flags else None,
            "headers": headers if "h" in entity.flags else None, "extra_params": None}
        text = json.dumps({"jsonrpc": "2.0", "method": "E_UA_SESSION", "params": params}, separators=(",", ":"), ensure_ascii=False)
        with self._lock:
            if self.lose_events:
                self.lose_events -= 1
                return
            self.send_raw(text.encode("latin-1"))

    # Management interface

    def _serve(self):
        while self.running:
            with contextlib.suppress(OSError):
                data, address = self.management.recvfrom(65457)
                if not data or not self.running:
                    continue
                with self._lock:
                    if self.lose_commands:
                        self.lose_commands -= 1
                        continue
                    answer = self._answer(data, address)
                    if answer is None:
                        continue
                    if self.lose_answers:
                        self.lose_answers -= 1
                        continue
                    self.management.sendto(answer, address)

    def _answer(self, data, address):
        try:
            # Garbage behind the document is ignored.
            request, _ = json.JSONDecoder().raw_decode(data.decode("latin-1"))
        except ValueError:
            return b"400 Parse_error"
        number = request.get("id") if isinstance(request, dict) else None
        if isinstance(number, (dict, list)):
            return b"500 Internal error"
        try:
            if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
                raise Refused(-32600, "Invalid Request")
            result = {"result": self._execute(request["method"], request.get("params", {}), address)}
        except Refused as refused:
            code, message, more = refused.args
            result = {"error": {"code": code, "message": message, **({"data": more} if more else {})}}
        with self._news:
            self._news.notify_all()
        if "id" not in request:
            return None
        return json.dumps({"jsonrpc": "2.0", **result, "id": number}, separators=(",", ":")).encode("latin-1")

    def _execute(self, method, params, address):
        if method not in COMMANDS:
            raise Refused(-32601, "Method not found")
        needed, optional = COMMANDS[method]
        if isinstance(params, list):
            if method != "event_subscribe":
                raise Refused(-32602, "Invalid params", "Ambiguous call, use named parameters instead")
            params = dict(zip(("event", "socket", "expire"), params))
        for name, value in params.items():
            if value is None or isinstance(value, (dict, list, bool, float)):
                raise Refused(-32602, "Invalid params", f"Bad type for parameter '{name}'")
        if not any(set(needed + more) == set(params) for more in optional):
            wrong = not set(params) <= set(needed).union(*optional) or set(needed) <= set(params)
            raise Refused(-32602, "Invalid params", "Named parameters do not match" if wrong else "Too few or too many parameters")
        self.commands.append((method, params))
        if "extra_headers" in params and "body" not in params:
            self.faults.append(f"{method}: extra_headers without body put uninitialised memory on the wire")
        for name in ("extra_headers", "content_type"):
            text = params.get(name, "\r\n")
            if not text.endswith("\r\n") or (text != "\r\n" and ":" not in text):
                self.faults.append(f"{method}: {name} is no header line with its end: {text!r}")
        return getattr(self, method)(**{"from_" if name == "from" else name: value for name, value in params.items()})

    def uptime(self):
        return {"Up time": "1 [sec]"}

    def event_subscribe(self, event, socket, expire=3600):
        parts = socket.split(":")
        if event != "E_UA_SESSION" or len(parts) != 3 or parts[0] != "udp" or not parts[2].isdigit():
            raise Refused(400, "Bad parameter value")
        if int(expire) < 0:
            raise Refused(-32602, "Invalid params", "Negative expire value")
        self.subscribers[(parts[1], int(parts[2]))] = time.monotonic() + int(expire)
        return "OK"

    def ua_session_reply(self, key, method, code, reason, body=None, extra_headers=None, content_type=None):
        if not isinstance(code, int):
            if not str(code).isdigit():
                raise Refused(-32602, "Invalid params", "Bad type for parameter 'code'")
            code = int(code)
        entity = self.entities.get(key)
        if entity is None or method not in entity.open:
            raise Refused(500, "Failed to send reply")
        if code >= 200:
            entity.open.discard(method)
            if method == "INVITE":
                if code < 300:
                    entity.state = Entity.CONFIRMED
                elif entity.state < Entity.CONFIRMED:
                    self.forget(entity)
        else:
            entity.state = Entity.EARLY
        entity.replies.put(dict(method=method, code=code, reason=reason, body=body, headers=extra_headers or ""))
        return "OK"

    def ua_session_update(self, key, method, body=None, extra_headers=None, content_type=None):
        entity = self.entities.get(key)
        if entity is None or (entity.state < Entity.CONFIRMED and method not in ("UPDATE", "PRACK", "INVITE")):
            raise Refused(500, "Failed to send sequential request")
        entity.requests.put(dict(method=method, body=body, headers=extra_headers or "", content_type=content_type))
        return "OK"

    def ua_session_terminate(self, key, extra_headers=None):
        entity = self.entities.pop(key, None)
        if entity is None:
            raise Refused(500, "Failed to terminate session")
        entity.ended_by_us.set()
        return "OK"

    def ua_session_client_start(self, ruri, to, from_, flags="", socket=None, **more):
        if socket is None:
            raise Refused(500, "Failed to start session")
        entity = Entity(self, self._key(), False, flags, name="bob")
        entity.dialed, entity.offer, entity.headers = ruri, more.get("body"), more.get("extra_headers", "")
        self.entities[entity.key] = entity
        self.every.append(entity)
        self.outbound.put(entity)
        return entity.key

    def ua_session_list(self, key=None):
        def shown(entity):
            return {"logic_key": "", "mod_name": "b2b_entities", "state": entity.state, "callid": entity.key}
        if key is None:
            return [shown(entity) for entity in self.entities.values()]
        if not key.startswith("B2B.") or key.count(".") != 4:
            raise Refused(400, "Bad format for b2b key")
        if key not in self.entities:
            raise Refused(404, "Entity not found")
        return shown(self.entities[key])


def _linear(byte):
    """G.711 (ITU-T G.711, table 2a)."""
    byte = ~byte & 0xFF
    magnitude = ((byte & 15) << 3) + 132 << (byte >> 4 & 7)
    return 132 - magnitude if byte & 0x80 else magnitude - 132


LINEAR = [_linear(byte) for byte in range(256)]

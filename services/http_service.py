"""The HTTP door that the recogniser and the voice share: the standard library's server, with bounds.

Why the standard library: the door carries one small request for each turn of a call, so a framework would add a
dependency tree and no speed. What the library leaves open is closed here: how many connections and how much
work may wait (a refusal that comes at once is worth more to a call than an answer that comes late), how large a
body may be, Nagle's delay, and a health answer that tells "still loading" from "ready".
"""

import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# One connection for each call that a machine of this size can carry, several times over.
MAX_CONNECTIONS = 64
# An idle keep-alive connection is closed after this long; a host's pool reconnects in a millisecond.
IDLE_TIMEOUT_SECONDS = 120.0
# How long a stopping service lets the work in hand run to its end.
DRAIN_SECONDS = 3.0
# Of a refused upload, this much is taken and thrown away, so that the refusal arrives.
MAX_DISCARDED = 64 << 20


class Refusal(Exception):
    """An answer that is an error: its status, its code for programs, and a message that says what to do."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, headers


class ClientGone(Exception):
    """The client closed its connection, so nobody waits for the answer."""


class Gate:
    """Admits `workers` requests at once, lets `queue` more wait, and refuses the rest."""

    def __init__(self, workers, queue):
        self.workers, self.capacity = workers, workers + queue
        self.waiting_or_working = 0
        self.count_lock = threading.Lock()
        self.turn = threading.Semaphore(workers)

    def enter(self, is_gone):
        """Waits for a turn and returns the milliseconds waited; `is_gone` is asked while waiting and once after."""
        with self.count_lock:
            if self.waiting_or_working >= self.capacity:
                raise Refusal(
                    503, "busy", f"{self.capacity} requests are being served or wait already; try again in a second, "
                    "use another provider, or raise WORKERS or QUEUE of this service", [("Retry-After", "1")])
            self.waiting_or_working += 1
        began = time.monotonic()
        while not self.turn.acquire(timeout=0.05):
            if is_gone():
                self._forget()
                raise ClientGone()
        if is_gone():
            self.leave()
            raise ClientGone()
        return (time.monotonic() - began) * 1000

    def leave(self):
        self.turn.release()
        self._forget()

    def _forget(self):
        with self.count_lock:
            self.waiting_or_working -= 1


class Service:
    """What a door serves: a name, a model that loads once, and the routes. Subclassed by each service."""

    name = "service"

    def __init__(self, workers, queue):
        self.gate = Gate(workers, queue)
        self.ready = False

    def load(self):
        """Loads the model; runs once, after the port is open."""
        raise NotImplementedError

    def describe(self):
        """What `GET /health` adds to `"status":"ok"` once the model is loaded."""
        raise NotImplementedError

    def routes(self):
        """`{(method, path): function(request)}`."""
        raise NotImplementedError


class Request(BaseHTTPRequestHandler):
    """One connection. The routes of the service read from it and answer through it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_TIMEOUT_SECONDS
    wbufsize = -1  # Headers and body leave in one segment; a stream flushes when it has something.

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_PATCH = do_POST

    def _serve(self):
        began = time.monotonic()
        self.status, self.note, self.body_read, self.streaming = 0, "", False, False
        # What the client may still be sending. A body without a good length is never read, and what comes of it must
        # not be taken for the next request.
        has_body = self.headers["Content-Length"] is not None or self.headers["Transfer-Encoding"] is not None
        self.unread = int(self.headers["Content-Length"]) if self._has_length() else MAX_DISCARDED * has_body
        try:
            self._route()
        except Refusal as refusal:
            self._refuse(refusal)
        except (ClientGone, ConnectionError, TimeoutError):
            self.status, self.note = 499, "client gone"
            self.close_connection = True
        except Exception:  # The door outlives a fault of one request.
            traceback.print_exc()
            self._refuse(Refusal(500, "internal", "this request hit a fault of the service; its log has the trace"))
        if self.path.partition("?")[0] != "/health":
            took = (time.monotonic() - began) * 1000
            log(f"{self.command} {self.path.partition('?')[0]} {self.status} {took:.0f} ms {self.note}".rstrip())

    def _route(self):
        service, path = self.server.service, self.path.partition("?")[0]
        if (self.command, path) == ("GET", "/health"):
            return self.answer_health()
        routes = service.routes()
        if (self.command, path) not in routes:
            methods = [method for method, known in routes if known == path]
            if methods:
                raise Refusal(405, "method_not_allowed", f"{path} takes {methods[0]}, not {self.command}",
                              [("Allow", ", ".join(methods))])
            known = ", ".join(sorted(f"{method} {known}" for method, known in routes))
            raise Refusal(404, "not_found", f"there is no {path} here; this service has GET /health, {known}")
        if not service.ready:
            raise Refusal(503, "loading", f"{service.name} is loading its model; ask again when GET /health is 200",
                          [("Retry-After", "1")])
        routes[self.command, path](self)

    def answer_health(self):
        service = self.server.service
        if not service.ready:
            raise Refusal(503, "loading", f"{service.name} is loading its model", [("Retry-After", "1")])
        self.answer_json({"status": "ok", **service.describe()})

    def _has_length(self):
        return (self.headers["Content-Length"] or "").isascii() and (self.headers["Content-Length"] or "").isdigit()

    def read_body(self, limit):
        """The whole body; refuses one without a length or longer than `limit` bytes, before it is received."""
        if self.headers["Content-Length"] is None or self.headers["Transfer-Encoding"] is not None:
            raise Refusal(411, "length_required", "send the body with a Content-Length; chunked uploads are not taken")
        if not self._has_length():
            raise Refusal(400, "bad_request", f"Content-Length is '{self.headers['Content-Length']}', not a number")
        if self.unread > limit:
            raise Refusal(413, "body_too_large", f"the body has {self.unread} bytes and the limit is {limit}; "
                          "send a shorter piece")
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        body = self.rfile.read(self.unread)
        if len(body) < self.unread:
            raise ClientGone()
        self.unread = 0
        return body

    def handle_expect_100(self):
        return True  # `read_body` invites the body once its length is known to be fine.

    def is_gone(self):
        """Whether the client has closed its side; bytes of a next request do not count."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN | select.POLLHUP)
        if not poll.poll(0):
            return False
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def answer_json(self, value, status=200, headers=()):
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        self.answer(body, "application/json", status, headers)

    def answer(self, body, content_type, status=200, headers=()):
        self.status = status
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def begin_stream(self, content_type, headers=()):
        """Starts an answer of unknown length; `send_piece` and `end_stream` follow."""
        self.status, self.streaming = 200, True
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def send_piece(self, piece):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.flush()

    def end_stream(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _refuse(self, refusal):
        self.note = f"{refusal.code}: {refusal}"
        if self.streaming:  # Too late for a status: an end without the closing chunk tells the client.
            self.close_connection = True
            return
        self.close_connection = self.close_connection or self.unread > 0
        try:
            self.answer_json({"error": {"code": refusal.code, "message": str(refusal)}}, refusal.status,
                             refusal.headers)
            if self.unread:
                self._discard_upload()
        except OSError:
            self.close_connection = True

    def _discard_upload(self):
        """Closing while the client still sends would reset the connection and destroy the answer on its way."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(1.0)
        left = min(self.unread, MAX_DISCARDED)
        while left > 0 and (piece := self.connection.recv(1 << 16)):
            left -= len(piece)

    def version_string(self):
        return f"vchost-{self.server.service.name}"

    def log_message(self, format, *arguments):
        pass  # `_serve` writes one line for each request.


class Door(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, service):
        self.service = service
        self.connections = threading.Semaphore(MAX_CONNECTIONS)
        super().__init__(address, Request)

    def process_request(self, request, client_address):
        if not self.connections.acquire(blocking=False):
            body = b'{"error":{"code":"busy","message":"too many open connections; reuse them, or try again"}}'
            try:
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
                                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            except OSError:
                pass
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


def serve(service, host, port):
    """Opens the port, loads the model, serves until SIGTERM or SIGINT, and returns the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        door = Door((host, port), service)
    except OSError as error:
        log(f"cannot listen on {host}:{port}: {error.strerror}; stop what holds the port, or set another one")
        return 1
    threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    log(f"{service.name} listens on http://{host}:{door.server_address[1]} and loads its model")
    began = time.monotonic()
    loader = threading.Thread(target=_load, args=(service, stop), daemon=True)
    loader.start()
    while not stop.is_set() and not service.ready:
        stop.wait(0.02)
    if service.ready:
        log(f"{service.name} is ready after {time.monotonic() - began:.1f} s: {json.dumps(service.describe())}")
        stop.wait()
    door.shutdown()
    deadline = time.monotonic() + DRAIN_SECONDS
    while service.gate.waiting_or_working and time.monotonic() < deadline:
        time.sleep(0.02)
    failed = getattr(service, "failure", None)
    log(f"{service.name} stops" + (f": {failed}" if failed else ""))
    # Not `sys.exit`: a model's own threads may still run, and tearing them down under the interpreter's feet crashes.
    sys.stderr.flush()
    os._exit(1 if failed else 0)


def _load(service, stop):
    try:
        service.load()
        service.ready = True
    except Exception as error:
        service.failure = f"the model cannot be loaded ({error}); run services/setup"
        stop.set()


def log(message):
    stamp = time.strftime("%H:%M:%S")
    sys.stderr.write(f"{stamp} {message}\n")
    sys.stderr.flush()


def setting(name, default, low, high):
    """A whole number from the environment within its bounds, or a sentence and exit 2."""
    text = os.environ.get(name, "")
    try:
        value = int(text) if text else default
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        log(f"{name} is '{text}'; it must be a whole number from {low} to {high}")
        sys.exit(2)
    return value

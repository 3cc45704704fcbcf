"""Twilio, as far as a voice application sees it: webhooks, TwiML, Media Streams and the REST API for calls.

It is written from Twilio's documentation and shares no code with the plugin. It is strict where Twilio is: TwiML that it
does not know ends the call with "application error", a message of a stream that is not exactly as documented is a
violation (Twilio's warning 31951), a REST request without credentials gets 401.

    with Twilio(account, token, public="https://bot.example.com", local="http://127.0.0.1:8080") as twilio:
        call = twilio.call("+15551230001", "+15551230002")
        call.stream.say(mu_law_bytes)

`public` is what is signed, `local` is where the requests go: the proxy between the two is nobody's affair here. The
carrier's buffer is played on a clock of its own, 20 ms at a time; marks come back when it reaches them, and at once
after `clear`.
"""

import base64
import http.client
import json
import threading
import xml.etree.ElementTree
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from twilio_stream import Refused, Stream, sid, signature


class Call:
    """A call of the account. `document` has the TwiML that runs, as (verb, attributes) with what was in it."""

    def __init__(self, twilio, sender, to, direction, **faults):
        self.twilio, self.sid = twilio, sid("CA")
        self.sender, self.to, self.direction = sender, to, direction
        self.faults = faults
        self.status = "ringing" if direction == "inbound" else "queued"
        self.stream = self.error = self.dialled = self.status_callback = None
        self.is_connected, self.is_over = threading.Event(), threading.Event()
        self.statuses = 0
        self._lock = threading.Lock()

    def fields(self, **more):
        return [("AccountSid", self.twilio.account), ("ApiVersion", "2010-04-01"), ("CallSid", self.sid),
                ("CallStatus", self.status), ("Called", self.to), ("Caller", self.sender), ("Direction", self.direction),
                ("From", self.sender), ("FromCity", "MÜNCHEN"), ("StirVerstat", "TN-Validation-Passed-A"),
                ("To", self.to), *more.items()]

    def execute(self, document):
        """Runs a document, on a thread of its own."""
        threading.Thread(target=self._execute, args=(document,), daemon=True).start()

    def _execute(self, document):
        try:
            root = xml.etree.ElementTree.fromstring(document)
            assert root.tag == "Response", root.tag
        except (xml.etree.ElementTree.ParseError, AssertionError) as error:
            return self.fail(f"12100: no TwiML: {error}")
        for verb in root:
            if verb.tag == "Reject":
                assert verb.attrib["reason"] in ("busy", "rejected")
                return self.over("busy" if verb.attrib["reason"] == "busy" else "no-answer")
            if self.status != "in-progress":
                self.status = "in-progress"
                self.tell_status()
            if verb.tag == "Hangup":
                return self.over("completed")
            if verb.tag == "Dial":
                self.dialled = [(each.tag, each.text) for each in verb], verb.attrib
                return None
            if verb.tag != "Connect" or [each.tag for each in verb] != ["Stream"]:
                return self.fail(f"12200: {verb.tag} is not known here")
            if self._connect(verb[0]) == "replaced":
                return None
        return self.over("completed")

    def _connect(self, stream):
        assert not stream.attrib.keys() - {"url", "name", "statusCallback", "statusCallbackMethod", "track"}, stream.attrib
        parameters = {each.attrib["name"]: each.attrib["value"] for each in stream if each.tag == "Parameter"}
        self.stream_url, self.parameters = stream.attrib["url"], parameters
        parameters = dict(parameters, **self.faults.get("parameters", {}))
        try:
            current = Stream(self, stream.attrib["url"], parameters)
        except Refused as refused:
            self.error = f"31920: {refused}"
            self.is_connected.set()
            self.twilio.post(stream.attrib["statusCallback"], [
                ("AccountSid", self.twilio.account), ("CallSid", self.sid), ("StreamSid", sid("MZ")),
                ("StreamEvent", "stream-error"), ("StreamError", self.error)])
            return "refused"
        self.stream = current
        self.is_connected.set()
        current.run()
        return "over" if self.stream is current else "replaced"

    def replace(self, document):
        """The REST API gave the call another document: the stream ends, and that one runs."""
        with self._lock:
            current, self.stream = self.stream, None
        self.ended_stream = current
        if current:
            current.stop()
        self.execute(document)

    def hang_up(self):
        """The caller does."""
        if self.stream:
            self.stream.stop()
        self.over("completed")

    def fail(self, error):
        self.error = error
        self.over("failed")

    def over(self, status):
        with self._lock:
            if self.is_over.is_set():
                return
            self.status = status
            self.is_over.set()
        if self.stream and not self.stream._over.is_set():
            self.stream.stop()
        self.tell_status()

    def tell_status(self, **more):
        if not self.status_callback:
            return
        fields = self.fields(CallbackSource="call-progress-events", SequenceNumber=str(self.statuses), **more)
        self.statuses += 1
        self.twilio.post(self.status_callback, fields)


class Twilio:
    def __init__(self, account, token, public, local, algorithm="sha1", signing_key=None):
        self.account, self.token, self.public, self.local = account, token, public.rstrip("/"), local
        self.algorithm, self.signing_key = algorithm, signing_key
        self.calls, self.requests, self.refusals = {}, [], []
        self.rest_faults = []  # (status, code) of the next answers
        self.early_statuses = []  # told of the next calls before the REST API has answered who they are
        self._rest = ThreadingHTTPServer(("127.0.0.1", 0), type("API", (API,), {"twilio": self}))
        self._rest.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._rest.server_port}"

    def __enter__(self):
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        for call in list(self.calls.values()):
            # The host may be gone already, and nobody waits for this.
            call.status_callback = None
            call.over("completed")
        self._rest.shutdown()
        self._rest.server_close()

    def post(self, url, fields, method="POST", sign=None, token=None, headers=None):
        """A webhook: (status, content type, body)."""
        parts = urlsplit(url)
        assert url.startswith(self.public), f"{url} is not at {self.public}"
        local = urlsplit(self.local)
        connection = http.client.HTTPConnection(local.hostname, local.port, timeout=15)
        form = urlencode(fields)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        signed = sign or url
        if method == "GET":
            path, signed, form = f"{path}?{form}", f"{signed}?{form}", ""
        sent = {"Host": parts.netloc, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
                "X-Twilio-Signature": signature(token or self.signing_key and self.signing_key[1] or self.token, signed,
                                                fields if method == "POST" else (), self.algorithm)}
        if self.signing_key:
            sent["X-Twilio-Webhooks-Signature-Settings"] = f"key={self.signing_key[0]},algorithm=HMAC_SHA256"
        sent.update(headers or {})
        connection.request(method, path, form, {name: value for name, value in sent.items() if value is not None})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.getheader("Content-Type", ""), body

    def call(self, sender, to, voice="/twilio/voice", status="/twilio/status", **faults):
        """Somebody calls a number of the account. Returns when the webhook was answered, and its document runs."""
        call = Call(self, sender, to, "inbound", **faults)
        self.calls[call.sid] = call
        call.status_callback = self.public + status
        code, kind, body = self.post(self.public + voice, call.fields())
        call.webhook = code
        if code != 200 or not kind.startswith(("text/xml", "application/xml")):
            call.fail(f"11200: {code} {kind}")
        else:
            call.document = body.decode()
            call.execute(call.document)
        return call


class API(BaseHTTPRequestHandler):
    """The REST API for calls: what a request must have, and what its answer has."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        twilio = self.twilio
        body = self.rfile.read(int(self.headers["Content-Length"]))
        expected = "Basic " + base64.b64encode(f"{twilio.account}:{twilio.token}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            return self.refuse(401, 20003, "Authenticate")
        if twilio.rest_faults:
            return self.refuse(*twilio.rest_faults.pop(0))
        if not self.headers["Content-Type"].startswith("application/x-www-form-urlencoded"):
            return self.refuse(415, 20415, "A form is expected")
        form = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
        fields = dict(form)
        twilio.requests.append((self.path, form))
        base = f"/2010-04-01/Accounts/{twilio.account}/Calls"
        if self.path == base + ".json":
            return self.place(fields, form)
        call = twilio.calls.get(self.path.removeprefix(base + "/").removesuffix(".json"))
        if call is None:
            return self.refuse(404, 20404, f"The requested resource {self.path} was not found")
        if call.is_over.is_set():
            return self.refuse(400, 21220, "Call is not in-progress. Cannot redirect.")
        if "Twiml" in fields:
            if len(fields["Twiml"]) > 4000:
                return self.refuse(400, 21218, "Twiml is too long")
            self.answer(200, self.resource(call))
            return call.replace(fields["Twiml"])
        if fields.get("Status") == "completed":
            self.answer(200, self.resource(call))
            return call.over("completed")
        return self.refuse(400, 21218, "Status, Url or Twiml is required")

    def place(self, fields, form):
        for name, code in (("To", 21201), ("From", 21213), ("Twiml", 21205)):
            if not fields.get(name):
                return self.refuse(400, code, f"No '{name}' is given")
        if not fields["To"].startswith(("+", "sip:", "client:")):
            return self.refuse(400, 21211, f"The 'To' number {fields['To']} is not a valid phone number.")
        call = Call(self.twilio, fields["From"], fields["To"], "outbound-api")
        call.document, call.status_callback = fields["Twiml"], fields.get("StatusCallback")
        call.status_events = [value for name, value in form if name == "StatusCallbackEvent"]
        self.twilio.calls[call.sid] = call
        if self.twilio.early_statuses:
            call.status = self.twilio.early_statuses.pop(0)
            call.tell_status()
        self.answer(201, self.resource(call))

    def resource(self, call):
        return {"sid": call.sid, "date_created": None, "parent_call_sid": None, "account_sid": self.twilio.account,
                "to": call.to, "from": call.sender, "status": call.status, "start_time": None, "duration": None, "price": None,
                "direction": call.direction, "api_version": "2010-04-01", "uri": self.path,
                "subresource_uris": {"streams": self.path.replace(".json", "/Streams.json")}}

    def refuse(self, status, code, message="as the test wants it"):
        self.twilio.refusals.append((status, code))
        self.answer(status, {"code": code, "message": message, "status": status,
                             "more_info": f"https://www.twilio.com/docs/errors/{code}"})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

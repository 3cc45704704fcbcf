#!/usr/bin/env python3
"""A server that answers as Ollama does, written from its API and strict where it is. Standard library only.

It prints "port N" once it listens, and ends when its standard input closes. What it received and who left it while it
was writing is at GET /x-log; POST /x-script says how it behaves from then on:

    {"models": ["llama3.2:latest"], "capabilities": ["completion", "tools"],
     "library": ["llama3.2"],               what can be pulled
     "replies": ["Merhaba."],               one after the other, the last one again and again; {"tool": name, "arguments": {}} calls
     "tokenMs": 20, "firstMs": 0, "pullMs": 50, "loadMs": 100,
     "faults": [{"path": "/api/chat", "status": 503, "error": "server busy"}, {"path": "/api/chat", "then": "stall"}]}

A fault is used up once. "then": "stall" (no answer), "cut" (the connection breaks in the middle), "error" (a last line with an error),
"garbage" (a line that is no JSON), "end" (a proper end without done).
"""

import json
import re
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DURATION = re.compile(r"^-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$")
ROLES = {"system", "user", "assistant", "tool"}

lock = threading.Lock()
state = {"models": ["llama3.2:latest"], "capabilities": ["completion", "tools"], "library": [], "replies": ["Hello there."],
         "tokenMs": 5, "firstMs": 0, "pullMs": 30, "loadMs": 20, "faults": []}
log = {"requests": [], "left": 0, "reloads": 0, "leftAt": []}
loaded = {}  # model: the options that decide about loading


class Refused(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status, self.error = status, error


def full(name):
    """llama3.2 is llama3.2:latest."""
    return name if ":" in name else name + ":latest"


def require(condition, status, error):
    if not condition:
        raise Refused(status, error)


def check_chat(body):
    """What Go's decoder and the handler refuse."""
    require(isinstance(body.get("model"), str) and body["model"], 400, "model is required")
    require(full(body["model"]) in state["models"], 404, f"model '{body['model']}' not found")
    messages = body.get("messages", [])
    require(isinstance(messages, list), 400, "json: cannot unmarshal into Go struct field ChatRequest.messages")
    for message in messages:
        require(message.get("role") in ROLES, 400, f"invalid role {message.get('role')!r}")
        require(isinstance(message.get("content", ""), str), 400, "json: cannot unmarshal object into Go struct field Message.content of type string")
        for call in message.get("tool_calls", []):
            require(isinstance(call["function"]["arguments"], dict), 400,
                    "json: cannot unmarshal string into Go struct field ToolCallFunction.arguments of type api.ToolCallFunctionArguments")
    for tool in body.get("tools") or []:
        require(tool.get("type") == "function" and tool["function"].get("name"), 400, "invalid tool")
    require(not body.get("tools") or "tools" in state["capabilities"], 400,
            f"registry.ollama.ai/library/{body['model']} does not support tools")
    think = body.get("think")
    require(think is None or isinstance(think, bool) or think in ("low", "medium", "high", "max"), 400, f"invalid think value: {think!r}")
    require(not think or "thinking" in state["capabilities"], 400, f"\"{body['model']}\" does not support thinking")
    keep = body.get("keep_alive")
    require(keep is None or isinstance(keep, (int, float)) or DURATION.match(keep), 400, f"time: invalid duration \"{keep}\"")
    options = body.get("options") or {}
    require(isinstance(options.get("stop", []), list), 400, "option \"stop\" must be of type array")
    for name in ("num_ctx", "num_predict", "top_k", "seed"):
        require(isinstance(options.get(name, 0), int), 400, f"option \"{name}\" must be of type integer")


def load(body):
    """Another num_ctx loads the model anew."""
    key = {name: value for name, value in (body.get("options") or {}).items() if name in ("num_ctx", "num_gpu", "num_batch")}
    with lock:
        before = loaded.get(full(body["model"]))
        loaded[full(body["model"])] = key
        if before == key:
            return 0
        log["reloads"] += 1
    time.sleep(state["loadMs"] / 1000)
    return int(state["loadMs"] * 1e6)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/x-log":
            with lock:
                return self.whole(log)
        with lock:
            log["requests"].append({"path": self.path, "headers": dict(self.headers.items())})
        if self.path == "/":
            return self.whole("Ollama is running", kind="text/plain")
        if self.path == "/api/version":
            return self.whole({"version": "0.12.6"})
        if self.path == "/api/tags":
            return self.whole({"models": [self.described(name) for name in state["models"]]})
        if self.path == "/api/ps":
            return self.whole({"models": [self.described(name) | {"size_vram": 2019393189, "context_length": 4096} for name in loaded]})
        self.whole("404 page not found", 404, "text/plain")

    def described(self, name):
        return {"name": name, "model": name, "modified_at": "2026-08-21T10:00:00.1Z", "size": 2019393189, "digest": "a80c4f17acd5",
                "details": {"parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"], "parameter_size": "3.2B",
                            "quantization_level": "Q4_K_M"}}

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/x-script":
            state.update(json.loads(raw))
            return self.whole({})
        try:
            body = json.loads(raw)
        except ValueError:
            return self.whole({"error": "missing request body" if not raw else "invalid character"}, 400)
        with lock:
            log["requests"].append({"path": self.path, "body": body, "headers": dict(self.headers.items()), "at": time.monotonic()})
            fault = next((fault for fault in state["faults"] if fault["path"] == self.path), {})
            if fault:
                state["faults"] = [other for other in state["faults"] if other is not fault]
        try:
            if "status" in fault:
                raise Refused(fault["status"], fault.get("error", "as asked"))
            {"/api/chat": self.chat, "/api/show": self.show, "/api/pull": self.pull}[self.path](body, fault.get("then"))
        except Refused as refusal:
            self.whole({"error": refusal.error}, refusal.status)
        except KeyError:
            self.whole("404 page not found", 404, "text/plain")
        except (BrokenPipeError, ConnectionResetError):
            with lock:
                log["left"] += 1
                log["leftAt"].append(time.monotonic())
            self.close_connection = True

    def show(self, body, fault):
        require(full(body.get("model", "")) in state["models"], 404, f"model '{body.get('model')}' not found")
        self.whole({"modelfile": "", "template": "{{ .Prompt }}", "details": self.described(body["model"])["details"],
                    "model_info": {"general.architecture": "llama", "llama.context_length": 131072}, "capabilities": state["capabilities"]})

    def pull(self, body, fault):
        self.begin()
        self.line({"status": "pulling manifest"})
        if body["model"] not in state["library"]:
            self.line({"error": "pull model manifest: file does not exist"})
            return self.end_body()
        layer = {"status": "pulling 8eeb52dfb3bb", "digest": "sha256:8eeb52dfb3bb", "total": 2019377376}
        self.line(layer)
        for part in range(1, 11):
            time.sleep(state["pullMs"] / 1000)
            self.line(layer | {"completed": 2019377376 * part // 10})
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            if status == "success":
                state["models"].append(full(body["model"]))
            self.line({"status": status})
        self.end_body()

    def chat(self, body, fault):
        check_chat(body)
        name = body["model"]
        load_ns = load(body)
        def chunk(message, done=False, **more):
            return {"model": name, "created_at": "2026-08-21T10:00:00.12345Z", "message": {"role": "assistant", "content": "", **message},
                    "done": done, **more}
        if not body.get("messages"):
            return self.whole(chunk({}, True, done_reason="load", load_duration=load_ns))
        if fault == "stall":
            return self.wait_until_client_leaves()
        with lock:
            reply = state["replies"][0]
            if len(state["replies"]) > 1:
                state["replies"] = state["replies"][1:]
        options = body.get("options") or {}
        limit = options.get("num_predict", -1)
        if isinstance(reply, dict):
            messages = [{"tool_calls": [{"id": "call_x1", "function": {"index": 0, "name": reply["tool"], "arguments": reply["arguments"]}}]}]
        else:
            for stop in options.get("stop", []):
                reply = reply.split(stop)[0]
            messages = [{"content": token} for token in re.findall(r"\s*\S+", reply)]
        reason = "stop"
        if 0 <= limit < len(messages):
            messages, reason = messages[:limit], "length"
        counts = {"total_duration": 5 * 10**8, "load_duration": load_ns, "prompt_eval_count": 26, "prompt_eval_duration": 10**8,
                  "eval_count": len(messages), "eval_duration": 4 * 10**8}
        if not body.get("stream", True):
            whole = "".join(message.get("content", "") for message in messages)
            calls = [call for message in messages for call in message.get("tool_calls", [])]
            return self.whole(chunk({"content": whole} | ({"tool_calls": calls} if calls else {}), True, done_reason=reason, **counts))
        time.sleep(state["firstMs"] / 1000)
        self.begin()
        for number, message in enumerate(messages):
            if number == 2 and fault:
                return self.break_off(fault)
            self.line(chunk(message))
            self.pause(state["tokenMs"] / 1000)
        self.line(chunk({}, True, done_reason=reason, **counts))
        self.end_body()

    def break_off(self, fault):
        if fault == "error":
            self.line({"error": "an error was encountered while running the model: unexpected EOF"})
        elif fault == "garbage":
            self.chunk(b"<html>\n")
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.end_body()

    def pause(self, seconds):
        """Sleeps, and notices a client that leaves meanwhile, as Go's server does."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
            raise BrokenPipeError

    def wait_until_client_leaves(self):
        self.close_connection = True
        self.connection.settimeout(30)
        try:
            self.connection.recv(1)
        except OSError:
            pass
        with lock:
            log["left"] += 1

    def begin(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def line(self, value):
        self.chunk(json.dumps(value, ensure_ascii=False).encode() + b"\n")

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end_body(self):
        self.wfile.write(b"0\r\n\r\n")

    def whole(self, value, status=200, kind="application/json; charset=utf-8"):
        data = value.encode() if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that leaves between two requests is none."""


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("port", server.server_address[1], flush=True)
sys.stdin.read()

#!/usr/bin/env python3
"""A server of streamed chat completions that is strict as OpenAI, Groq, vLLM or llama.cpp are. Standard library only.

It prints "port N" once it listens, and ends when its standard input closes. `--flavour openai|groq|vllm|llama`. What it received
and how many clients left while it was writing is at GET /x-log; POST /x-script says how it behaves from then on:

    {"replies": ["Merhaba."],          one after the other, the last one again and again; {"tool": name, "arguments": {}} calls
     "tokenMs": 20, "firstMs": 0, "key": "sk-test",
     "faults": [{"status": 429, "headers": {"Retry-After": "1"}}, {"then": "stall"}]}

A fault is used up once. "then": "stall", "cut" (the connection breaks in the middle), "error" (an error event), "garbage", "end" (a
proper end without a reason).
"""

import json
import re
import select
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FLAVOUR = sys.argv[sys.argv.index("--flavour") + 1] if "--flavour" in sys.argv else "openai"
KNOWN = {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed",
         "tools", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "service_tier", "n", "user", "metadata",
         "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "store", "prompt_cache_key", "verbosity"}
EXTRA = {"groq": {"reasoning_format", "include_reasoning"}, "vllm": {"top_k", "min_p", "chat_template_kwargs", "repetition_penalty"},
         "llama": {"cache_prompt", "chat_template_kwargs", "top_k", "min_p"}, "openai": set()}[FLAVOUR]
NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")

lock = threading.Lock()
state = {"replies": ["Hello there."], "tokenMs": 5, "firstMs": 0, "key": "", "faults": [], "models": ["test-model"]}
log = {"requests": [], "left": 0, "leftAt": []}


class Refused(Exception):
    def __init__(self, status, message, kind="invalid_request_error", code=None):
        super().__init__(message)
        self.status, self.body = status, {"error": {"message": message, "type": kind, "param": None, "code": code}}


def require(condition, message, status=400, **more):
    if not condition:
        raise Refused(status, message, **more)


def check(body):
    """What the vendors refuse, each in its own way."""
    unknown = set(body) - KNOWN - EXTRA
    require(not unknown, f"Unrecognized request argument supplied: {', '.join(sorted(unknown))}")
    if FLAVOUR != "llama":
        require(body.get("model"), "you must provide a model parameter")
        require(body["model"] in state["models"], f"The model `{body['model']}` does not exist", 404, code="model_not_found")
    require(isinstance(body.get("messages"), list) and body["messages"], "'messages' is too short")
    pending = set()
    for message in body["messages"]:
        require(message.get("role") in {"system", "developer", "user", "assistant", "tool"}, f"Invalid role {message.get('role')!r}")
        if message["role"] == "tool":
            require(message.get("tool_call_id") in pending,
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.")
            pending.discard(message["tool_call_id"])
        else:
            require(not pending, "An assistant message with 'tool_calls' must be followed by tool messages")
        for call in message.get("tool_calls", []):
            require(call.get("type") == "function" and isinstance(call["function"]["arguments"], str), "Invalid tool_calls")
            pending.add(call["id"])
        require(isinstance(message.get("content"), (str, list)) or message.get("tool_calls"), "Invalid value for 'content'")
    for tool in body.get("tools", []):
        require(tool.get("type") == "function" and NAME.match(tool["function"]["name"]), "Invalid 'tools[0].function.name'")
    require("tools" not in body or body["tools"], "[] is too short - 'tools'")
    require("tool_choice" not in body or "tools" in body, "'tool_choice' is only allowed when 'tools' are specified.")
    if FLAVOUR == "vllm":
        require("tools" not in body, "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set")
    stop = body.get("stop") or []
    require(isinstance(stop, str) or len(stop) <= 4, "'stop' must have at most 4 entries")
    if str(body.get("model", "")).startswith("reasoning"):
        require("max_tokens" not in body, "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.", code="unsupported_parameter")
        require(body.get("temperature", 1) == 1, "Unsupported value: 'temperature' does not support values other than 1.")
    require(body.get("stream_options") is None or body.get("stream"), "'stream_options' is only allowed when streaming")
    require(body.get("n", 1) == 1, "n must be 1")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/x-log":
            with lock:
                return self.whole(log)
        if self.path == "/v1/models":
            return self.whole({"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in state["models"]]})
        self.whole({"error": {"message": "Not found", "type": "invalid_request_error", "code": None}}, 404)

    def do_POST(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/x-script":
            state.update(json.loads(raw))
            return self.whole({})
        with lock:
            log["requests"].append({"path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()},
                                    "body": json.loads(raw), "at": time.monotonic()})
            fault = state["faults"].pop(0) if state["faults"] else {}
        try:
            require(self.path == "/v1/chat/completions", "Not found", 404)
            require(not state["key"] or self.headers.get("Authorization") == "Bearer " + state["key"], "Incorrect API key provided.", 401,
                    code="invalid_api_key")
            require("application/json" in self.headers.get("Content-Type", ""), "Unsupported content type", 415)
            if "status" in fault:
                status = fault["status"]
                code = fault.get("code", "rate_limit_exceeded" if status == 429 else None)
                return self.whole({"error": {"message": fault.get("message", "as asked"), "type": "requests", "param": None, "code": code}},
                                  status, fault.get("headers", {}))
            body = json.loads(raw)
            check(body)
            self.answer(body, fault.get("then"))
        except Refused as refusal:
            self.whole(refusal.body, refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            with lock:
                log["left"] += 1
                log["leftAt"].append(time.monotonic())
            self.close_connection = True

    def answer(self, body, fault):
        if fault == "stall":
            return self.wait_until_client_leaves()
        with lock:
            reply = state["replies"][0]
            if len(state["replies"]) > 1:
                state["replies"] = state["replies"][1:]
        limit = body.get("max_tokens", body.get("max_completion_tokens", 10**6))
        reason = "stop"
        if isinstance(reply, dict):
            deltas, reason = self.call(reply), "tool_calls"
        else:
            tokens = re.findall(r"\s*\S+", reply)
            if len(tokens) > limit:
                tokens, reason = tokens[:limit], "length"
            deltas = [{"content": token} for token in tokens]
        time.sleep(state["firstMs"] / 1000)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.choice({"role": "assistant", "content": "" if "content" in deltas[0] else None})
        for number, delta in enumerate(deltas):
            if number == 2 and fault:
                return self.break_off(fault)
            self.choice(delta)
            if number == 1:
                self.chunk(": ping\n\n")
            self.pause(state["tokenMs"] / 1000)
        usage = {"prompt_tokens": 20, "completion_tokens": len(deltas), "total_tokens": 20 + len(deltas),
                 "prompt_tokens_details": {"cached_tokens": 16}}
        self.choice({}, reason, **({"x_groq": {"id": "req_1", "usage": usage}} if FLAVOUR == "groq" else {}))
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.chunk("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def call(self, reply):
        """A call in four pieces, the name first and the arguments in fragments."""
        text = json.dumps(reply["arguments"], ensure_ascii=False)
        pieces = [text[:len(text) // 2], text[len(text) // 2:]]
        head = {"index": 0, "id": "call_abc", "type": "function", "function": {"name": reply["tool"], "arguments": ""}}
        return [{"tool_calls": [head]}] + [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]

    def break_off(self, fault):
        if fault == "error":
            self.chunk("event: error\ndata: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":\"overloaded\"}}\n\n")
        elif fault == "garbage":
            self.chunk("data: {nonsense\n\n")
        if fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def choice(self, delta, reason=None, **more):
        self.event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1763700000, "model": "test-model",
                    "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}], **more})

    def event(self, value):
        self.chunk("data: " + json.dumps(value, ensure_ascii=False) + "\n\n")

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def pause(self, seconds):
        """Sleeps, and notices a client that leaves meanwhile, which ends its work."""
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

    def whole(self, value, status=200, headers=None):
        data = json.dumps(value, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for header in (headers or {}).items():
            self.send_header(*header)
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

#!/usr/bin/env python3
"""The llama WebSocket service, as its clients know it: one question at a time on a connection, JSON in text frames, no ids and no way
to stop an answer. Standard library only; the framing is RFC 6455's, strict with the client.

It prints "port N" once it listens, and ends when its standard input closes. On the same port, over plain HTTP: GET /x-log tells what it
received on which connection and how many chunks it wrote to clients that had left; POST /x-script says how it behaves:

    {"replies": ["Merhaba."],        one after the other, the last one again and again
     "tokenMs": 20, "firstMs": 0, "rag": "what it found, if the question wants documents",
     "faults": [{"then": "error"}, {"then": "drop"}, {"then": "stall"}, {"then": "garbage"}]}

A fault is used up once, by the next question; {"then": "refuse", "status": 503} by the next upgrade.
"""

import base64
import hashlib
import json
import re
import select
import socket
import struct
import sys
import threading
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
# What the service hands to the model; anything else raises there.
KNOWN = {"temperature", "max_tokens", "top_p", "stop", "stream", "repeat_penalty", "top_k"}

lock = threading.Lock()
state = {"replies": ["Merhaba, buyurun."], "tokenMs": 5, "firstMs": 0, "rag": "", "faults": []}
log = {"questions": [], "connections": 0, "left": 0, "leftAt": []}


class Closed(Exception):
    pass


class Connection:
    def __init__(self, sock, number):
        self.sock, self.number, self.file = sock, number, sock.makefile("rb")

    def read(self, count):
        data = self.file.read(count)
        if len(data) < count:
            raise Closed
        return data

    def send(self, opcode, payload=b""):
        head = bytes([0x80 | opcode])
        head += bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + struct.pack(">H", len(payload))
        self.sock.sendall(head + payload)

    def say(self, value):
        self.send(TEXT, json.dumps(value, ensure_ascii=False).encode())

    def message(self):
        parts = []
        while True:
            first, second = self.read(2)
            opcode, length = first & 15, second & 127
            if not second & 128 or first & 0x70:
                self.send(CLOSE, struct.pack(">H", 1002))
                raise Closed
            if length == 126:
                length = struct.unpack(">H", self.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.read(8))[0]
            mask = self.read(4)
            payload = bytes(byte ^ mask[index & 3] for index, byte in enumerate(self.read(length)))
            if opcode == CLOSE:
                self.send(CLOSE, payload[:2])
                raise Closed
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode in (0, TEXT, BINARY):
                parts.append(payload)
                if first & 128:
                    return b"".join(parts).decode()

    def pause(self, seconds):
        """Sleeps, and notices a client that closes meanwhile, as the service does at its next write."""
        readable, _, _ = select.select([self.sock], [], [], seconds)
        if readable:
            waiting = self.sock.recv(1, socket.MSG_PEEK)
            if waiting == b"" or waiting[0] & 15 == CLOSE:
                with lock:
                    log["left"] += 1
                    log["leftAt"].append(time.monotonic())
                raise Closed


def answer(connection, text):
    try:
        question = json.loads(text)
    except ValueError as error:
        return connection.say({"error": f"Invalid JSON: {error}"})
    with lock:
        log["questions"].append({"connection": connection.number, "question": question, "at": time.monotonic()})
        fault = state["faults"].pop(0)["then"] if state["faults"] else ""
        reply = state["replies"][0]
        if len(state["replies"]) > 1:
            state["replies"] = state["replies"][1:]
    if "messages" in question:
        if not any(message["role"] == "user" for message in question["messages"]):
            return connection.say({"error": "No user message found"})
        rest = set(question) - {"messages", "use_rag", "rag_k"}
    elif "prompt" in question:
        rest = set(question) - {"prompt", "system_prompt", "use_rag", "rag_k"}
    else:
        return connection.say({"error": "Missing 'prompt' or 'messages'"})
    if rest - KNOWN:
        return connection.say({"error": f"Processing error: unexpected keyword argument '{sorted(rest - KNOWN)[0]}'"})
    if fault == "error":
        return connection.say({"error": "Processing error: out of memory"})
    if fault == "drop":
        raise Closed
    if fault == "garbage":
        return connection.send(TEXT, b"{nonsense")
    if fault == "stall":
        connection.message()
    if question.get("use_rag", True) and state["rag"]:
        connection.say({"rag_context": state["rag"][:500] + "...", "context_length": len(state["rag"])})
    time.sleep(state["firstMs"] / 1000)
    for token in re.findall(r"\s*\S+", reply)[:question.get("max_tokens", 1000)]:
        connection.say({"chunk": token})
        connection.pause(state["tokenMs"] / 1000)
    connection.say({"done": True})


def serve(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    file = sock.makefile("rb")
    try:
        request = file.readline().decode().split()
        headers = {}
        while (line := file.readline().strip()):
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        if headers.get("upgrade", "").lower() != "websocket":
            if request[0] == "POST":
                state.update(json.loads(file.read(int(headers["content-length"]))))
            with lock:
                data = json.dumps(log, ensure_ascii=False).encode()
            return sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        with lock:
            fault = state["faults"].pop(0) if state["faults"] and state["faults"][0]["then"] == "refuse" else None
            log["connections"] += 1
            number = log["connections"]
        if fault:
            return sock.sendall(f"HTTP/1.1 {fault['status']} No\r\nContent-Length: 0\r\n\r\n".encode())
        key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        sock.sendall("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        connection = Connection(sock, number)
        while True:
            answer(connection, connection.message())
    except (Closed, OSError, ValueError, IndexError, KeyError):
        pass
    finally:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sock.close()


listener = socket.create_server(("127.0.0.1", 0), backlog=64)


def accept():
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


threading.Thread(target=accept, daemon=True).start()
print("port", listener.getsockname()[1], flush=True)
sys.stdin.read()

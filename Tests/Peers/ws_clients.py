#!/usr/bin/env python3
"""Many WebSocket clients at once, each of which sends messages at a steady pace and counts what comes back.

    ws_clients.py URL CLIENTS MESSAGES_PER_SECOND SECONDS

Written against RFC 6455 alone, strict about what a server must do. Every message has its client's number and its own;
each must come back once and in order. Says one JSON object when all is done.
"""
import asyncio
import base64
import hashlib
import json
import os
import struct
import sys
import time
from urllib.parse import urlsplit

url, clients, rate, seconds = sys.argv[1], *map(int, sys.argv[2:5])
place = urlsplit(url)
# What Twilio sends for 20 ms of audio: 160 bytes of mu-law in base64 and JSON around it.
padding = "x" * 220


def frame(payload, opcode=1):
    mask = os.urandom(4)
    head = bytes([0x80 | opcode])
    length = len(payload)
    head += bytes([0x80 | length]) if length < 126 else struct.pack(">BH", 0x80 | 126, length)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


async def receive(reader):
    first, second = await reader.readexactly(2)
    assert first & 0x70 == 0 and second & 0x80 == 0, "reserved bits, or a masked frame of a server"
    length = second
    if length == 126:
        length = struct.unpack(">H", await reader.readexactly(2))[0]
        assert length >= 126, "a length that is not written as short as it can be"
    elif length == 127:
        length = struct.unpack(">Q", await reader.readexactly(8))[0]
    return first & 15, await reader.readexactly(length)


async def upgrade(reader, writer):
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write((
        f"GET {place.path} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    assert head[0].startswith("HTTP/1.1 101 "), head[0]
    fields = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if ":" in line}
    proof = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
    assert fields["sec-websocket-accept"] == proof and fields["upgrade"].lower() == "websocket", fields
    assert "upgrade" in fields["connection"].lower(), fields


async def client(number, started, result):
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    await upgrade(reader, writer)
    started.append(number)
    while len(started) < clients:
        await asyncio.sleep(0.01)
    count = rate * seconds
    sent_at = {}

    async def send():
        # Each on its own phase, as calls are.
        begun = time.monotonic() + number / clients / rate
        for index in range(count):
            wait = begun + index / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            sent_at[index] = time.monotonic()
            writer.write(frame(json.dumps({"client": number, "index": index, "media": padding}).encode()))
            await writer.drain()

    sending = asyncio.create_task(send())
    for index in range(count):
        opcode, payload = await receive(reader)
        while opcode == 9:
            writer.write(frame(payload, 10))
            opcode, payload = await receive(reader)
        message = json.loads(payload)
        assert opcode == 1 and message == {"client": number, "index": index, "media": padding}, (number, index)
        result["delays"].append(time.monotonic() - sent_at.pop(index))
        result["received"] += 1
    await sending
    writer.write(frame(struct.pack(">H", 1000), 8))
    opcode, payload = await receive(reader)
    assert opcode == 8 and payload[:2] == struct.pack(">H", 1000), (opcode, payload)
    assert await reader.read() == b"", "bytes after the close frame"
    writer.close()
    result["closed"] += 1


async def main():
    result = {"received": 0, "closed": 0, "delays": []}
    started = []
    begun = time.monotonic()
    ends = await asyncio.gather(*(client(n, started, result) for n in range(clients)), return_exceptions=True)
    errors = [repr(end) for end in ends if end is not None]
    delays = sorted(result.pop("delays")) or [0]
    result["p50_ms"] = round(delays[len(delays) // 2] * 1000, 2)
    result["p99_ms"] = round(delays[len(delays) * 99 // 100] * 1000, 2)
    result["seconds"] = round(time.monotonic() - begun, 2)
    result["errors"] = errors[:3]
    print(json.dumps(result), flush=True)


asyncio.run(main())

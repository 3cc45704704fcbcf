#!/usr/bin/env python3
"""The language model's server: llama.cpp's own, started with settings that fit a telephone call.

Nothing stands between the client and llama.cpp: it serves OpenAI's chat completions as a stream, keeps the prompt of
each slot in its cache, and answers /health with 503 until the model is loaded. What is decided here is what its
defaults leave open: the loopback address, no web page, no cross-origin access (a page in somebody's browser must
not talk to it), no view into other calls' prompts, an end to every answer, and one thread: two are a third faster on an
idle machine, but they wait for each other by spinning, and fall to a tenth as soon as a recogniser, a voice or media
want a core, which is always in a call.

Settings (environment): LLAMA_HOST (127.0.0.1), LLAMA_PORT (8102), LLAMA_MODEL (any GGUF file; default
.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf), LLAMA_THREADS (1), LLAMA_SLOTS (2: answers made at once, each with a
prompt cache of its own), LLAMA_CONTEXT (2048 tokens for each slot), LLAMA_MAX_TOKENS (256 for each answer),
LLAMA_SYSTEM_PROMPT_FILE (its text is evaluated at the start, so that the first caller does not pay for it).
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE)]

from http_service import log, setting

DEFAULT_MODEL = os.path.join(HERE, "../../.cache/models/SmolLM2-135M-Instruct.Q4_1.gguf")


def main():
    stop = threading.Event()
    model = os.path.abspath(os.environ.get("LLAMA_MODEL") or DEFAULT_MODEL)
    if not os.path.isfile(model):
        log(f"there is no model {model}; run services/setup, or set LLAMA_MODEL to a GGUF file")
        return 1
    began = time.monotonic()
    params = parameters(model)
    import xllamacpp
    try:
        server = xllamacpp.Server(params)
    except Exception as error:
        log(f"llama.cpp does not start ({error}): is the port taken, or the file no GGUF model? "
            "set LLAMA_PORT or LLAMA_MODEL")
        return 1
    # After the server, which puts handlers of its own in place.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log(f"llama listens on {server.listening_address} with {os.path.basename(model)} "
        f"after {time.monotonic() - began:.1f} s")
    warm(server.listening_address)
    stop.wait()
    log("llama stops")
    sys.stderr.flush()
    os._exit(0)  # The server's threads would otherwise be joined, and one of them may be in the middle of an answer.


def parameters(model):
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {os.path.basename(model).removesuffix(".gguf")}
    params.hostnames = [os.environ.get("LLAMA_HOST") or "127.0.0.1"]
    params.port = setting("LLAMA_PORT", 8102, 0, 65535)
    params.n_parallel = setting("LLAMA_SLOTS", 2, 1, 64)
    params.n_ctx = params.n_parallel * setting("LLAMA_CONTEXT", 2048, 256, 131072)
    params.n_predict = setting("LLAMA_MAX_TOKENS", 256, 1, 32768)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = setting("LLAMA_THREADS", 1, 1, 256)
    params.ui = params.endpoint_slots = False
    params.endpoint_metrics = True
    params.cors_origins = ""
    params.cors_credentials = False
    params.verbosity = 2  # Warnings and faults; a line for every token's timing helps nobody.
    return params


def warm(address):
    path = os.environ.get("LLAMA_SYSTEM_PROMPT_FILE")
    if not path:
        return
    try:
        with open(path, encoding="utf-8") as file:
            messages = [{"role": "system", "content": file.read()}, {"role": "user", "content": "Hello."}]
        body = json.dumps({"messages": messages, "max_tokens": 1}).encode()
        began = time.monotonic()
        urllib.request.urlopen(urllib.request.Request(f"{address}/v1/chat/completions", body), timeout=120).read()
        log(f"llama has read {path} in {time.monotonic() - began:.1f} s")
    except OSError as error:
        log(f"llama could not read {path} ahead ({error}); it will with the first call")


if __name__ == "__main__":
    sys.exit(main())

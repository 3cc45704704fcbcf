"""The three services, running, with their models: what a plugin relies on.

    services/run --ports any -- .cache/venv/bin/python -m unittest discover -s services -t services -v

Addresses come from VCHOST_WHISPER_URL and so on, which services/run sets. Ends in under a minute.
"""

import http.client
import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(HERE, "whisper")]

import numpy

import pcm
from features import log_mel
from measure import normal, through_telephone

RECORDINGS = os.path.join(ROOT, ".cache/recordings/en")
TRANSCRIPTIONS = "/v1/audio/transcriptions"
RAW = {"Content-Type": "audio/L16;rate=8000;channels=1"}
JSON = {"Content-Type": "application/json"}


def place_of(service):
    url = os.environ.get(f"VCHOST_{service.upper()}_URL")
    if not url:
        raise RuntimeError("no services: run these tests through services/run (see the top of this file)")
    return urlsplit(url).netloc


def ask(service, method, path, body=None, headers=None, timeout=20):
    """`(status, headers, body)` of one request on a connection of its own."""
    connection = http.client.HTTPConnection(place_of(service), timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def recording(name):
    with open(os.path.join(RECORDINGS, name + ".wav"), "rb") as file:
        return file.read()


def telephone(name):
    samples, rate_hz = pcm.decode_wav(recording(name))
    return through_telephone(pcm.resample(samples, rate_hz, 8000))


class Health(unittest.TestCase):
    def test_each_service_says_which_model_it_has(self):
        for service, model in (("whisper", "whisper-tiny.en"), ("piper", "en_US-joe-medium")):
            status, _, body = ask(service, "GET", "/health")
            answer = json.loads(body)
            self.assertEqual((status, answer["status"], answer["model"]), (200, "ok", model))
            self.assertTrue(answer["licence"])
        status, _, body = ask("llama", "GET", "/health")
        self.assertEqual((status, json.loads(body)), (200, {"status": "ok"}))

    def test_a_service_that_loads_answers_503_with_the_reason(self):
        port = free_port()
        process = start("piper", PIPER_PORT=str(port))
        try:
            status, body = wait_for_answer(port)
            self.assertEqual((status, json.loads(body)["error"]["code"]), (503, "loading"))
        finally:
            process.terminate()
            self.assertEqual(process.wait(10), 0, "SIGTERM while loading ends it cleanly")
            process.stderr.close()

    def test_a_service_without_its_model_says_so_and_ends(self):
        process = start("whisper", WHISPER_PORT=str(free_port()), WHISPER_MODEL="/nonexistent")
        self.assertEqual(process.wait(20), 1)
        self.assertIn("no model.bin in /nonexistent", process.stderr.read())
        process.stderr.close()

    def test_a_setting_out_of_bounds_is_refused_with_a_sentence(self):
        process = start("whisper", WHISPER_QUEUE="many")
        self.assertEqual(process.wait(20), 2)
        self.assertIn("WHISPER_QUEUE is 'many'; it must be a whole number", process.stderr.read())
        process.stderr.close()


class SpeechToText(unittest.TestCase):
    def test_raw_telephone_samples_become_the_words_that_were_said(self):
        body = pcm.encode_s16(telephone("vm-nobodyavail"))
        status, _, answer = ask("whisper", "POST", TRANSCRIPTIONS + "?language=en", body, RAW)
        answer = json.loads(answer)
        self.assertEqual(status, 200)
        self.assertEqual(normal(answer["text"]), normal("Nobody is available to take your call at the moment"))
        self.assertEqual(answer["language"], "en")
        self.assertAlmostEqual(answer["duration"], len(body) / 16000, places=2)
        self.assertGreater(answer["confidence"], 0.7)
        self.assertLess(answer["confidence"], 1.0)

    def test_big_endian_samples_and_a_wav_give_the_same_text(self):
        samples = pcm.decode_wav(recording("conf-locked"))[0]
        big = (samples * 32767).astype(">i2").tobytes()
        _, _, one = ask("whisper", "POST", TRANSCRIPTIONS, big,
                        {"Content-Type": "audio/l16; rate=8000; endianness=big-endian"})
        _, _, two = ask("whisper", "POST", TRANSCRIPTIONS, recording("conf-locked"), {"Content-Type": "audio/wav"})
        self.assertEqual(normal(json.loads(one)["text"]), normal("This conference is locked"))
        self.assertEqual(json.loads(one)["text"], json.loads(two)["text"])

    def test_the_form_of_openai_is_understood(self):
        body, headers = form({"model": "whisper-1", "language": "en", "response_format": "verbose_json"},
                             recording("one-moment-please"))
        status, _, answer = ask("whisper", "POST", TRANSCRIPTIONS, body, headers)
        answer = json.loads(answer)
        self.assertEqual((status, answer["task"]), (200, "transcribe"))
        self.assertEqual(normal(answer["text"]), ["one", "moment", "please"])
        self.assertEqual(answer["segments"][0]["start"], 0.0)
        self.assertAlmostEqual(answer["segments"][0]["end"], answer["duration"], places=2)

    def test_silence_is_an_empty_text_and_not_a_hallucination(self):
        generator = numpy.random.default_rng(7)
        for level in (0.0, 0.0003):
            body = pcm.encode_s16(generator.normal(0, level, 16000) if level else numpy.zeros(16000))
            status, _, answer = ask("whisper", "POST", TRANSCRIPTIONS, body, RAW)
            self.assertEqual((status, json.loads(answer)["text"]), (200, ""))

    def test_audio_longer_than_a_window_is_heard_to_its_end(self):
        pause = numpy.zeros(8000, numpy.float32)
        pieces = [telephone("vm-nobodyavail"), pause, telephone("cannot-complete-as-dialed"), pause] * 5
        body = pcm.encode_s16(numpy.concatenate(pieces + [telephone("conf-locked")]))
        _, _, answer = ask("whisper", "POST", TRANSCRIPTIONS + "?response_format=verbose_json", body, RAW)
        answer = json.loads(answer)
        words = " ".join(normal(answer["text"]))
        self.assertGreater(answer["duration"], 30)
        self.assertGreater(len(answer["segments"]), 1)
        self.assertEqual(words.count("completed as dialed"), 5, words)
        self.assertTrue(words.endswith("conference is locked"), words)

    def test_each_wrong_request_gets_its_own_answer(self):
        wav = recording("hello")
        cases = [
            ("is no RIFF", 400, "bad_audio", b"not audio at all", {"Content-Type": "audio/wav"}),
            ("no data chunk", 400, "bad_audio", wav[:40], {"Content-Type": "audio/wav"}),
            ("24 bit", 400, "bad_audio", wav[:34] + struct.pack("<H", 24) + wav[36:], {"Content-Type": "audio/wav"}),
            ("needs its rate", 400, "bad_audio", b"\0\0", {"Content-Type": "audio/L16"}),
            ("rate 4000", 400, "bad_audio", b"\0\0", {"Content-Type": "audio/L16;rate=4000"}),
            ("no whole number", 400, "bad_audio", b"\0\0\0", RAW),
            ("has no audio", 400, "empty_audio", b"", RAW),
            ("limit is 120 s", 413, "audio_too_long", bytes(16000 * 121), RAW),
            ("send audio/L16", 415, "unsupported_media_type", b"x", {"Content-Type": "audio/mpeg"}),
            ("no field 'file'", 400, "bad_request", *form({"model": "x"}, None)),
            ("closing boundary", 400, "bad_request", form({}, wav)[0][:-20], form({}, wav)[1]),
        ]
        for part, status, code, body, headers in cases:
            with self.subTest(part):
                self.assert_refused(ask("whisper", "POST", TRANSCRIPTIONS, body, headers), status, code, part)
        self.assert_refused(ask("whisper", "POST", TRANSCRIPTIONS + "?language=tr", b"\0\0", RAW), 400,
                            "language_unsupported", "--with whisper-base")
        self.assert_refused(ask("whisper", "POST", TRANSCRIPTIONS + "?response_format=srt", b"\0\0", RAW), 400,
                            "bad_request", "srt")
        self.assert_refused(ask("whisper", "GET", TRANSCRIPTIONS), 405, "method_not_allowed", "POST")
        self.assert_refused(ask("whisper", "POST", "/v1/nothing", b""), 404, "not_found", TRANSCRIPTIONS)

    def test_a_body_past_the_limit_is_refused_before_it_is_sent(self):
        with socket.create_connection(host_and_port("whisper"), timeout=10) as client:
            client.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 99999999\r\n"
                           b"Expect: 100-continue\r\n\r\n" % TRANSCRIPTIONS.encode())
            answer = client.recv(4096)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(b'"code":"body_too_large"', answer)

    def test_a_chunked_upload_is_refused_with_what_to_do(self):
        pieces = iter([b"\0\0"])
        answer = ask("whisper", "POST", TRANSCRIPTIONS, pieces, RAW)
        self.assert_refused(answer, 411, "length_required", "Content-Length")

    def test_a_refused_body_is_not_taken_for_the_next_request(self):
        hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        for header in (b"Transfer-Encoding: chunked", b"Content-Length: many",
                       b"Content-Length: %d\r\nTransfer-Encoding: chunked" % len(hidden)):
            head = b"POST %b HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % (TRANSCRIPTIONS.encode(), header)
            with socket.create_connection(host_and_port("whisper"), timeout=10) as client:
                client.sendall(head + hidden)
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
            self.assertIn(b"HTTP/1.1 4", answer)

    def assert_refused(self, answer, status, code, part):
        error = json.loads(answer[2])["error"]
        self.assertEqual((answer[0], error["code"]), (status, code), error)
        self.assertIn(part, error["message"])


class Load(unittest.TestCase):
    """A recogniser of its own with one worker and one place to wait, so that being full can be arranged."""

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        cls.process = start("whisper", WHISPER_PORT=str(cls.port), WHISPER_WORKERS="1", WHISPER_QUEUE="1")
        while wait_for_answer(cls.port)[0] != 200:
            time.sleep(0.1)

    @classmethod
    def tearDownClass(cls):
        cls.process.terminate()
        assert cls.process.wait(10) == 0, "SIGTERM ends it cleanly"
        cls.process.stderr.close()

    def occupy(self, seconds=60):
        """Sends work of about a second or more, and returns the connection that waits for it."""
        return self.send(numpy.tile(telephone("vm-nobodyavail"), 40)[:seconds * 8000])

    def send(self, samples):
        client = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        body = pcm.encode_s16(samples)
        client.sendall(b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: audio/L16;rate=8000\r\nContent-Length: %d\r\n\r\n"
                       % (TRANSCRIPTIONS.encode(), len(body)) + body)
        return client

    def test_a_full_queue_is_refused_at_once_and_says_when_to_come_again(self):
        working = self.occupy()
        time.sleep(0.15)
        waiting = self.send(telephone("hello"))
        time.sleep(0.15)
        with self.send(telephone("hello")) as refused:
            answer = refused.recv(4096)
        answered = select.select([working, waiting], [], [], 0)[0]
        self.assertEqual(answered, [], "the refusal came before the others' answers")
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 "), answer)
        self.assertIn(b"Retry-After: 1", answer)
        self.assertIn(b'"code":"busy"', answer)
        for client, part in ((working, b"Nobody"), (waiting, b"Hello")):
            with client:
                self.assertIn(part, client.recv(1 << 16))

    def test_work_whose_client_has_gone_is_never_begun(self):
        working = self.occupy()
        time.sleep(0.15)
        self.send(telephone("hello")).close()
        time.sleep(0.3)  # The place it waited in is free again, though the worker still works.
        with self.send(telephone("goodbye")) as waiting, working:
            self.assertIn(b"Goodbye", waiting.recv(1 << 16))
            working.recv(1 << 16)

    def test_a_connection_serves_one_request_after_another(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.connect()
        before = connection.sock
        for _ in range(3):
            connection.request("POST", TRANSCRIPTIONS, pcm.encode_s16(telephone("hello")), RAW)
            self.assertEqual(normal(json.load(connection.getresponse())["text"]), ["hello"])
        self.assertIs(connection.sock, before)
        connection.close()


class LanguageModel(unittest.TestCase):
    question = {"messages": [{"role": "system", "content": "You answer in one short sentence."},
                             {"role": "user", "content": "What is the capital of France?"}],
                "temperature": 0, "max_tokens": 32}

    def test_a_chat_streams_in_pieces_and_ends_with_done(self):
        connection = http.client.HTTPConnection(place_of("llama"), timeout=20)
        connection.request("POST", "/v1/chat/completions", json.dumps({**self.question, "stream": True}), JSON)
        response = connection.getresponse()
        self.assertTrue(response.headers["Content-Type"].startswith("text/event-stream"))
        events = [line[6:].strip() for line in response if line.startswith(b"data: ")]
        connection.close()
        self.assertEqual(events[-1], b"[DONE]")
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        pieces = [choice["delta"].get("content") for choice in choices if choice["delta"].get("content")]
        self.assertGreater(len(pieces), 3)
        self.assertIn("Paris", "".join(pieces))
        self.assertEqual(choices[-1]["finish_reason"], "stop")

    def test_an_answer_has_an_end_even_when_the_client_sets_none(self):
        endless = {"messages": [{"role": "user", "content": "Count to ten thousand."}], "ignore_eos": True}
        _, _, body = ask("llama", "POST", "/v1/chat/completions", json.dumps(endless), JSON, timeout=60)
        answer = json.loads(body)
        self.assertEqual((answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]), ("length", 256))

    def test_bad_json_is_an_error_with_a_message(self):
        status, _, body = ask("llama", "POST", "/v1/chat/completions", "{bad", JSON)
        self.assertEqual(status, 400)
        self.assertIn("parse error", json.loads(body)["error"]["message"])

    def test_a_client_that_leaves_frees_the_model(self):
        connection = http.client.HTTPConnection(place_of("llama"), timeout=20)
        connection.request("POST", "/v1/chat/completions", json.dumps(
            {"messages": [{"role": "user", "content": "Count."}], "ignore_eos": True, "stream": True}), JSON)
        connection.getresponse().readline()
        connection.close()
        began = time.monotonic()
        ask("llama", "POST", "/v1/chat/completions", json.dumps({**self.question, "max_tokens": 4}), JSON)
        self.assertLess(time.monotonic() - began, 5)

    def test_a_page_of_another_origin_is_not_let_in(self):
        _, headers, _ = ask("llama", "GET", "/health", headers={"Origin": "http://example.org"})
        self.assertIn(headers.get("Access-Control-Allow-Origin", ""), ("",))


class TextToSpeech(unittest.TestCase):
    # Without noise the voice says the same text the same way every time.
    steady = {"noise_scale": 0, "noise_w_scale": 0}
    text = "The engineer comes on Monday at ten in the morning. Please call the office before."

    def test_what_is_spoken_is_heard_again_through_a_telephone(self):
        wish = {"text": self.text, **self.steady}
        status, headers, body = ask("piper", "POST", "/synthesize", json.dumps(wish), JSON)
        self.assertEqual((status, headers["Content-Type"]), (200, "audio/wav"))
        samples, rate_hz = pcm.decode_wav(body)
        self.assertEqual(rate_hz, 22050)
        self.assertEqual(self.heard(samples, rate_hz), normal(self.text))

    def test_a_stream_brings_the_first_sentence_before_the_last_is_made(self):
        connection = http.client.HTTPConnection(place_of("piper"), timeout=20)
        # Not one sentence over and over: the recogniser that checks it skips what it heard a moment ago.
        long = self.text + " Nobody may enter the building before then. The whole system works again on Tuesday."
        began = time.monotonic()
        wish = {"text": long, "sample_rate": 8000, **self.steady}
        connection.request("POST", "/synthesize?stream=1", json.dumps(wish), JSON)
        response = connection.getresponse()
        self.assertEqual((response.headers["X-Sample-Rate"], response.headers["Content-Type"]),
                         ("8000", "audio/L16;rate=8000;channels=1"))
        first = response.read1(65536)
        first_at = time.monotonic() - began
        rest = response.read()
        total = time.monotonic() - began
        connection.close()
        self.assertLess(first_at, total / 2)
        samples = pcm.decode_s16(first + rest)
        self.assertEqual(self.heard(samples, 8000), normal(long))

    def test_the_voice_leaves_headroom_for_a_telephone_codec(self):
        _, _, body = ask("piper", "POST", "/synthesize", json.dumps({"text": "Hello there."}), JSON)
        peak = float(numpy.abs(pcm.decode_wav(body)[0]).max())
        self.assertLess(peak, 0.72)
        self.assertGreater(peak, 0.3)

    def test_each_wrong_request_gets_its_own_answer(self):
        cases = [
            ("is no JSON", 400, "bad_json", "{bad"),
            ("no string 'text'", 400, "bad_request", "[1]"),
            ("no string 'text'", 400, "bad_request", '{"text":7}'),
            ("nothing to say", 400, "empty_text", '{"text":" ... "}'),
            ("length_scale is 9", 400, "bad_request", '{"text":"a","length_scale":9}'),
            ("sample_rate is 11025", 400, "bad_request", '{"text":"a","sample_rate":11025}'),
            ("limit is 2000", 413, "text_too_long", json.dumps({"text": "word " * 500})),
            ("the limit is 65536", 413, "body_too_large", json.dumps({"text": "word " * 50000})),
        ]
        for part, status, code, body in cases:
            with self.subTest(part):
                answered, _, answer = ask("piper", "POST", "/synthesize", body, JSON)
                error = json.loads(answer)["error"]
                self.assertEqual((answered, error["code"]), (status, code), error)
                self.assertIn(part, error["message"])

    def test_a_client_that_leaves_frees_the_voice(self):
        with socket.create_connection(host_and_port("piper"), timeout=10) as client:
            body = json.dumps({"text": " ".join([self.text] * 20)}).encode()
            head = b"POST /synthesize?stream=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            client.sendall(head + body)
            client.recv(4096)
        began = time.monotonic()
        status, _, _ = ask("piper", "POST", "/synthesize", json.dumps({"text": "Hello."}), JSON)
        self.assertEqual(status, 200)
        self.assertLess(time.monotonic() - began, 2)

    def heard(self, samples, rate_hz):
        body = pcm.encode_s16(through_telephone(pcm.resample(samples, rate_hz, 8000)))
        return normal(json.loads(ask("whisper", "POST", TRANSCRIPTIONS, body, RAW)[2])["text"])


class Samples(unittest.TestCase):
    def test_a_tone_keeps_its_pitch_and_level_at_any_rate_and_what_cannot_fit_is_gone(self):
        for from_hz, to_hz in ((8000, 16000), (22050, 8000), (48000, 16000), (44100, 8000), (16000, 24000)):
            tone = numpy.sin(2 * numpy.pi * 1000 * numpy.arange(from_hz) / from_hz).astype(numpy.float32)
            out = pcm.resample(tone, from_hz, to_hz)
            ideal = numpy.sin(2 * numpy.pi * 1000 * numpy.arange(to_hz) / to_hz)
            self.assertEqual(len(out), to_hz)
            self.assertLess(numpy.abs(out - ideal)[200:-200].max(), 1e-3, (from_hz, to_hz))
        hiss = numpy.sin(2 * numpy.pi * 6000 * numpy.arange(22050) / 22050).astype(numpy.float32)
        self.assertLess(numpy.abs(pcm.resample(hiss, 22050, 8000))[200:-200].max(), 1e-3)

    def test_a_wav_survives_its_round_trip_and_a_header_with_wrong_sizes(self):
        samples = numpy.sin(numpy.arange(800) / 10).astype(numpy.float32) * 0.5
        wav = bytearray(pcm.encode_wav(samples, 8000))
        struct.pack_into("<I", wav, 40, 0xFFFFFFFF)
        back, rate_hz = pcm.decode_wav(bytes(wav))
        self.assertEqual(rate_hz, 8000)
        self.assertLess(numpy.abs(back - samples).max(), 1e-4)

    def test_the_spectrogram_of_a_tone_peaks_in_its_band(self):
        tone = 0.5 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(16000) / 16000).astype(numpy.float32)
        mel = log_mel(tone, 15.0)
        self.assertEqual(mel.shape, (1, 80, 1500))
        self.assertEqual(int(mel[0, :, 50].argmax()), 26)  # 1000 Hz is mel 15 of 45.245 over 80 bands.
        self.assertEqual(float(mel[0, :, 1400].max()), float(mel.min()))


def form(fields, wav):
    parts = [f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    if wav is not None:
        parts.append(b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n'
                     b"Content-Type: audio/wav\r\n\r\n" + wav)
    body = b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


def host_and_port(service):
    host, _, port = place_of(service).partition(":")
    return host, int(port)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(service, **settings):
    return subprocess.Popen([sys.executable, os.path.join(HERE, service, "server.py")], text=True,
                            env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for_answer(port):
    """The first answer of /health once the port is open."""
    for _ in range(400):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            response = connection.getresponse()
            return response.status, response.read()
        except ConnectionError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise TimeoutError(f"nothing listens on port {port}")


if __name__ == "__main__":
    unittest.main()

"""Language models on the wire: each plugin in a real host, in real calls, against a server written from the vendor's API.

The recogniser and the voice are instant here, so what is heard and when is the model's doing.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

import sound
from host import BUILT, INSTANT, PLUGINS, ROOT, Host
from phones import Baresip
from stack import Services, wait_until

TURKISH = "Iğdır'daki şubeniz çarşamba günü açık mı?"
ANSWER = "Evet, İstiklâl Caddesi'ndeki şubemiz çarşamba günü dokuzdan altıya kadar açık."
LONG = "Bu uzun bir cevap, çünkü arayan onu kesmek istiyor. " * 4


class Peer:
    """One of Tests/Peers on a free port; `script` says how it behaves, `log` what it saw."""

    def __init__(self, name, *arguments):
        self.command = [sys.executable, ROOT / "Tests/Peers" / f"{name}_peer.py", *arguments]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])
        self.authority = f"127.0.0.1:{self.port}"
        return self

    def __exit__(self, *failure):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(5)

    def script(self, **behaviour):
        body = json.dumps(behaviour).encode()
        urllib.request.urlopen(urllib.request.Request(f"http://{self.authority}/x-script", body), timeout=5).read()

    @property
    def log(self):
        return json.loads(urllib.request.urlopen(f"http://{self.authority}/x-log", timeout=5).read())

    def asked(self, path):
        return [request for request in self.log["requests"] if request["path"] == path]


def configuration(chain, text=TURKISH, **sections):
    """A host whose models are `sections`, in the order of `chain`."""
    template = (INSTANT.replace("llm = llm.instant", "language = tr\nllm = " + ", ".join(f"llm.{name}" for name in chain))
                .replace("plugin = InstantSTT", f"plugin = InstantSTT\ntext = {text}")
                .replace("[llm.instant]\nplugin = InstantLLM", "\n\n".join(
                    f"[llm.{name}]\n" + "\n".join(f"{key} = {value}" for key, value in keys.items()) for name, keys in sections.items())))
    return template


@contextlib.contextmanager
def call(chain, words=1, pause=6, profile="", seconds=30, environment=None, **sections):
    """A call in which the caller says something `words` times, with `pause` seconds between."""
    said = sound.voice(0.8)
    parts = [sound.silence(0.6)]
    for _ in range(words):
        parts += [said, sound.silence(pause)]
    with Host(template=configuration(chain, **sections), profile=profile, environment=environment) as host:
        with Baresip(sound.joined(*parts), seconds=seconds) as phone:
            phone.dial(host)
            yield host, phone
            phone.hang_up()
        host.wait_for("ended")


class Replies(unittest.TestCase):
    """An answer is heard, and the question reached the server as it was said."""

    def check(self, host, phone):
        host.wait_for("caller", text=TURKISH)
        self.assertEqual(host.wait_for("agent", seconds=15)["heard"], ANSWER)
        heard = phone.heard()
        first, last = sound.spans(heard)[-1]
        # 78 characters at 15 a second.
        self.assertGreater((last - first) / 8000, 4)

    def test_ollama(self):
        with Peer("ollama") as peer:
            peer.script(replies=[ANSWER], tokenMs=10)
            section = {"plugin": "LLMOllama", "url": f"http://{peer.authority}", "model": "llama3.2", "stop": "[\"Arayan:\"]"}
            with call(["ollama"], profile="prompt = Kısa konuş, İnci.", ollama=section) as (host, phone):
                self.check(host, phone)
            chats = peer.asked("/api/chat")
        warm, question = chats[0]["body"], chats[1]["body"]
        self.assertEqual((warm["messages"], warm["keep_alive"]), ([], -1))
        self.assertEqual((question["think"], question["stream"], question["options"]["stop"]), (False, True, ["Arayan:"]))
        self.assertEqual(question["messages"][0]["content"], "Kısa konuş, İnci.")
        self.assertEqual(question["messages"][-1], {"role": "user", "content": TURKISH})
        self.assertIn("end_call", [tool["function"]["name"] for tool in question["tools"]])
        # A question with another num_ctx than the warm-up's would have loaded it twice.
        self.assertEqual(warm["options"]["num_ctx"], question["options"]["num_ctx"])

    def test_openai(self):
        with Peer("openai", "--flavour", "groq") as peer:
            peer.script(replies=[ANSWER], tokenMs=10, key="sk-of-the-test")
            section = {"plugin": "LLMOpenAI", "url": f"http://{peer.authority}/v1", "model": "test-model",
                       "api_key": "${{secret:GROQ_API_KEY}}"}
            with call(["groq"], environment={"GROQ_API_KEY": "sk-of-the-test"}, groq=section) as (host, phone):
                self.check(host, phone)
                self.assertNotIn("sk-of-the-test", host.said())
            question = peer.log["requests"][0]
        self.assertEqual(question["headers"]["authorization"], "Bearer sk-of-the-test")
        self.assertEqual(question["body"]["messages"][-1], {"role": "user", "content": TURKISH})

    def test_llama(self):
        with Peer("llama_ws") as peer:
            peer.script(replies=["Merhaba.", ANSWER], tokenMs=10, rag="şubeler.txt")
            section = {"plugin": "LLMLlama", "url": f"ws://{peer.authority}"}
            with call(["llama"], words=2, pause=3, llama=section) as (host, phone):
                host.wait_for("agent", heard="Merhaba.")
                self.check(host, phone)
            first, second = [question["question"] for question in peer.log["questions"]]
        self.assertEqual(first["messages"][-1]["content"], TURKISH)
        self.assertEqual(second["messages"][-1]["content"],
                         f"Konuşmanın buraya kadarki kısmı:\nArayan: {TURKISH}\nSen: Merhaba.\n\nArayan şimdi diyor ki: {TURKISH}")
        self.assertEqual((second["use_rag"], second["max_tokens"], second["temperature"]), (True, 80, 0.2))


class Interruptions(unittest.TestCase):
    """A barge-in reaches the vendor as the end of a connection."""

    PROFILE = "barge_in_ms = 300"

    def check(self, host):
        host.wait_for("bargeIn", seconds=15)
        self.assertTrue(host.wait_for("agent")["interrupted"])
        host.wait_for("caller", seconds=10)

    def test_ollama_and_openai_stop_working_when_the_caller_interrupts(self):
        for name, plugin, path, extra in (("ollama", "LLMOllama", "", {"model": "llama3.2"}),
                                          ("openai", "LLMOpenAI", "/v1", {"model": "test-model"})):
            with self.subTest(plugin), Peer(name) as peer:
                # 32 words, 300 ms each: without the barge-in it would write for ten seconds.
                peer.script(replies=[LONG, "Tamam."], tokenMs=300)
                section = {"plugin": plugin, "url": f"http://{peer.authority}{path}", **extra}
                with call(["one"], words=2, pause=2.5, profile=self.PROFILE, one=section) as (host, phone):
                    self.check(host)
                    wait_until(lambda: peer.log["left"] >= 1, 2, f"{plugin} did not close the vendor's connection")
                    self.assertEqual(host.wait_for("agent", seconds=15)["heard"], "Tamam.")

    def test_llama_answers_the_next_question_on_the_spare_connection(self):
        with Peer("llama_ws") as peer:
            peer.script(replies=[LONG, "Tamam."], tokenMs=300)
            section = {"plugin": "LLMLlama", "url": f"ws://{peer.authority}", "history": "none"}
            with call(["llama"], words=2, pause=2.5, profile=self.PROFILE, llama=section) as (host, phone):
                self.check(host)
                self.assertEqual(host.wait_for("agent", seconds=15)["heard"], "Tamam.")
            log = peer.log
        first, second = log["questions"][0], log["questions"][-1]
        self.assertNotEqual(first["connection"], second["connection"])
        self.assertGreaterEqual(log["left"], 1)


class Faults(unittest.TestCase):
    def test_a_429_with_a_short_wait_is_kept_and_the_caller_hears_one_answer(self):
        with Peer("openai") as peer:
            peer.script(replies=[ANSWER], faults=[{"status": 429, "headers": {"retry-after-ms": "300"}}])
            section = {"plugin": "LLMOpenAI", "url": f"http://{peer.authority}/v1", "model": "test-model"}
            with call(["openai"], profile="early_start = no", openai=section) as (host, phone):
                self.assertEqual(host.wait_for("agent", seconds=15)["heard"], ANSWER)
                self.assertFalse([event for event in host.events if event["event"] == "failover"])
            refused, answered = peer.log["requests"]
        self.assertGreaterEqual(answered["at"] - refused["at"], 0.3)

    def test_a_model_that_is_dead_one_that_waits_and_one_that_breaks_off_are_followed_by_the_next(self):
        """Nothing listens at the first; the second wants to be asked in a minute; the third breaks before its first word."""
        with Peer("openai") as busy, Peer("ollama") as broken, Peer("llama_ws") as peer:
            busy.script(faults=[{"status": 429, "headers": {"Retry-After": "60"}}] * 9)
            broken.script(faults=[{"path": "/api/chat", "status": 500, "error": "llama runner process has terminated"}] * 9)
            peer.script(replies=[ANSWER])
            with call(["dead", "busy", "broken", "llama"],
                      dead={"plugin": "LLMOpenAI", "url": "http://127.0.0.1:9/v1"},
                      busy={"plugin": "LLMOpenAI", "url": f"http://{busy.authority}/v1", "model": "test-model"},
                      broken={"plugin": "LLMOllama", "url": f"http://{broken.authority}", "model": "llama3.2"},
                      llama={"plugin": "LLMLlama", "url": f"ws://{peer.authority}"}) as (host, phone):
                self.assertEqual(host.wait_for("agent", seconds=15)["heard"], ANSWER)
                failovers = {event["from"]: event for event in host.events if event["event"] == "failover"}
        self.assertEqual(set(failovers), {"llm.dead", "llm.busy", "llm.broken"})
        self.assertEqual(failovers["llm.busy"]["vendorCode"], "rate_limit_exceeded")
        self.assertIn("llama runner process has terminated", failovers["llm.broken"]["reason"])

    def test_a_missing_model_is_pulled_and_then_answers(self):
        with Peer("ollama") as peer:
            peer.script(models=[], library=["llama3.2"], replies=[ANSWER])
            section = {"plugin": "LLMOllama", "url": f"http://{peer.authority}", "model": "llama3.2", "pull": "yes"}
            with call(["ollama"], ollama=section) as (host, phone):
                self.assertEqual(host.wait_for("agent", seconds=15)["heard"], ANSWER)
                said = host.said()
        self.assertIn("llama3.2 was pulled", said)
        self.assertRegex(said, r"percent=[5-9]0")
        self.assertIn("llama3.2 is loaded", said)


class Clients(unittest.TestCase):
    def test_ollamas_own_client_understands_our_ollama(self):
        """What the peer sends is what Ollama sends, as far as the official client can tell."""
        python = ROOT / ".cache/venv-tests/bin/python"
        if not python.exists() and subprocess.run([ROOT / "scripts/test-clients"]).returncode != 0:
            self.skipTest("scripts/test-clients could not install Ollama's client")
        program = """
import sys, ollama
client = ollama.Client(host=sys.argv[1])
words = [part.message.content for part in client.chat("llama3.2", [{"role": "user", "content": "İyi günler"}], stream=True, think=False)]
assert "".join(words) == "Merhaba, İnci Hanım.", words
last = list(client.chat("llama3.2", [{"role": "user", "content": "x"}], stream=True))[-1]
assert (last.done, last.done_reason) == (True, "stop") and last.eval_count > 0, last
call = client.chat("llama3.2", [{"role": "user", "content": "x"}], tools=[{"type": "function", "function": {"name": "f"}}]).message.tool_calls[0]
assert (call.function.name, call.function.arguments) == ("f", {"city": "Iğdır"}), call
assert client.list().models[0].model == "llama3.2:latest"
assert "tools" in client.show("llama3.2").capabilities
assert [step.status for step in client.pull("qwen", stream=True)][-1] == "success"
try:
    client.chat("gone", [])
    raise SystemExit("a missing model was answered")
except ollama.ResponseError as error:
    assert error.status_code == 404 and "not found" in error.error, error
"""
        with Peer("ollama") as peer:
            peer.script(replies=["Merhaba, İnci Hanım.", "x", {"tool": "f", "arguments": {"city": "Iğdır"}}], library=["qwen"])
            run = subprocess.run([python, "-c", program, f"http://{peer.authority}"], capture_output=True, text=True, timeout=30)
        self.assertEqual(run.returncode, 0, run.stderr[-2000:])


class Bench(unittest.TestCase):
    def bench(self, sections, *words):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vchost.ini"
            path.write_text("\n".join(f"[llm.{name}]\n{text}\n" for name, text in sections.items()))
            return subprocess.run([BUILT / "vchost", "models", "bench", "--config", path, "--plugins", PLUGINS, *words],
                                  capture_output=True, text=True, timeout=120, env=dict(os.environ, XDG_CACHE_HOME=folder))

    def test_the_quick_model_meets_the_target_and_the_slow_one_does_not(self):
        with Peer("ollama") as quick, Peer("openai") as slow:
            quick.script(replies=["one two three four five six"], tokenMs=20)
            slow.script(replies=["one two three four five six"], tokenMs=20, firstMs=700)
            sections = {"slow": f"plugin = LLMOpenAI\nurl = http://{slow.authority}/v1\nmodel = test-model",
                        "quick": f"plugin = LLMOllama\nurl = http://{quick.authority}\nmodel = llama3.2",
                        "gone": "plugin = LLMOpenAI\nurl = http://127.0.0.1:9/v1"}
            run = self.bench(sections, "--runs", "1", "--warm-up", "0", "--json")
            table = self.bench({"quick": sections["quick"]}, "quick", "--model", "llama3.2", "--model", "gone", "--runs", "1")
            bodies = [request["body"] for request in slow.log["requests"]], [request["body"] for request in quick.asked("/api/chat")]
        self.assertEqual(run.returncode, 1, run.stderr)
        report = json.loads(run.stdout)
        self.assertEqual([model["name"] for model in report["models"]], ["llm.quick", "llm.slow", "llm.gone"])
        quickest, slowest, gone = report["models"]
        self.assertEqual([model["meetsTarget"] for model in report["models"]], [True, False, False])
        self.assertGreaterEqual(slowest["firstTokenMs"]["median"], 700)
        for model in (quickest, slowest):
            self.assertTrue(10 < model["tokensPerSecond"]["median"] <= 51, model)
        self.assertIn("127.0.0.1:9", gone["error"])
        # The same questions, after a warm-up each.
        self.assertEqual([body["messages"][-1] for body in bodies[0]], [body["messages"][-1] for body in bodies[1][1:6]])
        self.assertEqual(table.returncode, 1)
        self.assertRegex(table.stdout, r"(?m)^llm\.quick llama3\.2 +\d+ ms .* yes$")
        self.assertRegex(table.stdout, r"(?m)^llm\.quick gone +- .* -$")

    def test_llama_cpp_of_the_local_stack_is_measured(self):
        with Services("llama") as services:
            run = self.bench({"local": f"plugin = LLMOpenAI\nurl = {services.url('llama')}/v1\nmax_tokens = 40"},
                             "--runs", "1", "--max-tokens", "40")
        print("\n" + run.stdout, end=" ")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertRegex(run.stdout, r"(?m)^llm\.local +\d+ ms +\d+ ms +[\d.]+ +\d+ ms +\d+ +0 +(yes|no)$")


if __name__ == "__main__":
    unittest.main()

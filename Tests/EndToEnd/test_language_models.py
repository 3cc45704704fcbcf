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
# A function that the host does not have: its result says so, and the model goes on.
FUNCTION = {"tool": "look_up", "arguments": {"city": "Iğdır"}}
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


def configuration(profiles, sections):
    """A host with a profile for each name, which answers under that name; `profiles[name]` has its models and whatever else it has."""
    head, rest = INSTANT.split("[profile.default]")
    def section(title, keys):
        return f"[{title}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())
    written = [section(f"profile.{name}", {"match": name, "language": "tr", "stt": "stt.instant", "tts": "tts.instant", **keys})
               for name, keys in profiles.items()]
    written += [section(f"llm.{name}", keys) for name, keys in sections.items()]
    # Four times as fast as a person: what is measured here is not the voice.
    written += [section("stt.instant", {"plugin": "InstantSTT", "text": TURKISH}),
                section("tts.instant", {"plugin": "InstantTTS", "characters_per_second": 60}),
                section("tts.slow", {"plugin": "InstantTTS"})]
    return head + "\n".join(written) + "\n[telephony.sip]" + rest.split("[telephony.sip]")[1]


class Caller:
    """A softphone in a call of its own, and what the host tells of that call."""

    def __init__(self, host, phone, number):
        self.host, self.phone, self.seen = host, phone, 0
        phone.dial(host, number)
        self.id = phone.wait_for("CALL_ESTABLISHED")["id"]

    def wait_for(self, name, seconds=15, **members):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for event in self.host.events[self.seen:]:
                self.seen += 1
                if (event["event"], event["protocolCall"]) == (name, self.id) and all(event.get(key) == value for key, value in members.items()):
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no {name} {members} within {seconds} s: {self.events()[-12:]}\n{self.host.said()}")

    def events(self, name=None):
        return [event for event in self.host.events if event["protocolCall"] == self.id and name in (None, event["event"])]


@contextlib.contextmanager
def calls(profiles, sections, words=1, pause=6, environment=None):
    """A call to every profile at the same time, in which the caller says something `words` times, `pause` seconds apart."""
    said = sound.joined(sound.silence(0.4), *[sound.joined(sound.voice(0.7), sound.silence(pause)) for _ in range(words)])
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(Host(template=configuration(profiles, sections), environment=environment))
        phones = {name: stack.enter_context(Baresip(said)) for name in profiles}
        yield host, {name: Caller(host, phone, name) for name, phone in phones.items()}


class Replies(unittest.TestCase):
    def test_turkish_is_asked_and_answered_intact_by_each_of_them(self):
        """Ollama, Groq and the llama service: the question reaches the server as it was said, and the answer is heard. The first two
        call a function before, whose result comes back to them in their own shape."""
        with Peer("ollama") as ollama, Peer("openai", "--flavour", "groq") as groq, Peer("llama_ws") as llama:
            ollama.script(replies=[FUNCTION, ANSWER], tokenMs=10)
            groq.script(replies=[FUNCTION, ANSWER], tokenMs=10, key="sk-of-the-test")
            llama.script(replies=["Merhaba.", ANSWER], tokenMs=10, rag="şubeler.txt")
            sections = {
                "ollama": {"plugin": "LLMOllama", "url": f"http://{ollama.authority}", "model": "llama3.2", "stop": '["Arayan:"]'},
                "groq": {"plugin": "LLMOpenAI", "url": f"http://{groq.authority}/v1", "model": "test-model",
                         "api_key": "${{secret:GROQ_API_KEY}}"},
                "llama": {"plugin": "LLMLlama", "url": f"ws://{llama.authority}"}}
            profiles = {name: {"llm": f"llm.{name}", "prompt": "Kısa konuş, İnci.", "early_start": "no"} for name in sections}
            with calls(profiles, sections, words=2, pause=2.5, environment={"GROQ_API_KEY": "sk-of-the-test"}) as (host, callers):
                callers["llama"].wait_for("agent", heard="Merhaba.")
                for name, caller in callers.items():
                    with self.subTest(name):
                        self.assertEqual(caller.wait_for("agent")["heard"], ANSWER)
                        first, last = sound.spans(caller.phone.heard())[-1]
                        # 78 characters at 60 a second.
                        self.assertGreater((last - first) / 8000, 0.9)
                self.assertNotIn("sk-of-the-test", host.said())
            self.check_ollama(ollama.asked("/api/chat"))
            asked, again = groq.log["requests"][:2]
            self.assertEqual(asked["headers"]["authorization"], "Bearer sk-of-the-test")
            self.assertEqual(asked["body"]["messages"][-1], {"role": "user", "content": TURKISH})
            called, result = again["body"]["messages"][-2:]
            self.assertEqual(json.loads(called["tool_calls"][0]["function"]["arguments"]), FUNCTION["arguments"])
            self.assertEqual((result["role"], result["tool_call_id"]), ("tool", "call_abc"))
            self.assertIn("look_up", result["content"])
            first, second = [question["question"] for question in llama.log["questions"]][:2]
        self.assertEqual(first["messages"], [{"role": "system", "content": "Kısa konuş, İnci."}, {"role": "user", "content": TURKISH}])
        self.assertEqual(second["messages"][-1]["content"],
                         f"Konuşmanın buraya kadarki kısmı:\nArayan: {TURKISH}\nSen: Merhaba.\n\nArayan şimdi diyor ki: {TURKISH}")
        self.assertEqual((second["use_rag"], second["max_tokens"], second["temperature"]), (True, 80, 0.2))

    def check_ollama(self, chats):
        warm, question, again = [chat["body"] for chat in chats[:3]]
        self.assertEqual((warm["messages"], warm["keep_alive"]), ([], -1))
        self.assertEqual((question["think"], question["stream"], question["options"]["stop"]), (False, True, ["Arayan:"]))
        self.assertEqual(question["messages"][0]["content"], "Kısa konuş, İnci.")
        self.assertEqual(question["messages"][-1], {"role": "user", "content": TURKISH})
        self.assertIn("end_call", [tool["function"]["name"] for tool in question["tools"]])
        called, result = again["messages"][-2:]
        self.assertEqual(called["tool_calls"][0]["function"], {"name": "look_up", "arguments": FUNCTION["arguments"]})
        self.assertEqual((result["role"], result["tool_name"]), ("tool", "look_up"))
        # A question with another num_ctx than the warm-up's would have loaded it twice.
        self.assertEqual(warm["options"]["num_ctx"], question["options"]["num_ctx"])


class Interruptions(unittest.TestCase):
    def test_a_barge_in_ends_the_vendors_work_and_the_next_question_is_answered_at_once(self):
        """HTTP: the connection is closed. The llama service: that too, and the next question goes out on the spare."""
        with Peer("ollama") as ollama, Peer("openai") as openai, Peer("llama_ws") as llama:
            peers = {"ollama": ollama, "openai": openai, "llama": llama}
            for peer in peers.values():
                # 36 words, 300 ms each: without the barge-in it would write for ten seconds.
                peer.script(replies=[LONG, "Tamam."], tokenMs=300)
            sections = {"ollama": {"plugin": "LLMOllama", "url": f"http://{ollama.authority}", "model": "llama3.2"},
                        "openai": {"plugin": "LLMOpenAI", "url": f"http://{openai.authority}/v1", "model": "test-model"},
                        "llama": {"plugin": "LLMLlama", "url": f"ws://{llama.authority}", "history": "none"}}
            profiles = {name: {"llm": f"llm.{name}", "barge_in_ms": 300, "early_start": "no", "tts": "tts.slow"} for name in sections}
            with calls(profiles, sections, words=2, pause=3.5) as (host, callers):
                for name, caller in callers.items():
                    with self.subTest(name):
                        interrupted = caller.wait_for("bargeIn")["receivedAt"]
                        self.assertTrue(caller.wait_for("agent")["interrupted"])
                        self.assertEqual(caller.wait_for("agent")["heard"], "Tamam.")
                        wait_until(lambda: peers[name].log["left"] >= 1, 2, f"nobody closed the connection to {name}")
                        left = (peers[name].log["leftAt"][0] - interrupted) * 1000
                        print(f"\n  {name} noticed the barge-in {left:.0f} ms after its commit", end=" ")
                        # The word that is due 300 ms after the last is not written any more, also on a busy machine.
                        self.assertLess(left, 250)
            log = llama.log
        self.assertNotEqual(log["questions"][0]["connection"], log["questions"][-1]["connection"])


class Faults(unittest.TestCase):
    def test_a_429_is_waited_for_a_dead_model_is_followed_by_the_next_and_a_missing_one_is_pulled(self):
        """Of the chain nothing listens at the first, the second wants to be asked in a minute, and the third breaks before its first word."""
        with Peer("openai") as limited, Peer("openai") as busy, Peer("ollama") as broken, Peer("ollama") as empty, Peer("llama_ws") as llama:
            limited.script(replies=[ANSWER], faults=[{"status": 429, "headers": {"retry-after-ms": "300"}}])
            busy.script(faults=[{"status": 429, "headers": {"Retry-After": "60"}}] * 9)
            broken.script(faults=[{"path": "/api/chat", "status": 500, "error": "llama runner process has terminated"}] * 9)
            empty.script(models=[], library=["llama3.2"], replies=[ANSWER])
            llama.script(replies=[ANSWER])
            sections = {"limited": {"plugin": "LLMOpenAI", "url": f"http://{limited.authority}/v1", "model": "test-model"},
                        "dead": {"plugin": "LLMOpenAI", "url": "http://127.0.0.1:9/v1"},
                        "busy": {"plugin": "LLMOpenAI", "url": f"http://{busy.authority}/v1", "model": "test-model"},
                        "broken": {"plugin": "LLMOllama", "url": f"http://{broken.authority}", "model": "llama3.2", "warm": "no"},
                        "llama": {"plugin": "LLMLlama", "url": f"ws://{llama.authority}"},
                        "empty": {"plugin": "LLMOllama", "url": f"http://{empty.authority}", "model": "llama3.2", "pull": "yes"}}
            profiles = {"limited": {"llm": "llm.limited", "early_start": "no"}, "empty": {"llm": "llm.empty"},
                        "chain": {"llm": "llm.dead, llm.busy, llm.broken, llm.llama"}}
            with calls(profiles, sections) as (host, callers):
                for name, caller in callers.items():
                    with self.subTest(name):
                        self.assertEqual(caller.wait_for("agent")["heard"], ANSWER)
                self.assertEqual(callers["limited"].events("failover"), [])
                failovers = {event["from"]: event for event in callers["chain"].events("failover")}
                said = host.said()
            refused, answered = limited.log["requests"]
        self.assertGreaterEqual(answered["at"] - refused["at"], 0.3)
        self.assertEqual(set(failovers), {"llm.dead", "llm.busy", "llm.broken"})
        self.assertEqual(failovers["llm.busy"]["vendorCode"], "rate_limit_exceeded")
        self.assertIn("llama runner process has terminated", failovers["llm.broken"]["reason"])
        self.assertIn("llama3.2 was pulled", said)
        self.assertRegex(said, r"percent=[5-9]0")
        self.assertIn("llama3.2 is loaded", said)


class Clients(unittest.TestCase):
    def test_ollamas_own_client_understands_our_ollama(self):
        """What the peer sends is what Ollama sends, as far as the official client can tell."""
        python = ROOT / ".cache/venv-tests/bin/python"
        if not python.exists() or subprocess.run([python, "-c", "import ollama"], capture_output=True).returncode != 0:
            self.skipTest("the package ollama is not installed; run scripts/test-clients")
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
    def bench(self, sections, *words, prompts=None):
        with tempfile.TemporaryDirectory() as folder:
            if prompts:
                (pathlib.Path(folder) / "prompts.json").write_text(json.dumps(prompts))
                words += ("--prompts", f"{folder}/prompts.json")
            path = pathlib.Path(folder) / "vchost.ini"
            path.write_text("\n".join(f"[llm.{name}]\n{text}\n" for name, text in sections.items()))
            return subprocess.run([BUILT / "vchost", "models", "bench", "--config", path, "--plugins", PLUGINS, *words],
                                  capture_output=True, text=True, timeout=120, env=dict(os.environ, XDG_CACHE_HOME=folder))

    def test_the_quick_model_meets_the_target_and_the_slow_one_does_not(self):
        with Peer("ollama") as quick, Peer("openai") as slow:
            quick.script(replies=["one two three four five six"], tokenMs=20)
            slow.script(replies=["one two three four five six"], tokenMs=20, firstMs=600)
            sections = {"slow": f"plugin = LLMOpenAI\nurl = http://{slow.authority}/v1\nmodel = test-model",
                        "quick": f"plugin = LLMOllama\nurl = http://{quick.authority}\nmodel = llama3.2",
                        "gone": "plugin = LLMOpenAI\nurl = http://127.0.0.1:9/v1"}
            run = self.bench(sections, "--runs", "1", "--warm-up", "0", "--json", prompts=["Açık mısınız?", "Peki pazar günü?"])
            bodies = [request["body"] for request in slow.log["requests"]], [request["body"] for request in quick.asked("/api/chat")]
            table = self.bench({"quick": sections["quick"]}, "quick", "--model", "llama3.2", "--model", "gone", "--runs", "1")
        self.assertEqual(run.returncode, 1, run.stderr)
        report = json.loads(run.stdout)
        self.assertEqual([model["name"] for model in report["models"]], ["llm.quick", "llm.slow", "llm.gone"])
        quickest, slowest, gone = report["models"]
        self.assertEqual([model["meetsTarget"] for model in report["models"]], [True, False, False])
        self.assertGreaterEqual(slowest["firstTokenMs"]["median"], 600)
        for model in (quickest, slowest):
            self.assertTrue(5 < model["tokensPerSecond"]["median"] <= 51, model)
        self.assertIn("127.0.0.1:9", gone["error"])
        # The same questions to both, after a first one that does not count.
        for asked in bodies:
            said = [body["messages"][-1]["content"] for body in asked if body["messages"]]
            self.assertEqual(said, ["Açık mısınız?", "Yes. Açık mısınız?", "Yes. Peki pazar günü?"])
        self.assertEqual(table.returncode, 1)
        self.assertRegex(table.stdout, r"(?m)^llm\.quick llama3\.2 +\d+ ms .* yes$")
        self.assertRegex(table.stdout, r"(?m)^llm\.quick gone +- .* -$")

    def test_llama_cpp_of_the_local_stack_is_measured(self):
        with Services("llama") as services:
            run = self.bench({"local": f"plugin = LLMOpenAI\nurl = {services.url('llama')}/v1\nmax_tokens = 40"},
                             "--runs", "2", "--max-tokens", "20", prompts=["What does a visit cost?"])
        print("\n" + run.stdout, end=" ")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertRegex(run.stdout, r"(?m)^llm\.local +\d+ ms +\d+ ms +[\d.]+ +\d+ ms +\d+ +0 +(yes|no)$")


if __name__ == "__main__":
    unittest.main()

"""A provider that fails is paid for by a few calls and not by every call, and is found again by one.

Of the chain `llm.sick, llm.well` the first answers 500 until it is healed. Both are servers on the wire: what they were not asked is
read in their own log.
"""

import contextlib
import json
import subprocess
import time
import unittest

import sound
from host import BUILT, INSTANT, Host
from phones import Baresip
from stack import wait_until
from test_language_models import Caller, Peer

# Long enough for the call that comes next to have been answered before it is over, also on a busy machine.
PAUSE_S = 6
TEMPLATE = INSTANT.replace(
    "[vchost]\n", "[vchost]\ncontrol_socket = {folder}/control.sock\nprovider_pause_s = %d\n" % PAUSE_S
).replace("llm = llm.instant", "llm = llm.sick, llm.well\nearly_start = no").replace("[llm.instant]\nplugin = InstantLLM", """\
[llm.sick]
plugin = LLMOpenAI
url = http://{sick}/v1
model = test-model

[llm.well]
plugin = LLMOpenAI
url = http://{well}/v1
model = test-model
""")
SENTENCE = sound.joined(sound.voice(0.7), sound.silence(2.5))


class CircuitBreaker(unittest.TestCase):
    def test_calls_that_fail_spare_the_next_one_and_one_call_finds_out_that_it_is_well_again(self):
        with contextlib.ExitStack() as stack:
            sick, well = stack.enter_context(Peer("openai")), stack.enter_context(Peer("openai"))
            sick.script(replies=["The sick one is healed."], faults=[{"status": 500, "message": "out of memory"}] * 20)
            well.script(replies=["The well one answers."])
            host = stack.enter_context(Host(template=TEMPLATE, sick=sick.authority, well=well.authority))
            phones = [stack.enter_context(Baresip(sound.joined(sound.silence(0.4), SENTENCE, SENTENCE))) for _ in range(5)]
            self.calls_that_fail(host, phones[:2])
            self.the_call_that_is_spared(host, phones[2], sick)
            for phone in phones[:3]:
                phone.hang_up()
            self.the_call_that_probes(host, phones[3:], sick)
            log = (host.folder / "host.log").read_text()
        self.assertEqual((log.count("is left alone by all calls"), log.count("answers again, after")), (1, 1), log)

    def calls_that_fail(self, host, phones):
        """Two calls, each with a question and its retry: the third failure of the four opens it."""
        callers = [Caller(host, phone, "desk") for phone in phones]
        for caller in callers:
            self.assertEqual(caller.wait_for("failover", to="llm.well")["from"], "llm.sick")
        self.opened = self.health(host, "open")
        self.assertEqual((self.opened["provider"], self.opened["pauseMs"]), ("llm.sick", PAUSE_S * 1000))
        self.assertIn("out of memory", self.opened["reason"])
        self.assertIn(self.opened["call"], [caller.events()[0]["call"] for caller in callers])

    def the_call_that_is_spared(self, host, phone, sick):
        """It goes to the next of the chain as if there were no other, and the operator sees why."""
        asked = len(sick.log["requests"])
        caller = Caller(host, phone, "desk")
        listing = self.listing(host)
        self.assertRegex(listing.stdout, r"llm.sick: left alone for another \d s: .*out of memory")
        rows = json.loads(self.listing(host, "--json").stdout)["providers"]
        self.assertEqual([(row["provider"], row["state"], row["openings"], row["failures"]) for row in rows], [("llm.sick", "open", 1, 4)])
        turn = caller.wait_for("turn", languageModel="llm.well")
        self.assertEqual((turn["retries"], caller.events("failover")), (0, []))
        self.assertEqual(len(sick.log["requests"]), asked)

    def the_call_that_probes(self, host, phones, sick):
        """Of two calls that come when the pause is over one asks it, and the other when that was answered."""
        sick.script(faults=[], firstMs=800)
        asked = len(sick.log["requests"])
        time.sleep(max(0, self.opened["receivedAt"] + PAUSE_S + 0.1 - time.monotonic()))
        callers = [Caller(host, phone, "desk") for phone in phones]
        for caller in callers:
            first, second = caller.wait_for("turn"), caller.wait_for("turn")
            self.assertEqual((first["retries"], second["retries"], second["languageModel"]), (0, 0, "llm.sick"))
        probed, closed = self.health(host, "halfOpen"), self.health(host, "closed")
        self.assertIn(probed["call"], [caller.events()[0]["call"] for caller in callers])
        self.assertEqual(closed["call"], probed["call"])
        self.assertGreaterEqual(closed["afterMs"], PAUSE_S * 1000)
        before = [request for request in sick.log["requests"][asked:] if request["at"] < closed["receivedAt"]]
        self.assertEqual(len(before), 1)
        self.assertNotIn("llm.sick", self.listing(host).stdout)

    def health(self, host, state):
        """The event of that state; the second would be one too many."""
        def of_state():
            return [event for event in host.events if event["event"] == "providerHealth" and event["state"] == state]
        wait_until(of_state, 10, f"no providerHealth {state}; {host.said()}")
        self.assertEqual(len(of_state()), 1)
        return of_state()[0]

    def listing(self, host, *arguments):
        return subprocess.run([BUILT / "vchost", "plugins", "list", "--host", host.folder / "control.sock", *arguments],
                              capture_output=True, text=True, timeout=30)


if __name__ == "__main__":
    unittest.main()

"""Real calls through a plugin that judges the host: whatever the contract promises to plugins, it sees kept."""

import shutil
import time
import unittest

import sound
from hostcheck import CANARY, UNLISTED, CheckedHost, plugins
from phones import Baresip, Sipp

TONE_HZ = 330
LONG = "This is a long sentence that goes on for a while so that there is time to interrupt it. " * 3
CALLS = 20
# What a call must have led to; the others need a fault or a tool.
USED = ["provider.create", "provider.start", "provider.destroy", "provider.open", "session.cancel", "session.credit",
        "session.close", "session.destroy", "stt.begin", "stt.push", "stt.finalize", "llm.request", "tts.speak",
        "turn.push", "turn.transcript", "turn.decide", "vad.process", "timer.fire"]


class HostCheck(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.plugins = plugins()
        cls.addClassCleanup(shutil.rmtree, cls.plugins, ignore_errors=True)

    def judge(self, host, calls):
        """Ends the host; its report has no faults, every slot, and nothing left open."""
        report = host.finish()
        print("\n  " + ", ".join(f"{slot} {count}" for slot, count in report["calls"].items()), end=" ")
        self.assertEqual(report["faults"], {}, "what the host did wrong")
        self.assertEqual(report["open"], {"sessions": 0, "providers": 0})
        self.assertEqual(report["ever"]["providers"], 5)
        self.assertGreaterEqual(report["ever"]["sessions"], 5 * calls)
        self.assertNotIn(CANARY, host.whole_log())
        self.assertNotIn(UNLISTED, host.whole_log())
        # The plugin asks for a secret that its manifest does not list, to see it refused; nothing else is amiss.
        faults = [line for line in host.whole_log().splitlines() if "-fault" in line and "HOSTCHECK_UNLISTED" not in line]
        self.assertEqual(faults, [])
        return report["calls"]

    def test_a_call_with_a_greeting_a_turn_a_barge_in_and_a_hang_up(self):
        words = sound.voice(1.2)
        microphone = sound.joined(sound.silence(3.5), words, sound.silence(2.5), words)
        with CheckedHost(self.plugins, greeting="Good morning, what can I do for you?", reply=LONG) as host:
            with Baresip(microphone) as phone:
                phone.dial(host)
                host.wait_for("agent", heard="Good morning, what can I do for you?")
                host.wait_for("caller", text="What are your opening hours?", seconds=15)
                time.sleep(len(microphone) / 8000 - 2)
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")
                heard = phone.heard()
            ended = host.wait_for("ended")
            used = self.judge(host, 1)
        self.assertGreaterEqual(ended["bargeIns"], 1)
        for slot in USED:
            self.assertGreater(used[slot], 0, f"{slot} was never called")
        # What was overwritten after `emit` was not played: the tone is pure.
        first, last = sound.spans(heard)[0]
        self.assertGreater(sound.share_of_pitch(heard[first + 800:last - 800], TONE_HZ), 0.9)

    def test_20_calls_at_once(self):
        media = sound.joined(sound.voice(0.5), sound.silence(1.5))
        with CheckedHost(self.plugins, greeting="Hello.", profile="end_of_turn_ms = 200") as host:
            counts = Sipp("talk", host.sip, calls=CALLS, rate=20, media=media, timeout=40).finish()
            self.assertEqual(counts["SuccessfulCall(C)"], CALLS)
            for _ in range(CALLS):
                self.assertGreater(host.wait_for("ended")["callerTurns"], 0)
            self.judge(host, CALLS)

    def test_a_tool_is_called_and_its_result_comes_back(self):
        """The model's tool does not exist; the model is told so, under the same request, and goes on."""
        words = sound.voice(1.2)
        with CheckedHost(self.plugins, reply="I call a tool now.") as host, Baresip(sound.joined(sound.silence(1), words)) as phone:
            phone.dial(host)
            host.wait_for("agent", heard="I call a tool now.", seconds=15)
            phone.hang_up()
            host.wait_for("ended")
            self.assertGreater(self.judge(host, 1)["llm.tool_result"], 0)

    def test_settings_that_the_schema_refuses_never_reach_the_plugin(self):
        for line in ("mode = loose", "is_loud = perhaps", "ready_ms = 5000", "ready_ms = soon", "nonsense = 1"):
            with self.subTest(line):
                with self.assertRaisesRegex(AssertionError, "did not start"):
                    with CheckedHost(self.plugins, telephony=f"[llm.other]\nplugin = HostCheck\n{line}"):
                        pass


if __name__ == "__main__":
    unittest.main()

"""A softphone calls: both directions, digits, hold, hang-up from each side, and an interruption on the caller's own clock."""

import statistics
import tempfile
import time
import unittest
import pathlib
import shutil

import sound
from host import INSTANT, Host
from phones import Baresip

# InstantTTS hums a tone of this pitch for as long as a person would need for the text, 15 characters a second.
HUM_HZ = 220
LONG = "This is a long sentence that goes on for a while so that there is time to interrupt it. " * 3


class Softphone(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="softphone-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_audio_goes_both_ways_and_the_hosts_recording_has_both_sides(self):
        """The caller hears the greeting's tone and the answer; the recording has the words of a person, and the tone."""
        words = sound.recording_of_a_person("trouble")
        with Host(greeting="Good morning, what can I do for you?", recordings=self.folder) as host:
            with Baresip(sound.joined(sound.silence(4), words)) as phone:
                phone.dial(host)
                time.sleep(0.5)
                host.wait_for("caller", text="What are your opening hours?")
                # InstantLLM says the caller's words again.
                host.wait_for("agent", heard="What are your opening hours?")
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")
                heard = phone.heard()
            ended = host.wait_for("ended")
            caller, agent = self.recording(ended["call"])
        self.assertEqual((ended["end"], ended["callerTurns"]), ("farEnd.caller", 1))

        spans = sound.spans(heard)
        self.assertEqual(len(spans), 2, f"greeting and answer: {spans}")
        for first, last in spans:
            self.assertGreater(sound.share_of_pitch(heard[first + 800:last - 800], HUM_HZ), 0.9, "the agent's tone")
        # 36 characters and 28 of them, at 15 a second.
        self.assertAlmostEqual((spans[0][1] - spans[0][0]) / 8000, 2.4, delta=0.3)
        self.assertAlmostEqual((spans[1][1] - spans[1][0]) / 8000, 1.87, delta=0.3)
        self.assertGreater(sound.likeness(words, caller), 0.95, "the caller's words in the host's recording")
        self.assertGreater(sound.likeness(heard, agent), 0.95, "what was heard, in the host's recording")
        # A side is one person's: the tone is not on the caller's.
        self.assertLess(sound.share_of_pitch(caller, HUM_HZ), 0.1)

    def test_an_opus_call_is_a_wideband_conversation(self):
        """Offered Opus alone, the host talks Opus: both sides in the recording, at 16 kHz."""
        words = sound.recording_of_a_person("trouble")
        with Host(greeting="Good morning, what can I do for you?", recordings=self.folder) as host:
            with Baresip(sound.joined(sound.silence(4), words), codec="opus") as phone:
                phone.dial(host)
                host.wait_for("agent", heard="Good morning, what can I do for you?")
                host.wait_for("caller", text="What are your opening hours?")
                host.wait_for("agent", heard="What are your opening hours?")
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")
                self.assertGreater(max(sound.levels(phone.heard())), sound.LOUD, "the agent is heard")
            ended = host.wait_for("ended")
            time.sleep(0.5)
            for side in (0, 1):
                samples, rate = sound.read(self.folder / f"{ended['call']}.wav", side)
                self.assertEqual(rate, 16000)
                self.assertGreater(max(sound.levels(samples)), sound.LOUD, f"side {side} is silent")

    def test_digits_arrive_as_telephone_events(self):
        """RFC 4733, as softphones send a key press."""
        with Host() as host, Baresip() as phone:
            phone.dial(host)
            time.sleep(0.5)
            phone.press("159#")
            time.sleep(0.5)
            phone.hang_up()
            self.assertEqual(host.wait_for("ended")["digits"], "159#")

    def test_a_call_on_hold_is_silent_and_goes_on_when_it_is_taken_back(self):
        """Heard until the hold, in baresip; sent after it, in the host's recording: baresip 1.0 records no resumed call."""
        with Host(greeting=LONG, profile="no_input_ms = 60000", recordings=self.folder) as host, Baresip() as phone:
            phone.dial(host)
            time.sleep(1.5)
            phone.press("x")
            before = len(phone.heard())
            time.sleep(1.5)
            during = phone.heard()[before:]
            phone.press("X")
            time.sleep(2)
            phone.hang_up()
            ended = host.wait_for("ended")
            _, agent = self.recording(ended["call"])
        self.assertGreater(before, 8000, "the agent is heard before the hold")
        self.assertLess(max(sound.levels(during), default=0), sound.LOUD, "the agent is heard by a caller on hold")
        self.assertEqual((ended["end"], ended["bargeIns"]), ("farEnd.caller", 0))
        # Sound, the silence of the hold, and sound again to the end.
        (_, paused), (resumed, last) = sound.spans(agent, pause_frames=25)
        self.assertAlmostEqual((resumed - paused) / 8000, 1.8, delta=0.4)
        self.assertGreater((last - resumed) / 8000, 1.5)

    def test_the_agent_hangs_up_after_its_goodbye_was_heard(self):
        """The model is LLMRules here, which can end a call."""
        knowledge = self.folder / "desk.knowledge"
        knowledge.write_text("[knowledge]\nlanguage = en\n\n[intent goodbye]\nask = goodbye\n"
                             "say = Goodbye, and thank you for calling.\ndo = goodbye\n")
        template = (INSTANT.replace("plugin = InstantLLM", f"plugin = LLMRules\nknowledge = {knowledge}")
                    .replace("plugin = InstantSTT", "plugin = InstantSTT\ntext = Goodbye."))
        with Host(template=template) as host:
            with Baresip(sound.joined(sound.silence(0.5), sound.recording_of_a_person("goodbye"))) as phone:
                phone.dial(host)
                phone.wait_for("CALL_CLOSED")
                heard = phone.heard()
            ended = host.wait_for("ended")
        self.assertEqual(ended["end"], "host.agentDone")
        self.assertEqual(ended["lines"][-1]["text"], "Goodbye, and thank you for calling.")
        first, last = sound.spans(heard)[-1]
        # 35 characters at 15 a second: said to its end before the call went.
        self.assertAlmostEqual((last - first) / 8000, 35 / 15, delta=0.3)

    def test_the_caller_hangs_up_while_the_agent_speaks(self):
        with Host(greeting=LONG) as host, Baresip() as phone:
            phone.dial(host)
            time.sleep(1)
            began = time.monotonic()
            phone.hang_up()
            ended = host.wait_for("ended")
            self.assertLess(time.monotonic() - began, 1)
        self.assertEqual((ended["end"], ended["bargeIns"]), ("farEnd.caller", 0))
        self.assertLess(ended["durationMs"], 2500)

    def test_an_interruption_silences_the_agent_within_400_ms_on_the_callers_clock(self):
        """P5 from the caller's side: from the first sound he sends to the last of the agent that he hears."""
        words = sound.recording_of_a_person("interruption")
        first = next(i for i, s in enumerate(words) if abs(s) > sound.LOUD)
        words = words[first:]
        # He speaks, is answered, interrupts the answer, is answered again, and so on.
        microphone = sound.joined(sound.silence(2), *(sound.joined(words, sound.silence(2.5)) for _ in range(5)))
        template = INSTANT.replace("plugin = InstantLLM", f"plugin = InstantLLM\nreply = {LONG}")
        with Host(template=template, greeting=LONG) as host:
            with Baresip(microphone) as phone:
                phone.dial(host)
                time.sleep(len(microphone) / 8000)
                phone.hang_up()
                phone.wait_for("CALL_CLOSED")
                said, heard = phone.said(), phone.heard()
                # His words have pauses of their own; only longer ones part what he said.
                starts = [start for start, _ in sound.spans(said, pause_frames=50)]
                agent = sound.spans(heard, pause_frames=10)
                times = [self.silenced_after(phone, start, agent) for start in starts]
            ended = host.wait_for("ended")
        print(f"\n  silenced after {sorted(round(ms) for ms in times)} ms, median {statistics.median(times):.0f}", end=" ")
        self.assertEqual(len(times), 5, f"{starts} {agent}")
        self.assertEqual(ended["bargeIns"], 5)
        self.assertLessEqual(max(times), 400)
        self.assertGreater(min(times), 0, "the agent spoke when it was interrupted")

    def silenced_after(self, phone, start, agent):
        """Milliseconds from the caller's first sound to the last of the agent before it fell silent."""
        began = phone.time_of("enc", start)
        ends = [phone.time_of("dec", last) for _, last in agent]
        return min((end - began for end in ends if end > began), default=0) * 1000

    def recording(self, call):
        path = self.folder / f"{call}.wav"
        deadline = time.monotonic() + 3
        while True:
            try:
                caller, rate = sound.read(path, 0)
                if len(caller) > 0:
                    break
            except (EOFError, FileNotFoundError, sound.wave.Error):
                pass
            self.assertLess(time.monotonic(), deadline, "the recording is not complete 3 s after the call")
            time.sleep(0.05)
        self.assertEqual(rate, 8000)
        return caller, sound.read(path, 1)[0]


if __name__ == "__main__":
    unittest.main()

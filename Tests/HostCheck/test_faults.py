"""Each rule of HostCheck, against a host that breaks it: that rule is reported, in these words, and no other.

`bad_host.c` is the host; each fault is a process of its own, a few milliseconds long.
"""

import pathlib
import re
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# fault: (rule, words)
SAID = {
    "overlap": ("overlap", "stt.push was called while another call of the same object ran"),
    "nested": ("nested", "stt.push was called from within an emit of the same object"),
    "overlaps_end": ("overlaps-end", "session.cancel was called while destroy of call-1 ran"),
    "after_destroy": ("after-destroy", "stt.push was called after destroy, for call-1"),
    "cancel_after_destroy": ("after-destroy", "session.cancel was called after destroy"),
    "before_ready": ("before-ready", "stt.push was called before READY"),
    "speak_before_ready": ("before-ready", "tts.speak was called before READY"),
    "after_close": ("after-close", "stt.push was called after close"),
    "speak_after_close": ("after-close", "tts.speak was called after close"),
    "close_twice": ("close-twice", "close was called a second time"),
    "missing_close": ("missing-close", "destroy came without close"),
    "destroy_before_closed": ("destroy-before-closed", "destroy came before CLOSED"),
    "missing_destroy": ("missing-destroy", "check was destroyed with 1 sessions open"),
    "start_twice": ("provider-state", "start was called twice"),
    "open_before_start": ("provider-state", "open was called before READY"),
    "open_after_drain": ("provider-state", "open was called after drain"),
    "epoch_back": ("epoch-back", "a request came with epoch 3 after 5"),
    "frame_epoch_back": ("epoch-back", "a frame came with epoch 0 after 1"),
    "cancel_back": ("cancel-back", "cancel came with epoch 4 after 5"),
    "epoch_untold": ("epoch-untold", "a text to speak came with epoch 3, and cancel with 0 at most"),
    "emit_takes_old": ("emit-answer", "emit took a DELTA of epoch 0, which cancel had ended"),
    "struct_size": ("struct-size", "vc_frame says size 64, and had 72 in 1.0"),
    "unknown_flags": ("struct-size", "speak came with flags 0x9"),
    "reserved": ("reserved", "vc_vad_batch.reserved is 1"),
    "null_frame": ("null", "push came without a frame"),
    "null_batch": ("null", "process came without a batch"),
    "not_utf8": ("text", "a text to speak is not UTF-8 at byte 3"),
    "overlong_utf8": ("text", "a text to speak is not UTF-8 at byte 3"),
    "text_without_pointer": ("text", "a transcript has 5 bytes and no pointer"),
    "text_unbounded": ("text", "a transcript has 1099511627776 bytes"),
    "poison": ("poison", "a transcript has what was written over an event"),
    "open_without_call": ("open", "a call of 0 bytes"),
    "open_rate": ("open", "open came with 44100 Hz"),
    "open_leg": ("open", "the leg is `both`"),
    "two_sessions": ("two-sessions", "a second session was opened for the same leg of call call-1"),
    "config_unknown": ("config", "the setting more is not in the schema"),
    "config_default": ("config", "is_loud has a default and is missing"),
    "config_type": ("config", 'is_loud came as "no", which is of another type'),
    "config_choice": ("config", "mode came as |loose|"),
    "config_session": ("config", "voice has a default and is missing"),
    "config_session_json": ("config", "vc_open.config is no JSON object"),
    "config_service": ("config-service", "`text` is another text than in the JSON"),
    "secret_in_config": ("secret", "vc_create.config has the credential in clear"),
    "secret_in_text": ("secret", "messages has the credential in clear"),
    "secret_unlisted": ("secret-unlisted", "vc.secret/1 gave out HOSTCHECK_UNLISTED"),
    "frame_rate": ("frame-format", "a frame of format 1, 1 channels and 16000 Hz"),
    "frame_format": ("frame-format", "a frame of format 2"),
    "frame_bytes": ("frame-bytes", "a frame of 160 samples has 100 bytes"),
    "frame_null": ("frame-bytes", "has 320 bytes at (nil)"),
    "frame_length": ("frame-length", "a frame has 80 samples at 8000 Hz"),
    "frame_gap": ("frame-position", "a frame begins at 320, after 160, and does not say DISCONTINUITY"),
    "frame_again": ("frame-position", "a frame begins at 0, and audio up to 160 was pushed"),
    "frame_sequence": ("frame-sequence", "a frame is number 2, and 1 came before it"),
    "frame_clock": ("frame-clock", "a frame was captured at"),
    "frame_from_tomorrow": ("frame-clock", "a frame was captured at"),
    "request_reused": ("request-reused", "request 1 came a second time"),
    "finalize_reused": ("request-reused", "request 4 came a second time"),
    "decide_reused": ("request-reused", "request 1 came a second time"),
    "after_last": ("after-last", "a text came for request 1, whose last piece had come"),
    "interleaved": ("interleaved", "request 2 began before the last piece of request 1"),
    "utterance_back": ("utterance", "utterance 1 began at 0, after utterance 2"),
    "utterance_position": ("utterance", "utterance 2 began at 160, after utterance 1 at 800"),
    "finalize_beyond": ("beyond-audio", "finalize asks up to 320, and audio up to 160 was pushed"),
    "decide_beyond": ("beyond-audio", "decide asks about 8000, and audio up to 0 was pushed"),
    "messages_no_json": ("messages", "messages is no JSON array of objects"),
    "messages_role": ("messages", 'a message has the role "robot"'),
    "messages_content": ("messages", "a message has no role, or no content"),
    "tool_result": ("tool-result", "a result for call call-9 of request 1 came, which was not made"),
    "credit_overflow": ("credit", "credit gave room for 1099511627776 bytes; 2 s are 32000"),
    "credit_nothing": ("credit", "credit gave room for nothing"),
    "batch_rows": ("batch", "a batch of 33 rows"),
    "batch_window": ("batch", "rows of 160 samples at 8000 Hz"),
    "batch_stride": ("batch", "stride 20"),
    "batch_null_row": ("batch-row", "a row came without samples"),
    "batch_rate": ("batch-row", "a session of 8000 Hz stands in a batch of 16000 Hz"),
    "batch_twice": ("batch-twice", "a session stands in a batch twice"),
    "batch_dead_row": ("after-destroy", "vad.process was called after destroy"),
    "detect_thread": ("detect-thread", "process was called by a second thread"),
    "timer_early": ("timer", "before its time"),
    "timer_twice": ("timer", "a timer fired that was not armed, or a second time"),
    "timer_after_end": ("timer", "a timer fired after its owner's destroy"),
}


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.plugin, cls.host = pathlib.Path(folder.name, "HostCheck.so"), pathlib.Path(folder.name, "bad_host")
        subprocess.run([ROOT / "Plugins/HostCheck/build", cls.plugin], check=True)
        subprocess.run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-I", ROOT / "Sources/PluginABI/include",
                        ROOT / "Tests/HostCheck/bad_host.c", "-o", cls.host, "-ldl", "-lpthread"], check=True)
        cls.names = cls.run_host("--list").split()

    @classmethod
    def run_host(cls, fault):
        return subprocess.run([cls.host, cls.plugin, fault], capture_output=True, text=True, check=True, timeout=10).stdout

    def test_each_fault_is_reported_under_its_rule_and_under_no_other(self):
        for name, (rule, words) in SAID.items():
            with self.subTest(name):
                lines = [line.split("\t", 1) for line in self.run_host(name).splitlines()]
                self.assertEqual({line[0] for line in lines}, {rule})
                self.assertIn(words, lines[0][1])
                self.assertIn("; the contract: ", lines[0][1])

    def test_a_host_that_keeps_to_the_contract_is_told_nothing(self):
        good = [name for name in self.names if name.startswith("good_")]
        self.assertEqual(len(good), 7)
        for name in good:
            with self.subTest(name):
                self.assertEqual(self.run_host(name), "")

    def test_no_rule_is_without_a_fault_and_no_fault_without_its_words(self):
        rules = set(re.findall(r'RULE\(\w+, "([a-z-]+)"', (ROOT / "Plugins/HostCheck/rules.h").read_text()))
        self.assertEqual(rules, {rule for rule, _ in SAID.values()})
        self.assertEqual({name for name in self.names if not name.startswith("good_")}, set(SAID))


if __name__ == "__main__":
    unittest.main()

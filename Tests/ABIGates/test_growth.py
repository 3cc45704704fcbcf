"""The classifier, on real headers: each edit that an author of the contract might make is let through or named.

An edit is made in a copy of the headers, which is read, compiled and compared with the contract as it stands: so the
parser, the compiled numbers, the history and the rules are tested together.
"""

import pathlib
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/abi"))

import growth
import headers
import table
import witness

MINOR = ("abi.h", "#define VC_ABI_MINOR 0", "#define VC_ABI_MINOR 1")
SPEAK_END = "                                   uint32_t flags) VC_CONTROL;\n"
LOG_END = "    uint32_t (*enabled)(uint32_t level) VC_ANY;\n"

# What may be done, in a new minor version: name → edits.
ALLOWED = {
    "nothing": [],
    "a slot at the end of a plugin's table": [
        MINOR, ("kind/tts.h", SPEAK_END, SPEAK_END + "    void (*VC_NULLABLE pause)(vc_self self, uint32_t on) VC_CONTROL;\n")],
    "a slot at the end of a host's table": [MINOR, ("service/log.h", LOG_END, LOG_END + "    void (*flush)(void) VC_ANY;\n")],
    "a member at the end of a frame": [MINOR, ("audio.h", "    uint64_t bytes;\n", "    uint64_t bytes;\n    uint64_t lost;\n")],
    "a member at the end of an event's body": [
        MINOR, ("kind/tts.h", "    uint64_t samples; ///<", "    uint64_t samples;\n    uint64_t characters; ///<")],
    "a member at the end of a row with a stride": [
        MINOR, ("kind/vad.h", "    uint32_t flags;                      ///<", "    uint32_t flags;\n    uint64_t position; ///<")],
    "a new event": [MINOR, ("kind/tts.h", "    VC_EVENT_TTS_DONE = VC_EVENT_TTS + 2,",
                            "    VC_EVENT_VISEME = VC_EVENT_TTS + 3,\n    VC_EVENT_TTS_DONE = VC_EVENT_TTS + 2,")],
    "a new status": [MINOR, ("abi.h", "    VC_E_INTERNAL = -32,", "    VC_E_WORN = -33,\n    VC_E_INTERNAL = -32,")],
    "a new flag": [MINOR, ("kind/tts.h", "    VC_TTS_LAST = 1u << 0,", "    VC_TTS_LAST = 1u << 0,\n    VC_TTS_URGENT = 1u << 1,")],
    "a new struct": [MINOR, ("audio.h", "VC_END_DECLS", "typedef struct vc_tone {\n    uint32_t size;\n    uint32_t hertz;\n} vc_tone;\n"
                             "\nVC_END_DECLS")],
    "a new service": [MINOR, ("service/log.h", '#define VC_SERVICE_LOG "vc.log/1"',
                              '#define VC_SERVICE_LOG "vc.log/1"\n#define VC_SERVICE_DIARY "vc.diary/1"')],
    "another name of a parameter": [("kind/turn.h", "vc_str text, uint32_t final", "vc_str words, uint32_t is_final")],
    "another comment": [("audio.h", "/// A few milliseconds of audio.", "/// Some milliseconds of audio.")],
}

# What may not, whatever the minor version: name → (edits, what the sentence says).
REFUSED = {
    "a slot put before another": (
        [("kind/turn.h", "    /// The words of the turn so far.",
          "    vc_status (*VC_NULLABLE reset)(vc_self self) VC_CONTROL;\n\n    /// The words of the turn so far.")],
        "vc_turn_ops.transcript moved from offset 16 to 24 (reset was put before it)"),
    "a member put into the middle": (
        [("audio.h", "    uint32_t samples;  ", "    uint64_t lost;\n    uint32_t samples;  ")], "vc_frame.samples moved from offset 16"),
    "two members exchanged": (
        [("audio.h", "    uint32_t format;      ///< One of VC_FORMAT_...\n    uint32_t rate_hz;     ///< Samples a second.\n",
          "    uint32_t rate_hz;\n    uint32_t format;\n")], "vc_frame.format moved from offset 4 to 8"),
    "another type of the same size": (
        [("audio.h", "uint64_t captured_ns;", "int64_t captured_ns;")],
        "vc_frame.captured_ns was `uint64_t` and is `int64_t`"),
    "a larger type": (
        [("kind/turn.h", "    float probability;", "    double probability;")], "vc_event_verdict.probability was `float` and is `double`"),
    "one more parameter": (
        [("kind/turn.h", "uint64_t request, uint64_t position)", "uint64_t request, uint64_t position, uint32_t flags)")],
        "vc_turn_ops.decide was"),
    "another result": ([("service/log.h", "uint32_t (*enabled)", "uint64_t (*enabled)")], "vc_log.enabled was"),
    "an optional slot that became mandatory": (
        [("kind/turn.h", "(*VC_NULLABLE decide)", "(*VC_NONNULL decide)")], "vc_turn_ops.decide was"),
    "a member renamed": ([("audio.h", "uint64_t sequence;", "uint64_t number;")], "vc_frame.sequence is called number now"),
    "a reserved word put to use": (
        [("kind/tts.h", "typedef struct vc_tts_ops {\n    uint32_t size;\n    uint32_t reserved;",
          "typedef struct vc_tts_ops {\n    uint32_t size;\n    uint32_t flags;")], "vc_tts_ops.reserved is gone: a reserved word stays"),
    "a member removed": ([("audio.h", "    uint64_t bytes;\n", "")], "vc_frame.bytes is gone"),
    "a slot removed": ([("service/log.h", LOG_END, "")], "vc_log.enabled is gone"),
    "a struct removed": (
        [("kind/telephony.h", "typedef struct vc_event_held {\n    vc_event head;\n    uint32_t on;\n    uint32_t reserved;\n} vc_event_held;", "")],
        "vc_event_held is gone"),
    "a struct shrunk": ([("kind/tts.h", "    uint64_t samples; ///< Of the whole request, at the rate of its frames.\n", "")],
                        "vc_event_tts_done has shrunk from 48 to 40 bytes"),
    "a constant renumbered": ([("abi.h", "VC_E_STALE = -3,", "VC_E_STALE = -5,")], "VC_E_STALE: its value was -3 and is -5"),
    "a constant renamed": ([("kind/tts.h", "VC_TTS_COMPLETE = 1,", "VC_TTS_SPOKEN = 1,")], "VC_TTS_COMPLETE is gone"),
    "an event renumbered by one put before it": (
        [("kind/stt.h", "VC_EVENT_FINALIZED = VC_EVENT_STT + 1,", "VC_EVENT_FINALIZED = VC_EVENT_STT + 3,")],
        "VC_EVENT_FINALIZED: its value was 201 and is 203"),
    "two constants of one value": ([MINOR, ("abi.h", "    VC_E_INTERNAL = -32,", "    VC_E_WORN = -31,\n    VC_E_INTERNAL = -32,")],
                                   "VC_E_WORN has the value of VC_E_CRASHED, -31"),
    "an id changed": ([("service/log.h", 'LOG "vc.log/1"', 'LOG "vc.log/2"')], 'VC_SERVICE_LOG: its value was vc.log/1 and is vc.log/2'),
    "an id of another service": (
        [MINOR, ("service/log.h", '#define VC_SERVICE_LOG "vc.log/1"',
                 '#define VC_SERVICE_LOG "vc.log/1"\n#define VC_SERVICE_DIARY "vc.timer/1"')], 'VC_SERVICE_TIMER has the text of VC_SERVICE_DIARY'),
    "a slot's thread changed": (
        [("session.h", "(*VC_NULLABLE cancel)(vc_self self, uint64_t epoch) VC_ANY", "(*VC_NULLABLE cancel)(vc_self self, uint64_t epoch) VC_CONTROL")],
        "vc_session_ops.cancel is called as control and was as any"),
    "a handle of another width": ([("abi.h", "typedef uint64_t vc_handle;", "typedef uint32_t vc_handle;")], "vc_handle: its type was uint64_t"),
    "a callback of another shape": (
        [("service/task.h", "typedef void (*vc_task_fn)(void *VC_NULLABLE context);",
          "typedef void (*vc_task_fn)(void *VC_NULLABLE context, uint32_t tries);")], "vc_task_fn: its type was"),
    "the entry function's shape": (
        [("plugin.h", "vc_plugin_entry_v1(const vc_host *host,", "vc_plugin_entry_v1(const vc_host *host, uint32_t flags,")],
        "vc_plugin_entry_v1: its type was"),
    "a string that grows": ([MINOR, ("abi.h", "    uint64_t length;\n} vc_str;", "    uint64_t length;\n    uint64_t hash;\n} vc_str;")],
                            "vc_str.hash was appended to a struct that cannot grow"),
    "the head of all events that grows": (
        [MINOR, ("event.h", "    uint64_t request; ///< The request that it answers, or 0.", "    uint64_t request;\n    uint64_t at_ns; ///<")],
        "vc_event.at_ns was appended to a struct that cannot grow"),
    "a word of an array without a stride that grows": (
        [MINOR, ("kind/stt.h", "    float confidence; ///< 0 ... 1; negative when unknown.\n    uint32_t reserved;\n} vc_word;",
                 "    float confidence;\n    uint32_t reserved;\n    uint64_t speaker;\n} vc_word;")],
        "vc_word.speaker was appended to a struct that cannot grow"),
    "a plugin's slot that is mandatory from the start": (
        [MINOR, ("kind/tts.h", SPEAK_END, SPEAK_END + "    void (*VC_NONNULL pause)(vc_self self) VC_CONTROL;\n")],
        "vc_tts_ops.pause is not VC_NULLABLE"),
    "something new in a version that was released": (
        [("service/log.h", LOG_END, LOG_END + "    void (*flush)(void) VC_ANY;\n")], "raise VC_ABI_MINOR to 1"),
    "the major version raised": ([("abi.h", "#define VC_ABI_MAJOR 1", "#define VC_ABI_MAJOR 2")], "a break needs a new entry function"),
}
# What no version may have, new or not.
UNWORTHY = {
    "a slot without a thread": ([("kind/tts.h", SPEAK_END, SPEAK_END + "    void (*VC_NULLABLE pause)(vc_self self);\n")],
                                "vc_tts_ops.pause does not end with the role of its thread"),
    "a size_t": ([("audio.h", "    uint64_t bytes;\n", "    uint64_t bytes;\n    size_t lost;\n")], "may not cross the line"),
    "an array": ([("audio.h", "    uint64_t bytes;\n", "    uint64_t bytes;\n    uint32_t lost[4];\n")], "may not cross the line"),
    "a bit-field": ([("audio.h", "    uint64_t bytes;\n", "    uint64_t bytes;\n    uint32_t lost : 1;\n")], "may not cross the line"),
    "varargs": ([("service/log.h", LOG_END, LOG_END + "    void (*print)(const char *format, ...) VC_ANY;\n")], "may not cross the line"),
    "a callback type that nobody thought about": (
        [("service/task.h", "typedef void (*vc_task_fn)", "typedef void (*vc_other_fn)(void *VC_NULLABLE context);\ntypedef void (*vc_task_fn)")],
        "on which thread is a vc_other_fn called?"),
}


def edited(edits):
    """The headers after the edits, as (contract, sentences, folder); each edit must find its place, once."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="headers-"))
    shutil.copytree(headers.INCLUDE, folder, dirs_exist_ok=True)
    for name, old, new in edits:
        path = folder / "vchost" / name
        text = path.read_text()
        if text.count(old) < 1:
            raise AssertionError(f"{name} has no {old!r}: write the edit anew")
        path.write_text(text.replace(old, new, 1))
    try:
        return (*headers.read(folder), folder)
    except headers.Unreadable:
        shutil.rmtree(folder)
        raise


class Growth(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.now = table.load(ROOT / "Sources/PluginABI/abi.toml")

    def judged(self, edits, is_released=True):
        contract, _, folder = edited(edits)
        shutil.rmtree(folder)
        return growth.breaches(self.now, table.with_history(contract, self.now), is_released)

    def test_what_only_appends_passes(self):
        for name, edits in ALLOWED.items():
            with self.subTest(name):
                self.assertEqual(self.judged(edits), [])

    def test_everything_else_is_named_with_its_mend(self):
        for name, (edits, said) in REFUSED.items():
            with self.subTest(name):
                sentences = self.judged(edits)
                self.assertTrue(any(said in sentence for sentence in sentences), sentences)

    def test_a_raised_minor_version_excuses_nothing(self):
        for name, (edits, said) in REFUSED.items():
            if "VC_ABI_MINOR" in said or MINOR in edits:
                continue
            with self.subTest(name):
                self.assertTrue(any(said in sentence for sentence in self.judged([MINOR, *edits])))

    def test_what_no_version_may_have_is_named_by_the_reader(self):
        for name, (edits, said) in UNWORTHY.items():
            with self.subTest(name):
                try:
                    _, sentences, folder = edited(edits)
                    shutil.rmtree(folder)
                except headers.Unreadable as problem:
                    sentences = [str(problem)]
                self.assertTrue(any(said in sentence or "do not compile" in sentence for sentence in sentences), sentences)

    def test_a_declaration_in_another_style_is_an_error_and_not_a_gap(self):
        for old, new in (("VC_END_DECLS", "struct vc_secretly { uint32_t size; };\nVC_END_DECLS"),
                         ("VC_END_DECLS", "enum vc_named { VC_X = 1 };\nVC_END_DECLS"),
                         ("    VC_FORMAT_S16 = 1,", "    VC_FORMAT_S16,")):
            with self.subTest(new), self.assertRaises(headers.Unreadable):
                edited([("audio.h", old, new)])

    def test_a_minor_version_that_goes_back_is_named(self):
        contract, _, folder = edited([MINOR])
        shutil.rmtree(folder)
        newer = table.with_history(contract, self.now)
        self.assertIn("VC_ABI_MINOR went back from 1 to 0", growth.breaches(newer, self.now)[0])

    def test_a_member_in_what_was_padding_is_named(self):
        """Nothing has padding today: a struct of 12 bytes and an alignment of 8 had, and now has a member there."""
        before = table.parse(table.text(self.now))
        frame = before["struct"]["vc_frame"]
        frame["members"][-1].update(bytes=4, type="uint32_t")
        after = table.parse(table.text(before))
        after["abi"]["minor"] = 1
        after["struct"]["vc_frame"]["members"].append(
            {"name": "lost", "offset": 68, "bytes": 4, "type": "uint32_t", "added": "1.1"})
        self.assertIn("vc_frame.lost stands in what was padding", growth.breaches(before, after, True)[0])

    def test_before_the_release_things_may_be_appended_without_a_new_version(self):
        edits = [("service/log.h", LOG_END, LOG_END + "    void (*flush)(void) VC_ANY;\n")]
        self.assertEqual(self.judged(edits, is_released=False), [])
        self.assertNotEqual(self.judged(edits, is_released=True), [])

    def test_before_the_release_a_break_passes_only_by_its_name(self):
        contract, _, folder = edited([("audio.h", "uint64_t sequence;", "uint64_t number;")])
        shutil.rmtree(folder)
        after = table.with_history(contract, self.now)
        self.assertEqual(len(growth.breaches(self.now, after, False)), 1)
        after["abi"]["accepted"] = ["vc_frame.sequence"]
        self.assertEqual(growth.breaches(self.now, after, False), [])
        self.assertIn("vc_frame.sequence is called number now", growth.breaches(self.now, after, True)[0], "not after it")

    def test_history_is_not_rewritten(self):
        after = table.parse(table.text(self.now))
        after["struct"]["vc_frame"]["sizes"] = {"1.0": 64}
        after["struct"]["vc_log"]["members"][2]["added"] = "1.1"
        after["constant"]["VC_OK"]["added"] = "1.1"
        said = growth.breaches(self.now, after)
        for part in ("vc_frame had 72 bytes in 1.0", "vc_log.write was added in 1.0, not 1.1", "VC_OK: its added was 1.0"):
            self.assertTrue(any(part in sentence for sentence in said), (part, said))


class Witness(unittest.TestCase):
    """abidiff sees on the witness what it should see, with gcc and with clang."""

    def test_unchanged_headers_are_no_change_for_either_compiler(self):
        contract, _ = headers.read()
        self.assertEqual(witness.report(contract), "")
        with tempfile.TemporaryDirectory() as folder:
            library = witness.build(contract, folder, compiler="clang")
            self.assertEqual(witness._run(["abidiff", "--fail-no-debug-info", str(witness.BASELINE), str(library)]).returncode, 0)

    def test_an_inserted_an_appended_and_a_retyped_member_are_reported(self):
        for edits in (REFUSED["a slot put before another"][0], ALLOWED["a slot at the end of a host's table"],
                      REFUSED["another type of the same size"][0], REFUSED["a callback of another shape"][0]):
            contract, _, folder = edited(edits)
            self.addCleanup(shutil.rmtree, folder)
            self.assertNotEqual(witness.report(contract, include=folder), "", edits)


if __name__ == "__main__":
    unittest.main()

"""A plugin in a worker that breaks the contract is not used, and one that crashes again and again is put aside."""

import json
import shutil
import subprocess
import time
import unittest

from host import BUILT
from phones import Sipp
from workshop import ID, TURNS, Workshop

CALL_S = 100


class QuarantineOfPlugins(Workshop):
    def test_three_crashes_are_quarantine_and_a_version_that_fails_its_smoke_rules_changes_nothing(self):
        self.install(self.version(1))
        with self.host() as host:
            talk = Sipp("talk", host.sip, calls=4, rate=4, media=TURNS, timeout=CALL_S + 60, talk_ms=CALL_S * 1000)
            try:
                # It emits an event after CLOSED, which is a rule of the smoke run.
                broken = self.build(lambda source: source.replace(
                    "    emit_plain(s, VC_EVENT_CLOSED, 0);", "    emit_plain(s, VC_EVENT_CLOSED, 0);\n    emit_plain(s, VC_EVENT_CLOSED, 0);"))
                began = time.monotonic()
                self.install(self.version(2, broken))
                rows = self.wait_for(host, "the refusal", lambda rows: any(row["state"] == "refused" for row in rows))
                print(f"\n  refused after {time.monotonic() - began:.1f} s", end=" ")
                refused = next(row for row in rows if row["state"] == "refused")
                self.assertRegex(refused["reason"], r'acme-voice.so 1.002.0 breaks VC-LIFE-03 \("A session emits CLOSED exactly once."\)')
                self.assertTrue(self.running("1.001.0")(rows))
                self.assertEqual(len(self.lines(host, "VC-LIFE-03")), 1)
                self.assertRegex(self.lines(host, "VC-LIFE-03")[0], "version 1.001.0 goes on")
                # What the mend says is what the operator sees.
                again = subprocess.run([BUILT / "vchost", "conform", "run", self.acme, "--smoke"], capture_output=True, text=True)
                self.assertEqual(again.returncode, 1)
                self.assertIn("VC-LIFE-03", again.stdout)

                self.upgrade(host, 3)
                # The calls that are up keep the version that they have, until it dies under them.
                self.wait_for(host, "a session", lambda rows: any(row["sessions"] for row in rows))
                self.ask_for("segv", self.busiest(host))
                for crash in range(1, 4):
                    self.wait_for(host, "a session", lambda rows: any(row["sessions"] and row["version"] == "1.003.0" for row in rows))
                    self.ask_for("segv", next(row for row in self.rows(host) if row["version"] == "1.003.0"))
                    self.wait_for(host, f"crash {crash}", lambda rows: any(row["version"] == "1.003.0" and row["crashes"] == crash for row in rows))
                    if crash < 3:
                        self.wait_for(host, "the restart", lambda rows: any(row["processes"] for row in rows))
                rows = self.wait_for(host, "the quarantine", lambda rows: {row["state"] for row in rows} == {"quarantined"})
                self.assertIn("vchost plugins pardon", rows[0]["mend"])
                said = self.lines(host, "acme-voice.so is in quarantine")
                self.assertEqual(len(said), 1, said)
                # The same bytes under another name are the same file.
                other = self.plugins / "acme-other.so"
                shutil.copy(self.acme, other)
                self.acme.unlink()
                self.wait_for(host, "the other name", lambda rows: [(row["file"], row["state"]) for row in rows] == [(other.name, "quarantined")])
                other.rename(self.acme)
                self.wait_for(host, "the name again", lambda rows: [(row["file"], row["state"]) for row in rows] == [(self.acme.name, "quarantined")])
                store = json.loads((host.folder / "state/quarantine.json").read_text())
                crash = list(store["plugins"].values())[0]["crashes"][-1]
                self.assertEqual(crash["signal"], "SIGSEGV")
                self.assertIn("acme-voice.so", crash["backtrace"])
                self.assertEqual(self.command(host, "pardon", ID).returncode, 0)
                self.wait_for(host, "the pardon", self.running("1.003.0"))
            finally:
                counts = talk.finish(CALL_S + 60)
            self.assertEqual((counts["SuccessfulCall(C)"], counts["FailedCall(C)"]), (4, 0))


if __name__ == "__main__":
    unittest.main()

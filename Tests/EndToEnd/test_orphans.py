"""Who starts a worker is sure to end it, and whatever it started."""

import os
import signal
import time
import unittest

from phones import Sipp
from workshop import TURNS, Workshop, alive, comm, strays, workers


class Orphans(Workshop):
    def start(self, host):
        """A call that is spoken to, and children of the voice that ran away as far as they can."""
        talk = Sipp("talk", host.sip, calls=1, media=TURNS, timeout=60, talk_ms=30_000)
        self.addCleanup(talk.end)
        self.wait_for(host, "the session", lambda rows: sum(row["sessions"] for row in rows) == 1)
        self.ask_for("stray", self.busiest(host))
        deadline = time.monotonic() + 15
        while len(strays()) < 2:
            self.assertLess(time.monotonic(), deadline, "the voice started no children")
            time.sleep(0.05)
        return workers(host)

    def gone(self, processes, seconds=5):
        deadline = time.monotonic() + seconds
        while left := [process for process in processes if alive(process)] + strays():
            self.assertLess(time.monotonic(), deadline, f"{left} live on")
            time.sleep(0.02)

    def test_a_host_that_is_killed_leaves_no_worker_and_no_child_of_one(self):
        self.install(self.version(1))
        with self.host() as host:
            processes = self.start(host)
            self.assertGreaterEqual(len(processes), 2, "a worker and its guardian")
            host.process.kill()
            host.process.wait()
            self.gone(processes)

    def test_a_worker_or_a_guardian_that_is_killed_leaves_nothing_of_the_worker(self):
        self.install(self.version(1))
        with self.host() as host:
            before = self.start(host)
            worker = next(row for row in self.rows(host) if row["processes"])["processes"][0]
            os.kill(worker, signal.SIGKILL)
            self.gone([worker])
            self.wait_for(host, "the restart", lambda rows: any(process != worker for row in rows for process in row["processes"]))
            self.assertFalse([process for process in before if alive(process)])
            guardian = next(process for process in workers(host) if comm(process) == "vchost-guardian")
            os.kill(guardian, signal.SIGKILL)
            left = workers(host)
            self.wait_for(host, "another restart", lambda rows: any(row["crashes"] == 2 and row["processes"] for row in rows))
            self.gone([process for process in left if process not in workers(host)])

    def test_a_host_that_is_stopped_leaves_nothing(self):
        self.install(self.version(1))
        with self.host() as host:
            processes = self.start(host)
            host.process.terminate()
            self.assertEqual(host.process.wait(10), 0)
            self.gone(processes)


if __name__ == "__main__":
    unittest.main()

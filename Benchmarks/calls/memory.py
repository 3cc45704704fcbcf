"""P7: resident memory, idle and for each call.

VmRSS of the host: after it began to listen, then after 200 calls have talked for eight seconds. Whoever measures memory in
less time than a turn measures calls that have not yet spoken.
"""

import pathlib
import tempfile
import time

import load
import result

IDLE_MIB, PER_CALL_KIB, CALLS = 40, 300, 200


def once():
    track = load.Track(pathlib.Path(tempfile.mkdtemp(prefix="bench-")), 6, [4.0, 5.0])
    with load.host() as host, load.Callers(host, track) as callers:
        load.unwatch(host)
        time.sleep(0.5)
        idle = host.memory_kib()
        callers.add(CALLS, 100)
        window = callers.measure(8)
        busy = host.memory_kib()
        callers.ask("hangup")
        time.sleep(1)
        after = host.memory_kib()
        callers.add(CALLS, 100)
        callers.measure(8)
        again = host.memory_kib()
        return {"idle_mib": idle / 1024, "per_call_kib": (busy - idle) / CALLS, "after_hangup_mib": after / 1024,
                "second_round_mib": again / 1024, "first_round_mib": busy / 1024, "calls": window["calls"],
                "expected_frames": window["expected_frames"], "least_frames": window["least_frames_of_a_call"]}


def measure():
    runs = [once()]
    figures = {key: [run[key] for run in runs]
               for key in ("idle_mib", "per_call_kib", "after_hangup_mib", "first_round_mib", "second_round_mib")}
    valid = all(run["least_frames"] >= 0.99 * run["expected_frames"] for run in runs)
    yield result.write(
        "P7", "memory", __doc__.strip(),
        {"calls": CALLS, "providers": "instant", "detector": "energy", "models": "none"}, figures,
        {"idle_mib": IDLE_MIB, "per_call_kib": PER_CALL_KIB},
        valid and max(figures["idle_mib"]) <= IDLE_MIB and max(figures["per_call_kib"]) <= PER_CALL_KIB, runs=runs)

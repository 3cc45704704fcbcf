"""P9: a call through the plugin line in process, with its guard.

`push` is a frame of 20 ms given to a recogniser written in C, `emit` an event from it, each 5 million times in 7 runs,
after one that warms up; processor time of the thread, so that neighbours who preempt it are not counted.
Sources/main.swift says what is within each.

The worker's half: 50 frames a second of one call, and of 100, to a recogniser in a worker. `way` is from the host's taking a
frame up to the plugin's having it, by the clock on the wall and so with whatever else runs on the machine; `push` is the
processor time that the host's thread pays for it. `cores_per_100_calls` is the processor time of both processes for 100
calls, less that of the same load in process, in hundredths of a core.
"""

import json
import pathlib
import shutil
import subprocess
import tempfile

import result

HERE = pathlib.Path(__file__).resolve().parent
RUNS, CALLS, THRESHOLD_NS = 7, 5_000_000, 100
WORKER_RUNS, WORKER_SECONDS, WORKER_CALLS, THRESHOLD_US = 3, 4, 100, 20


def measure():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vchost-line-", dir="/var/tmp"))
    try:
        (folder / "plugins").mkdir()
        subprocess.check_call(
            ["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,now", "-Wl,-z,nodelete",
             "-I", result.ROOT / "Sources/PluginABI/include", HERE / "plugin.c", "-o", folder / "plugins/line.so"])
        out = subprocess.check_output(
            [result.ROOT / ".build/release/PluginLineBenchmark", folder / "plugins", folder / "cache", str(RUNS), str(CALLS)],
            text=True, timeout=60)
        loads = {(isolation, calls): [load(folder, isolation, calls) for _ in range(WORKER_RUNS)]
                 for isolation, calls in (("worker", 1), ("worker", WORKER_CALLS), ("inprocess", WORKER_CALLS))}
    finally:
        shutil.rmtree(folder)
    figures = json.loads(out)
    bare = figures.pop("bare_ns")
    yield result.write(
        "P9", "a guarded call through the plugin line", __doc__.strip(), {"callsInARun": CALLS, "samplesInAFrame": 160}, figures,
        {"push_ns": THRESHOLD_NS, "emit_ns": THRESHOLD_NS},
        all(result.quantile(values, 0.5) <= THRESHOLD_NS for values in figures.values()),
        reference={"bare_ns": result.spread(bare)},
        runs=[dict(zip(("push_ns", "emit_ns", "bare_ns"), one)) for one in zip(figures["push_ns"], figures["emit_ns"], bare)])
    yield worker(loads)


def load(folder, isolation, calls):
    out = subprocess.check_output(
        [result.ROOT / ".build/release/PluginLineBenchmark", folder / "plugins", folder / "cache", isolation, str(calls),
         str(WORKER_SECONDS)], text=True, timeout=60)
    (folder / "cache/ways").unlink(missing_ok=True)
    return json.loads(out)


def worker(loads):
    one, many, near = loads["worker", 1], loads["worker", WORKER_CALLS], loads["inprocess", WORKER_CALLS]

    def cores(run):
        return (run["host_ms"] + run["worker_ms"]) / run["seconds"] / 10

    figures = {
        "way_p50_us": [run["way_p50_us"] for run in many], "way_p99_us": [run["way_p99_us"] for run in many],
        "one_call_way_p50_us": [run["way_p50_us"] for run in one], "push_us": [run["push_ns"] / 1_000 for run in many],
        "cores_per_100_calls": [cores(far) - cores(close) for far, close in zip(many, near)],
    }
    return result.write(
        "P9-worker", "a call through the plugin line to a worker", __doc__.strip(),
        {"calls": WORKER_CALLS, "framesASecondOfEach": 50, "seconds": WORKER_SECONDS}, figures, {"way_p50_us": THRESHOLD_US},
        result.quantile(figures["way_p50_us"], 0.5) <= THRESHOLD_US, runs=one + many + near,
        reference={"inprocess_push_us": result.spread([run["push_ns"] / 1_000 for run in near])},
        reservations=["frames that did not arrive: " + str(sum(run["frames"] - run["arrived"] for run in one + many))])

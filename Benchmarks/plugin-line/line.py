"""P9: a call through the plugin line in process, with its guard.

`push` is a frame of 20 ms given to a recogniser written in C, `emit` an event from it, each 5 million times in 7 runs,
after one that warms up; processor time of the thread, so that neighbours who preempt it are not counted.
Sources/main.swift says what is within each. The worker's half of the goal waits for the worker.
"""

import json
import pathlib
import shutil
import subprocess
import tempfile

import result

HERE = pathlib.Path(__file__).resolve().parent
RUNS, CALLS, THRESHOLD_NS = 7, 5_000_000, 100


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
    finally:
        shutil.rmtree(folder)
    figures = json.loads(out)
    bare = figures.pop("bare_ns")
    yield result.write(
        "P9", "a guarded call through the plugin line", __doc__.strip(), {"callsInARun": CALLS, "samplesInAFrame": 160}, figures,
        {"push_ns": THRESHOLD_NS, "emit_ns": THRESHOLD_NS},
        all(result.quantile(values, 0.5) <= THRESHOLD_NS for values in figures.values()),
        reference={"bare_ns": result.spread(bare)},
        runs=[dict(zip(("push_ns", "emit_ns", "bare_ns"), one)) for one in zip(figures["push_ns"], figures["emit_ns"], bare)],
        reservations=["the call to a worker (goal: 20 µs) is not measured: there is no worker yet"])

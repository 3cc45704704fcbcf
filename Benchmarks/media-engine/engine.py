"""P3 and P6, by run.py beside this file, and the engine's half of P5: from the decision to pause to the last audible frame."""

import json
import pathlib
import subprocess
import sys
import tempfile

import result
import run

HERE = pathlib.Path(__file__).resolve().parent
TITLES = {"P3": "media engine, 1,000 streams of G.711", "P6": "lateness of packets, 1,000 streams"}
RUNS = 3
PAUSING_STREAMS, PAUSING_SECONDS = 200, 4


def measure():
    out = subprocess.run(
        [sys.executable, HERE / "run.py", "--runs", str(RUNS), "--seconds", "4"], stdout=subprocess.PIPE, text=True).stdout
    report = json.loads(out)
    for entry in report["results"]:
        figures = {key: [value["median"], value["lowest"], value["highest"]] for key, value in entry.items()
                   if isinstance(value, dict) and "median" in value and key != "reference"}
        yield result.write(
            entry["goal"], TITLES[entry["goal"]], entry["method"], entry["load"], figures, entry["threshold"], entry["pass"],
            reference=entry["reference"], runs=report["runs"],
            reservations=[] if entry["valid"] else ["a caller lost more than 1 % of its frames: the run does not count"])


def pauses():
    with tempfile.TemporaryDirectory() as folder:
        binaries = run.build(folder)
        one = run.once(folder, f"{binaries}/MediaBenchmark", PAUSING_STREAMS, PAUSING_SECONDS, more=["pause"])
    values = sorted(us / 1000 for us in one["pauses_us"])
    return {"streams": PAUSING_STREAMS, "pauses": len(values),
            "pause_ms": {name: result.quantile(values, q) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}}

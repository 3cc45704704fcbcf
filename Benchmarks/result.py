"""What every benchmark writes: the same members, so that two results can be laid beside each other."""

import json
import os
import pathlib
import platform
import statistics
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".cache" / "bench"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    memory = next(int(line.split()[1]) // 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return {"processor": model, "cores": os.cpu_count(), "memoryMiB": memory, "kernel": platform.release(),
            "loadAtStart": round(os.getloadavg()[0], 2), "shared": "other work may run on the same cores"}


def quantile(values, q):
    ordered = sorted(values)
    return ordered[int((len(ordered) - 1) * q)]


def spread(values):
    """Median, lowest and highest of one figure's runs."""
    return {"median": round(statistics.median(values), 3), "lowest": round(min(values), 3), "highest": round(max(values), 3)}


def write(goal, title, method, load, figures, threshold, passed, reference=None, runs=None, reservations=()):
    """`figures`: name → values of all runs. Writes GOAL.json and returns it."""
    result = {
        "goal": goal, "title": title, "method": method, "load": load, "machine": machine(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "runs": runs or [],
        "median": {name: spread(values)["median"] for name, values in figures.items()},
        "spread": {name: [spread(values)["lowest"], spread(values)["highest"]] for name, values in figures.items()},
        "threshold": threshold, "reference": reference, "pass": bool(passed), "reservations": list(reservations),
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{goal}.json").write_text(json.dumps(result, indent=1) + "\n")
    return result

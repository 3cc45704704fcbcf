#!/usr/bin/env python3
"""Goals P3 and P6: the media engine alone, against the least that a C loop can do for the same streams in the same run.

The callers (generator.c) have one core, what is measured has the other. P3 compares the processor time of the media thread
with that of the C loop; P6 the regularity of packets as the kernel saw them arrive at the callers. A run in which any caller
got less than 99 % of its frames does not count. Prints JSON; ends with 1 when a goal is missed.

usage: run.py [--streams 1000] [--seconds 5] [--runs 1]
"""
import argparse, json, os, statistics, subprocess, sys, tempfile

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))


def build(folder):
    for name in ("generator", "reference"):
        subprocess.check_call(["cc", "-O2", "-o", f"{folder}/{name}", f"{here}/{name}.c", "-pthread"])
    subprocess.check_call(["cc", "-O2", "-shared", "-fPIC", "-o", f"{folder}/malloc_count.so", f"{here}/malloc_count.c"])
    subprocess.check_call(
        ["swift", "build", "-c", "release", "--product", "MediaBenchmark", "--package-path", root],
        stdout=subprocess.DEVNULL)
    return subprocess.check_output(
        ["swift", "build", "-c", "release", "--show-bin-path", "--package-path", root], text=True).strip()


def once(folder, server, streams, seconds, preload=None, more=()):
    for name in ("callers", "server"):
        if os.path.exists(f"{folder}/{name}"):
            os.unlink(f"{folder}/{name}")
    environment = dict(os.environ, **({"LD_PRELOAD": preload} if preload else {}))
    arguments = [str(streams), str(seconds)]
    callers = subprocess.Popen(
        ["taskset", "-c", "1", f"{folder}/generator", *arguments, f"{folder}/callers", f"{folder}/server"],
        stdout=subprocess.PIPE, text=True)
    tested = subprocess.Popen(
        ["taskset", "-c", "0", server, *arguments, f"{folder}/server", f"{folder}/callers", *more],
        stdout=subprocess.PIPE, text=True, env=environment)
    results = [json.loads(process.communicate(timeout=seconds + 30)[0]) for process in (callers, tested)]
    result = {**results[0], **results[1]}
    result["percent_of_a_core_per_100_streams"] = round(
        100 * result["media_cpu_ns"] / result["wall_ns"] / streams * 100, 2)
    result["counts"] = result["least_frames_of_a_stream"] >= 0.99 * result["expected_frames"]
    return result


def spread(values):
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        binaries = build(folder)
        pairs = []
        for _ in range(options.runs):
            reference = once(folder, f"{folder}/reference", options.streams, options.seconds)
            engine = once(
                folder, f"{binaries}/MediaBenchmark", options.streams, options.seconds, f"{folder}/malloc_count.so")
            pairs.append((reference, engine))

    def figures(key):
        return [key(reference) for reference, _ in pairs], [key(engine) for _, engine in pairs]

    cost_c, cost = figures(lambda r: r["percent_of_a_core_per_100_streams"])
    p50_c, p50 = figures(lambda r: r["jitter_us"]["p50"])
    p99_c, p99 = figures(lambda r: r["jitter_us"]["p99"])
    p999_c, p999 = figures(lambda r: r["jitter_us"]["p999"])
    ratio = [round(a / b, 2) for a, b in zip(cost, cost_c)]
    tail = [round(a / max(b, 1), 2) for a, b in zip(p999, p999_c)]
    realtime = all(engine["realtime_errno"] == 0 for _, engine in pairs)
    allocations = max(engine["media_thread_allocations"] for _, engine in pairs)
    valid = all(engine["counts"] and reference["counts"] for reference, engine in pairs)
    limit99 = 1000 if realtime else 3000
    load = {"streams": options.streams, "seconds": options.seconds, "codec": "PCMU, both ways", "cores": os.cpu_count()}
    report = [
        {
            "goal": "P3", "method": "processor time of the media thread; the C loop does the same work in the same run",
            "load": load, "runs": options.runs, "valid": valid,
            "percent_of_a_core_per_100_streams": spread(cost), "ratio_to_reference": spread(ratio),
            "media_thread_allocations": allocations,
            "threshold": {"percent": 5, "ratio": 1.1, "allocations": 0}, "reference": spread(cost_c),
            "pass": valid and statistics.median(cost) <= 5 and statistics.median(ratio) <= 1.1 and allocations == 0,
        },
        {
            "goal": "P6", "method": "kernel receive times at the callers, deviation from 20 ms between packets",
            "load": load, "runs": options.runs, "valid": valid, "realtime": realtime,
            "p50_us": spread(p50), "p99_us": spread(p99), "p999_us": spread(p999), "p999_to_reference": spread(tail),
            "threshold": {"p50_us": 150, "p99_us": limit99, "p999_to_reference": 1.5},
            "reference": {"p50_us": spread(p50_c), "p99_us": spread(p99_c), "p999_us": spread(p999_c)},
            "pass": valid and statistics.median(p50) <= 150 and statistics.median(p99) <= limit99
                    and statistics.median(tail) <= 1.5,
        },
    ]
    print(json.dumps({"results": report, "runs": [{"reference": c, "engine": e} for c, e in pairs]}, indent=1))
    sys.exit(0 if all(entry["pass"] for entry in report) else 1)


if __name__ == "__main__":
    main()

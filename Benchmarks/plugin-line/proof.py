"""P15: what it takes to prove a plugin.

A full run of `vchost conform run` at level resilient, and the smoke rules alone, which a running host has passed before it
uses a new file: for each plugin that ships and can be proven by itself, RUNS times, by the clock on the wall, with as many
probes at once as the machine has cores. The worst of all plugins counts. Beside it the number of rules, and of those that
have a broken plugin of their own in Tests/BrokenPlugins; that only that plugin fails them is what `vchost conform selftest`
shows, which is no benchmark.
"""

import json
import subprocess
import time

import result

RUNS, FULL_S, SMOKE_S, RULES_MIN = 3, 10, 1, 150
# Those with a voice, an ear or a model of their own need a service or files; their vendors are played by scripts.
PLUGINS = ["ExampleTTS", "TTSFlite", "VADEnergy", "TTSPiper", "STTFasterWhisper", "LLMOpenAI"]
PROGRAM = result.ROOT / ".build/release/vchost"


def seconds(name, *options):
    began = time.monotonic()
    run = subprocess.run([PROGRAM, "conform", "run", result.ROOT / f"plugins.d/{name}.so", "--format", "json", *options],
                         stdout=subprocess.PIPE, text=True, timeout=120)
    took = time.monotonic() - began
    report = json.loads(run.stdout)["plugins"][0]
    return took, len(report["results"]), run.returncode


def measure():
    rules = json.loads(subprocess.check_output([PROGRAM, "conform", "list", "--json"], text=True))
    rules = rules["rules"] if isinstance(rules, dict) else rules
    full, smoke, runs, failed = {}, {}, [], []
    for name in PLUGINS:
        for _ in range(RUNS):
            took, count, code = seconds(name, "--level", "resilient")
            quick, quick_count, quick_code = seconds(name, "--smoke")
            full.setdefault(name, []).append(took)
            smoke.setdefault(name, []).append(quick)
            runs.append({"plugin": name, "full_s": round(took, 2), "rules": count, "exit": code, "smoke_s": round(quick, 2),
                         "smoke_rules": quick_count, "smoke_exit": quick_code})
            if code or quick_code:
                failed.append(f"{name} ended with {code} and {quick_code}")

    def worst(of):
        # The plugin whose median is the highest.
        return max(of.values(), key=lambda values: result.quantile(values, 0.5))

    figures = {"full_s": worst(full), "smoke_s": worst(smoke), "rules": [len(rules)]}
    yield result.write(
        "P15", "proving a plugin", __doc__.strip(), {"plugins": PLUGINS, "runs": RUNS}, figures,
        {"full_s": FULL_S, "smoke_s": SMOKE_S, "rules": RULES_MIN},
        result.quantile(figures["full_s"], 0.5) <= FULL_S and result.quantile(figures["smoke_s"], 0.5) <= SMOKE_S
        and len(rules) >= RULES_MIN and not failed,
        runs=runs, reservations=sorted(set(failed)))

"""P5: how soon the agent is silent when the caller interrupts.

The agent answers at such length that every utterance of the caller falls into an answer. From the callers' end: the frame
with the caller's first sound is sent, and the last audible frame of the agent arrives and is played for 20 ms.

- `from_first_sound`: between the two, whole, the detector's own time among it.
- `beyond_the_detector`: from the frame with which a detector without delay would have decided (Benchmarks/detector-floor) to
  the same end: both ways through the kernel, jitter buffer, detection thread, the decision, the pause, and the rest of the
  frame that is being played. It contains the goal's figure, "from the decision to the last audible frame", whose two ends
  are within the host and which the engine itself reports: `decision_to_silence`, measured by Benchmarks/media-engine.
"""

import pathlib
import subprocess
import tempfile

import engine
import load
import result

DECISION_P50_MS, DECISION_P99_MS, SOUND_P99_MS = 20, 40, 260
CALLS, SECONDS = 20, 12

TALKATIVE = load.endtoend.INSTANT.replace(
    "plugin = InstantLLM",
    "plugin = InstantLLM\nreply = " + "we are open from nine to five on every day of the week but for sundays and holidays " * 3)


def starts(track):
    """For each beginning of speech (its frame): how many frames later the detector knows."""
    out = subprocess.check_output([load.ROOT / ".build/release/DetectorFloor", track.pcm], text=True)
    known = [int(line.split()[0]) for line in out.splitlines() if line.endswith("started")]
    length = len(track.text)
    begins = [i for i in range(length) if track.text[i] == "1" and track.text[i - 1] == "0"]
    return {begin: after for begin in begins
            if (after := min((frame - begin) % length for frame in known)) < 40}, begins


def calls():
    track = load.Track(pathlib.Path(tempfile.mkdtemp(prefix="bench-")), 6, [2.0, 2.3])
    floor, begins = starts(track)
    length = len(track.text)
    with load.host(template=TALKATIVE) as host, load.Callers(host, track, CALLS) as callers:
        load.unwatch(host)
        callers.add(CALLS, 50)
        window = callers.measure(SECONDS)
        callers.ask("hangup")
        events = callers.events()
    from_sound, beyond, not_silenced = [], [], 0
    audible, began, count = {}, {}, {}
    for call, kind, when in events:
        if kind == "S":
            first = (call * 2654435769) % length // 8 * 8
            order = sorted(begins, key=lambda begin: (begin - first) % length)
            number = count[call] = count.get(call, -1) + 1
            # A caller whose track begins in mid-speech says S at once, which is none of the beginnings.
            if track.text[first] == "1" and track.text[first - 1] == "1":
                number -= 1
            not_silenced += call in began
            began.pop(call, None)
            if audible.get(call) and number >= 0:
                began[call] = (when, order[number % len(order)])
        elif kind == "L":
            audible[call] = True
        elif kind == "Q":
            audible[call] = False
            if call in began:
                sent, frame = began.pop(call)
                from_sound.append((when - sent) / 1e6 + 20)
                if frame in floor:
                    beyond.append((when - sent) / 1e6 + 20 - 20 * floor[frame])
    if len(from_sound) < 20:
        raise load.NotMeasured(f"only {len(from_sound)} interruptions")
    return {"interruptions": len(from_sound), "not_silenced": not_silenced, "from_first_sound": from_sound, "beyond": beyond,
            "lateness_us": window["lateness_us"]}


def measure():
    run = calls()
    pauses = engine.pauses()
    figures = {
        "decision_to_silence_p50_ms": [pauses["pause_ms"]["p50"]], "decision_to_silence_p99_ms": [pauses["pause_ms"]["p99"]],
        **{f"{name}_{label}_ms": [round(result.quantile(values, q), 1)]
           for name, values in (("from_first_sound", run["from_first_sound"]), ("beyond_the_detector", run["beyond"]))
           for label, q in (("p50", 0.5), ("p99", 0.99))}}
    passed = (figures["decision_to_silence_p50_ms"][0] <= DECISION_P50_MS and figures["decision_to_silence_p99_ms"][0] <= DECISION_P99_MS
              and figures["from_first_sound_p99_ms"][0] <= SOUND_P99_MS and run["not_silenced"] == 0)
    yield result.write(
        "P5", "barge-in", __doc__.strip(),
        {"calls": CALLS, "interruptions": run["interruptions"], "detector": "energy", "notSilenced": run["not_silenced"],
         "engine": {"streams": pauses["streams"], "pauses": pauses["pauses"]}},
        figures,
        {"decision_to_silence_p50_ms": DECISION_P50_MS, "decision_to_silence_p99_ms": DECISION_P99_MS,
         "from_first_sound_p99_ms": SOUND_P99_MS}, passed,
        runs=[{"from_first_sound_ms": [round(one, 1) for one in sorted(run["from_first_sound"])],
               "lateness_us": run["lateness_us"], "engine": pauses}])

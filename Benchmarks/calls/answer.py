"""P4: what the host adds between the end of the caller's speech and the first audio of the answer.

Two figures, both at the callers' end, from the kernel's receive time of the first audible RTP packet of each answer:

- `whole`: from the frame with which a detector without any delay would have known the end of speech (the host's own
  detector, fed offline with the same recording, Benchmarks/detector-floor), plus the silence that is configured to end a
  turn. What is left is everything else: both ways through the kernel, jitter buffer, waiting for a round of the detection
  thread, the plugin line there and back three times, and the wait for the call's place in the 20 ms clock.
- `after_decision`: from the host's own stamp of the decision (stage `endOfTurn` of the event socket, the same clock) to
  the same packet. Providers are instant and `early_start` is off, so the whole chain of the answer is within it.

The goal's words fit `whole` best, and its number fits a line without a jitter buffer: RTP is held on its way in (DelayModel:
20 ms at least, 40 to begin with, to be safe from the network), which alone is more than the 15 ms. Both are judged by the goal's
number, each for itself, the worst of the three loads. A packet leaves on its call's own place in the 20 ms: 10 ms of either is
the mean of a wait that no sender of 20 ms frames can avoid.
"""

import collections
import pathlib
import re
import subprocess
import tempfile
import time

import load
import result

P50_MS, P99_MS = 15, 40
END_OF_TURN_MS = 320
LOADS = [1, 10, 50]
SECONDS = {1: 20, 10: 12, 50: 12}


def floors(track):
    """For each end of speech (its frame): the frame at which the detector knows, and the silence it has seen by then."""
    out = subprocess.check_output([load.ROOT / ".build/release/DetectorFloor", track.pcm], text=True)
    stops = [(int(frame), int(silence)) for frame, kind, *rest in (line.split() for line in out.splitlines())
             if kind == "stopped" for silence in rest]
    ends = [i for i in range(len(track.text)) if track.text[i] == "1" and track.text[(i + 1) % len(track.text)] == "0"]
    found = {}
    for end in ends:
        # The first stop after the end, and before the next utterance.
        after = [(frame - end) % len(track.text) for frame, _ in stops]
        nearest = min(range(len(stops)), key=lambda i: after[i])
        if after[nearest] < 40:
            found[end] = (after[nearest], stops[nearest][1])
    return found


def end_frames(track, call, ends):
    """The frames of the loop at which this call's successive ends of speech stand: callers.c begins where this does."""
    length = len(track.text)
    begin = (call * 2654435769 & 0xFFFFFFFFFFFFFFFF) % length // 8 * 8
    order = sorted(ends, key=lambda end: (end - begin) % length)
    return order


def at(calls):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    track = load.Track(folder, 6, [2.4, 2.7])
    ends = [i for i in range(len(track.text)) if track.text[i] == "1" and track.text[(i + 1) % len(track.text)] == "0"]
    floor = floors(track)
    with load.host(profile="early_start = no") as host, load.Callers(host, track, calls) as callers:
        callers.add(calls, 50)
        window = callers.measure(SECONDS[calls])
        callers.ask("hangup")
        time.sleep(0.3)
        events, told = callers.events(), list(host.events)

    decided = collections.defaultdict(list)
    for event in told:
        if event["event"] == "stage" and event["stage"] == "endOfTurn":
            decided[int(re.search(r"-(\d+)", event["protocolCall"]).group(1))].append(event["atNs"])
    whole, after_decision, unanswered = [], [], 0
    ended = {}
    counts = collections.Counter()
    for call, kind, when in events:
        if kind == "E":
            order = end_frames(track, call, ends)
            frame = order[counts[call] % len(order)]
            counts[call] += 1
            unanswered += call in ended
            ended[call] = (when, frame)
        elif kind == "S" and call in ended:
            unanswered += 1
            del ended[call]
        elif kind == "L" and call in ended:
            sent, frame = ended.pop(call)
            stamp = max((one for one in decided[call] if one <= when), default=None)
            if stamp is not None and stamp > sent:
                after_decision.append((when - stamp) / 1e6)
            # The first utterance is heard by a detector that does not know the line's noise yet.
            if frame in floor and counts[call] > 1:
                known, silence = floor[frame]
                whole.append((when - sent) / 1e6 - 20 * known + silence - END_OF_TURN_MS)
    if len(after_decision) < 3 or len(whole) < 2:
        raise load.NotMeasured(f"only {len(after_decision)} answers were heard at {calls} calls")
    return {"calls": calls, "answers": len(after_decision), "unanswered": unanswered, "lateness_us": window["lateness_us"],
            "host_cpu": window["host_cpu"],
            **{f"{name}_{label}_ms": round(result.quantile(values, q), 2)
               for name, values in (("whole", whole), ("after_decision", after_decision)) for label, q in (("p50", 0.5), ("p99", 0.99))}}


def measure():
    runs = [at(calls) for calls in LOADS]
    for name, title in (("after_decision", "from the decision to the answer's first packet"),
                        ("whole", "all that the host adds to an answer, jitter buffer included")):
        p50, p99 = f"{name}_p50_ms", f"{name}_p99_ms"
        yield result.write(
            f"P4-{name.split('_')[-1]}", f"{title}, at 1, 10 and 50 calls", __doc__.strip(),
            {"calls": LOADS, "providers": "instant", "detector": "energy", "endOfTurnMs": END_OF_TURN_MS, "earlyStart": False},
            {key: [run[key] for run in runs] for key in (p50, p99)}, {p50: P50_MS, p99: P99_MS},
            all(run[p50] <= P50_MS and run[p99] <= P99_MS for run in runs), runs=runs,
            reservations=["the spread is over the three loads, not over repeats of one"])

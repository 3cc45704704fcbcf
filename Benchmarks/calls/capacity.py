"""P2: how many calls one core carries over SIP and RTP, with the energy detector and with Silero behind the energy gate.

Calls are added step by step to one running host. A step counts while every caller gets 99 % of its frames, packets are
less than 40 ms late at p99, no answer is missing and the answers' p99 is less than 500 ms above the end of turn that is
configured. `calls_at_70_percent` is where the host's processor time, read between the steps, crosses 70 % of its core
(interpolated between two steps); `calls_at_most` the last step that counted. Calls last long, as calls do: the signalling
of the steps is in the figures only as far as it overlaps them.
"""

import pathlib
import tempfile
import time

import load
import result

THRESHOLDS = {"energy": 500, "silero": 300}
STEPS = {"energy": [300, 500, 600, 700, 800, 900], "silero": [100, 200, 300, 400, 500]}
END_OF_TURN_MS, ADDED_P99_MS, LATE_P99_MS = 320, 500, 40

SILERO = load.endtoend.INSTANT + """
[vad.silero]
plugin = VADSilero
"""


def counts(window):
    answered = window["answer_us"]["count"] / max(1, window["speech_ends"])
    reasons = []
    if window["least_frames_of_a_call"] < 0.99 * window["expected_frames"]:
        reasons.append("a caller lost more than 1 % of its frames")
    if window["lateness_us"]["p99"] > LATE_P99_MS * 1000:
        reasons.append(f"packets are {window['lateness_us']['p99'] // 1000} ms late at p99")
    if window["answer_us"]["p99"] > (END_OF_TURN_MS + ADDED_P99_MS) * 1000:
        reasons.append(f"answers take {window['answer_us']['p99'] // 1000} ms at p99")
    # Some 5 to 9 % of the utterances end too late in the window for an answer within it.
    if answered < 0.85:
        reasons.append(f"only {answered:.0%} of the callers' utterances were answered")
    if window["ended_by_the_host"]:
        reasons.append(f"the host ended {window['ended_by_the_host']} calls")
    return reasons


def ramp(detector):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    track = load.Track(folder, 6, [4.0, 5.0])
    settings = {} if detector == "energy" else {"template": SILERO, "profile": "vad = vad.silero"}
    steps = []
    with load.host(**settings) as host, load.Callers(host, track) as callers:
        load.unwatch(host)
        calls = 0
        for wanted in STEPS[detector]:
            try:
                setup = callers.add(wanted - calls, 150)
            except load.NotMeasured as problem:
                steps.append({"calls": wanted, "breach": [str(problem).splitlines()[0]]})
                break
            calls = wanted
            time.sleep(1)
            window = callers.measure(4)
            window["setup_us"], window["breach"] = setup["setup_us"], counts(window)
            window["memory_kib"] = host.memory_kib()
            steps.append(window)
            if window["breach"]:
                break
        # A detector that cannot be had, or is too slow, is replaced by the energy detector, and the log says so.
        log = (host.folder / "host.log").read_text()
        if detector == "silero" and "energy detector" in log:
            raise load.NotMeasured("Silero was not what decided:\n" + "\n".join(
                line for line in log.splitlines() if "energy detector" in line))
        return steps, track


def at_share(steps, share=0.70):
    """Calls at which the host uses this share of its core; the last step where it never did."""
    before = {"calls": 0, "host_cpu": 0.0}
    for step in steps:
        if step["breach"]:
            break
        if step["host_cpu"] > share:
            slope = (step["calls"] - before["calls"]) / (step["host_cpu"] - before["host_cpu"])
            return int(before["calls"] + slope * (share - before["host_cpu"]))
        before = step
    return before["calls"]


def nearest(steps, calls):
    return max((step for step in steps if not step["breach"] and step["calls"] <= max(calls, steps[0]["calls"])),
               key=lambda step: step["calls"], default=None)


def measure():
    for detector, threshold in THRESHOLDS.items():
        steps, track = ramp(detector)
        good = [step for step in steps if not step["breach"]]
        at_70, most = at_share(steps), max((step["calls"] for step in good), default=0)
        close = nearest(steps, at_70) or {}
        yield result.write(
            f"P2-{detector}", f"agent calls per core, SIP and RTP, {detector}", __doc__.strip(),
            {"codec": "PCMU", "callers": f"recorded speech, {track.speech:.0%} of the time somebody speaks",
             "providers": "instant", "steps": STEPS[detector], "secondsPerStep": 4, "endOfTurnMs": END_OF_TURN_MS},
            {"calls_at_70_percent": [at_70], "calls_at_most": [most],
             "lateness_p99_us": [close.get("lateness_us", {}).get("p99", -1)],
             "answer_p99_ms": [close.get("answer_us", {}).get("p99", -1000) / 1000]},
            {"calls_at_70_percent": threshold}, at_70 >= threshold, runs=steps,
            reservations=[
                "one ramp of 4 s a step: the answer to many runs is the spread of the steps",
                "the kernel's work for the callers' packets is done on both cores and is in neither figure alone"])

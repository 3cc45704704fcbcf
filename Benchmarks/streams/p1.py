"""P1: how many agent calls one core carries over Twilio Media Streams, Silero on every call and instant providers; beside pipecat.

Calls are added step by step to one running host. A step counts while what the caller hears is late by at most 40 ms at p99 (the
silence before a message of a running answer, at the carrier's playout), answers come within 500 ms beyond the silence that ends a
turn (320 ms) at p99, none is missing, and no call was lost. `calls_at_most` is the last step that counted; `calls_at_70_percent`
where the processor time crosses 70 % of the core, between two steps. pipecat has the same callers, the same core and the same
judgement in the same run, with its own Twilio serializer, Silero and turn end by timer (pipecat_agent.py).

All utterances of the caller fall into silence: the agent speaks for two seconds, and the caller waits for four.
"""

import pathlib
import tempfile
import time

import capacity
import carrier
import load
import result

THRESHOLD = 200
STEPS = {"vchost": [50, 100, 150, 200, 250, 300, 350], "pipecat": [4, 8, 12, 16, 20, 25, 30]}
SECONDS = 6
END_OF_TURN_MS, ADDED_P99_MS, LATE_P99_MS = capacity.END_OF_TURN_MS, capacity.ADDED_P99_MS, capacity.LATE_P99_MS


def breaches(window):
    reasons = []
    if window["lateness_us"]["p99"] > LATE_P99_MS * 1000:
        reasons.append(f"audio is {window['lateness_us']['p99'] // 1000} ms late at p99")
    if window["answer_us"]["p99"] > (END_OF_TURN_MS + ADDED_P99_MS) * 1000:
        reasons.append(f"answers take {window['answer_us']['p99'] // 1000} ms at p99")
    # Some utterances end too late in the window for an answer within it: 1 s of 6, at most.
    answered = window["answer_us"]["count"] / max(1, window["speech_ends"])
    if answered < 0.8:
        reasons.append(f"only {answered:.0%} of the callers' utterances were answered")
    if window["ended_by_the_host"] or window["failed"]:
        reasons.append(f"{window['ended_by_the_host'] + window['failed']} calls were lost")
    if window["generator"]["worst_tick_us"] > 15000:
        reasons.append(f"the callers themselves were {window['generator']['worst_tick_us'] // 1000} ms late")
    return reasons


def ramp(whom, track):
    target = carrier.Pipecat() if whom == "pipecat" else carrier.host(profile="vad = vad.silero")
    steps = []
    with target as host, carrier.Streams(host, track) as streams:
        if whom == "vchost":
            load.unwatch(host)
        for calls in STEPS[whom]:
            try:
                streams.add(calls - streams.opened)
            except (load.NotMeasured, OSError) as problem:
                steps.append({"calls": calls, "breach": [str(problem).splitlines()[0]]})
                break
            time.sleep(2)
            window = streams.measure(SECONDS)
            window["breach"] = breaches(window)
            steps.append(window)
            if window["breach"]:
                break
        if whom == "vchost" and "energy detector" in (host.folder / "host.log").read_text():
            raise load.NotMeasured("Silero was not what decided")
    return steps


def measure():
    track = load.Track(pathlib.Path(tempfile.mkdtemp(prefix="bench-")), 6, [4.0, 5.0])
    runs = {whom: ramp(whom, track) for whom in ("vchost", "pipecat")}
    most = {whom: max((step["calls"] for step in steps if not step["breach"]), default=0) for whom, steps in runs.items()}
    at_70 = capacity.at_share(runs["vchost"])
    close = capacity.nearest(runs["vchost"], at_70) or {}
    yield result.write(
        "P1", "agent calls per core, Twilio Media Streams, Silero on every call", __doc__.strip(),
        {"codec": "PCMU in JSON, base64", "callers": f"recorded speech, {track.speech:.0%} of the time somebody speaks",
         "providers": "instant", "steps": STEPS, "secondsPerStep": SECONDS, "endOfTurnMs": END_OF_TURN_MS},
        {"calls_at_70_percent": [at_70], "calls_at_most": [most["vchost"]], "pipecat_calls_at_most": [most["pipecat"]],
         "lateness_p99_us": [close.get("lateness_us", {}).get("p99", -1)],
         "answer_p99_ms": [close.get("answer_us", {}).get("p99", -1000) / 1000]},
        {"calls_at_most": THRESHOLD}, most["vchost"] >= THRESHOLD, reference={"pipecat": runs["pipecat"]}, runs=runs["vchost"],
        reservations=["one ramp of 6 s a step for each", "loopback, without TLS: a proxy ends it, on some other core"])

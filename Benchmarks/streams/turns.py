"""P4, P5 and P12 over Twilio Media Streams, and what pipecat needs for the first two with the same callers on the same core.

- P4, `after_decision`: from the host's own stamp of the end of turn (stage `endOfTurn` of the event socket) to the first audible
  message at the carrier. `added`: from the caller's last frame of speech to the same message, less the silence that ends a turn
  (320 ms): detector, transport and everything else are in it, for both.
- P5, `from_first_sound`: from the caller's first frame of speech to the `clear` at the carrier, for both. The host stamps no decision
  here: it pauses at the first sign of speech, and decides later whether that was a barge-in.
- P12: the voice runs in a worker that is killed (-9) while it speaks; the silence that the caller hears then, until there is speech
  again. A second voice stands behind it.

Silero is on every call, providers are instant, `early_start` is off, since both would answer before the turn ends otherwise.
"""

import collections
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import carrier
import load
import result

END_OF_TURN_MS = 320
LONG_ANSWER = "we are open from nine to five on every day of the week but for sundays and holidays " * 3
CALLS, SECONDS = {"vchost": 20, "pipecat": 4}, 14
PROFILE = "vad = vad.silero\nearly_start = no"


def number(call):
    """The callers' number of a call by the SID that carrier.py gave it."""
    return int(call[2:], 16) - 1


def by_call(told, event, **members):
    found = collections.defaultdict(list)
    for one in told:
        if one["event"] == event and all(one.get(key) == value for key, value in members.items()):
            found[number(one["protocolCall"])].append(one["atNs"])
    return found


def between(before, when, stamps):
    """The last stamp between the two; None: there is none."""
    return max((one for one in stamps if before < one <= when), default=None)


def talk(whom, silences, **values):
    track = load.Track(pathlib.Path(tempfile.mkdtemp(prefix="bench-")), 6, silences)
    os.environ["PIPECAT_SECONDS"] = "8" if values else "2"
    target = carrier.Pipecat() if whom == "pipecat" else carrier.host(profile=PROFILE, **values)
    with target as host, carrier.Streams(host, track) as streams:
        streams.add(CALLS[whom])
        time.sleep(1)
        window = streams.measure(SECONDS)
        streams.ask("hangup")
        time.sleep(0.5)
        return streams.events(), list(getattr(host, "events", [])), window


def answers(whom):
    events, told, window = talk(whom, [4.0, 5.0])
    decided, ended = by_call(told, "stage", stage="endOfTurn"), {}
    added, after_decision = [], []
    for call, kind, when in events:
        if kind == "E":
            ended[call] = when
        elif kind == "S":
            ended.pop(call, None)
        elif kind == "L" and call in ended:
            sent = ended.pop(call)
            added.append((when - sent) / 1e6 - END_OF_TURN_MS)
            stamp = between(sent, when, decided[call])
            if stamp:
                after_decision.append((when - stamp) / 1e6)
    return added, after_decision, window


def interruptions(whom):
    events, _, window = talk(whom, [2.4, 2.7], reply=LONG_ANSWER)
    began, audible, from_sound = {}, {}, []
    for call, kind, when in events:
        if kind == "S" and audible.get(call):
            began[call] = when
        elif kind in "EQ":
            began.pop(call, None) if kind == "E" else audible.pop(call, None)
        elif kind == "L":
            audible[call] = True
        elif kind == "C" and call in began:
            from_sound.append((when - began.pop(call)) / 1e6)
    return from_sound, [], window


# What counts as silence without an end.
NEVER_MS = 5000.0
TWO_VOICES = "\n[tts.mortal]\nplugin = InstantTTS\nisolation = worker\n"


def workers(host):
    """The host's worker processes; each is a child of its guardian, which is a child of the host."""
    lines = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    table = {int(pid): (int(parent), name) for pid, parent, name in (line.split(None, 2) for line in lines)}
    return [pid for pid, (parent, name) in table.items() if name == "vchost-worker" and host in (parent, table.get(parent, (0, ""))[0])]


def verdicts(spoken_to):
    """Of calls about which nothing more is known: never silent, or silent and never spoken to again."""
    return [0.0 if since is None else NEVER_MS for since in spoken_to.values()]


def deaths():
    """Silences in milliseconds, one for each call that was spoken to when its voice died; and how many stayed silent."""
    track = load.Track(pathlib.Path(tempfile.mkdtemp(prefix="bench-")), 6, [9.0, 9.5])
    with carrier.host(profile=PROFILE, reply=LONG_ANSWER, tts="tts.mortal, tts.instant", more=TWO_VOICES) as host, \
            carrier.Streams(host, track) as streams:
        streams.add(CALLS["vchost"])
        killed = []
        for _ in range(2):  # The third death within ten minutes is quarantine.
            streams.say("measure 6000")
            time.sleep(4)
            for worker in workers(host.process.pid):
                os.kill(worker, signal.SIGKILL)
            killed.append(time.monotonic_ns())
            streams.hear()
        lost = streams.ask("hangup")["ended_by_the_host"]
        time.sleep(0.5)
        events = streams.events()
    silences, audible, spoken_to, last = [], {}, {}, {}
    waiting = list(killed)
    for call, kind, when in events:
        while waiting and when > waiting[0]:
            silences += verdicts(spoken_to)
            # Who was speaking then; what the carrier holds is still played, so silence comes later or not at all.
            died = waiting.pop(0)
            spoken_to = dict.fromkeys(one for one, is_audible in audible.items() if is_audible)
        if kind in "LQ":
            audible[call] = kind == "L"
        if call in spoken_to:
            since = spoken_to[call]
            if kind == "Q" and last.get(call) != "C" and when - died < NEVER_MS * 1e6:
                spoken_to[call] = when
            elif kind in "LSC" and since:
                # Speech again, or the caller has lost patience.
                silences.append((when - spoken_to.pop(call)) / 1e6)
            elif kind in "SC":
                # She took the floor while she was still being spoken to.
                spoken_to.pop(call)
                silences.append(0.0)
        last[call] = kind
    silences += verdicts(spoken_to)
    return silences, lost, len(killed)


def figures(values, prefix):
    return {f"{prefix}_{label}_ms": [round(result.quantile(values, q), 1)] if values else [-1]
            for label, q in (("p50", 0.5), ("p99", 0.99))}


def measure():
    load_told = {"calls": CALLS, "seconds": SECONDS, "providers": "instant", "detector": "Silero", "endOfTurnMs": END_OF_TURN_MS}
    for goal, title, run, name, thresholds in (
            ("P4-streams", "answers over Media Streams", answers, "added", {"after_decision_p50_ms": 15, "after_decision_p99_ms": 40}),
            ("P5-streams", "barge-in over Media Streams", interruptions, "from_first_sound", {"from_first_sound_p99_ms": 260})):
        runs = {whom: run(whom) for whom in ("vchost", "pipecat")}
        values, decided, window = runs["vchost"]
        if len(values) < 10:
            raise load.NotMeasured(f"{goal}: only {len(values)} were seen at the carrier")
        told = figures(values, name) | (figures(decided, "after_decision") if decided else {}) | figures(
            runs["pipecat"][0], f"pipecat_{name}")
        yield result.write(
            goal, title, __doc__.strip(), load_told, told, thresholds, all(told[key][0] <= most for key, most in thresholds.items()),
            reference={"pipecat": runs["pipecat"][2]}, runs=[{"count": len(values), "window": window}],
            reservations=["pipecat has four calls, since it fails with more (P1); ours has twenty"])
    silences, lost, kills = deaths()
    told = figures(silences or [0.0], "silence")
    yield result.write(
        "P12-streams", f"a voice is killed while it speaks, {kills} times in {CALLS['vchost']} calls", __doc__.strip(), load_told,
        told | {"calls_lost": [lost], "interrupted_answers": [len(silences)]}, {"silence_p99_ms": 1500, "calls_lost": 0},
        told["silence_p99_ms"][0] <= 1500 and lost == 0, runs=[{"silences_ms": [round(one, 1) for one in silences]}])

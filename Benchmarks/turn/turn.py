"""P13: a whole turn with the local stack, from the end of the caller's speech to the first packet of the answer.

The demonstration's own call (services/demo): ten turns of a recorded person over SIP and RTP, Silero, faster-whisper,
written answers and a small language model, Piper; all on this machine. The stages are the host's, from its event socket;
`answer_heard_ms` is the caller's side, from the last sample said to the first sound heard, and contains the way there and
back. The median of the turns that were answered counts; the first after a start is among them.
"""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "Tests" / "EndToEnd")]

import result  # noqa: E402

THRESHOLD_MS = 1500
STAGES = ["endOfTurn", "finalText", "request", "firstToken", "firstClause", "firstAudio", "firstPacket"]


def child():
    """Within services/run: a host with the demonstration's configuration on ports of its own, and one call to it."""
    import host as endtoend

    text = (result.ROOT / "services/demo/vchost.ini").read_text()
    sip = endtoend.free_port()
    rtp = 20000 + 2 * (sip % 4000)
    changes = {
        "events_socket = .cache/vchost.sock": "events_socket = {folder}/events.sock",
        "bind_address = 0.0.0.0": "bind_address = 127.0.0.1", "port_min = 20000": f"port_min = {rtp}",
        "port_max = 20199": f"port_max = {rtp + 199}", "host = 0.0.0.0": "host = 127.0.0.1", "port = 5060": f"port = {sip}",
        "users_file = .cache/demo/users\n": "", "plugin_cache = .cache/plugins": "plugin_cache = {folder}/cache",
        "http://127.0.0.1:8101": os.environ["VCHOST_WHISPER_URL"], "http://127.0.0.1:8102": os.environ["VCHOST_LLAMA_URL"],
        "http://127.0.0.1:8103": os.environ["VCHOST_PIPER_URL"],
    }
    for old, new in changes.items():
        if old not in text:
            raise SystemExit(f"services/demo/vchost.ini has no more \"{old}\": bring Benchmarks/turn/turn.py up to date")
        text = text.replace(old, new)
    with endtoend.Host(template=text) as host:
        call = subprocess.run(
            [endtoend.BUILT / "vchost", "call", f"sip:desk@127.0.0.1:{sip}", "--script", "services/demo/caller.json", "--sounds",
             ".cache/demo", "--watch", host.folder / "events.sock", "--json"], stdout=subprocess.PIPE, text=True, timeout=240)
    print(call.stdout.strip().splitlines()[-1])


def measure():
    try:
        out = subprocess.check_output(
            [result.ROOT / "services/run", "--ports", "any", "--", sys.executable, __file__], text=True, timeout=420)
    except subprocess.CalledProcessError as problem:
        raise RuntimeError(f"the local stack or the call ended with {problem.returncode}; `make models` sets the stack up")
    report = json.loads(out.strip().splitlines()[-1])
    turns = [event for event in report["events"] if event["event"] == "turn" and "firstPacket" in event["stagesMs"]
             and "endOfTurn" in event["stagesMs"]]
    heard = [turn["answerMs"] for turn in report["turns"] if turn["answerMs"] is not None and turn["silencedMs"] is None]
    figures = {"response_ms": [turn["stagesMs"]["firstPacket"] for turn in turns], "answer_heard_ms": heard}
    for stage in STAGES:
        figures[stage + "_ms"] = [turn["stagesMs"][stage] for turn in turns if stage in turn["stagesMs"]]
    figures = {name: values for name, values in figures.items() if values}
    yield result.write(
        "P13", "a whole turn with the local stack", __doc__.strip(),
        {"turns": len(turns), "said": len(report["turns"]), "problems": report["problems"]}, figures,
        {"response_ms": THRESHOLD_MS},
        len(turns) >= 8 and not report["problems"] and result.quantile(figures["response_ms"], 0.5) <= THRESHOLD_MS,
        runs=[{"turn": turn["turn"], "languageModel": turn["languageModel"], "stagesMs": turn["stagesMs"]} for turn in turns],
        reservations=["one call; models, host and caller share two cores"])


if __name__ == "__main__":
    child()

"""Cartesia's own client for Python against the fake whose port is given. Prints what it found, as JSON."""

import json
import sys

from cartesia import Cartesia

PORT = sys.argv[1]
FORMAT = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 8000}
VOICE = {"mode": "id", "id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"}

client = Cartesia(api_key="sk_car_test", base_url=f"http://127.0.0.1:{PORT}", websocket_base_url=f"ws://127.0.0.1:{PORT}")
report = {"voices": [[voice.name, voice.language] for voice in client.voices.list(limit=2)]}
with client.tts.websocket_connect() as connection:
    context = connection.context(model_id="sonic-3", voice=VOICE, output_format=FORMAT, language="en", add_timestamps=True)
    context.push("Stay hungry, ")
    context.push("stay foolish.")
    context.no_more_inputs()
    answers = list(context.receive())
    report["types"] = sorted({answer.type for answer in answers})
    report["bytes"] = sum(len(answer.audio) for answer in answers if answer.type == "chunk")
    report["words"] = [word for answer in answers if answer.type == "timestamps" for word in answer.word_timestamps.words]

    # Nothing is buffered, so each text is flushed; and then it is canceled.
    context = connection.context(model_id="sonic-3", voice=VOICE, output_format=FORMAT, language="tr", max_buffer_delay_ms=0)
    context.push("Merhaba.")
    context.push(" " + "Uzun bir cümle. " * 20)
    heard = 0
    for answer in context.receive():
        heard += len(answer.audio) if answer.type == "chunk" else 0
        if answer.type == "flush_done":
            report["flushed"] = answer.flush_id
            break
    context.cancel()
    report["bytesBeforeCancel"] = heard
print(json.dumps(report))

"""Deepgram's own Python client says a recording to an address, at both interfaces, and prints what came back.

    deepgram_client.py http://127.0.0.1:PORT KEY RECORDING.wav

Every message must be one of the kinds that the client knows, and valid as that.
"""

import sys
import threading
import time
import wave

from deepgram import DeepgramClient
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.types.listen_v1metadata import ListenV1Metadata
from deepgram.listen.v1.types.listen_v1results import ListenV1Results
from deepgram.listen.v2.types.listen_v2connected import ListenV2Connected
from deepgram.listen.v2.types.listen_v2turn_info import ListenV2TurnInfo

CHUNK_S = 0.08


def talk(connection, path, last_order):
    """Says the recording and a second of silence, in time, and gives all messages until the end."""
    messages = []
    connection.on(EventType.MESSAGE, messages.append)
    listening = threading.Thread(target=connection.start_listening)
    listening.start()
    with wave.open(path) as file:
        audio = file.readframes(file.getnframes()) + bytes(2 * 8000)
    began, count = time.monotonic(), int(CHUNK_S * 8000) * 2
    for number, at in enumerate(range(0, len(audio), count)):
        time.sleep(max(0, began + number * CHUNK_S / 1.2 - time.monotonic()))
        connection.send_media(audio[at:at + count])
    last_order(connection)
    connection.send_close_stream()
    listening.join(10)
    for message in messages:
        type(message).model_validate(message.model_dump(), strict=True)
    return messages


def flux(client, path):
    with client.listen.v2.connect(model="flux-general-en", encoding="linear16", sample_rate=8000, eager_eot_threshold=0.5,
                                  keyterm=["weasels"]) as connection:
        messages = talk(connection, path, lambda connection: None)
    assert isinstance(messages[0], ListenV2Connected), messages[0]
    turns = messages[1:]
    assert all(isinstance(message, ListenV2TurnInfo) for message in turns), turns
    assert [message.sequence_id for message in messages] == list(range(len(messages)))
    kinds = [message.event for message in turns]
    assert kinds.index("StartOfTurn") < kinds.index("EagerEndOfTurn") < kinds.index("EndOfTurn"), kinds
    end = turns[kinds.index("EndOfTurn")]
    assert [word.word for word in end.words] == end.transcript.split()
    return end.transcript


def nova(client, path):
    with client.listen.v1.connect(model="nova-3", language="en", encoding="linear16", sample_rate=8000, interim_results=True,
                                  endpointing=300, utterance_end_ms=1000, punctuate=True) as connection:
        messages = talk(connection, path, lambda connection: connection.send_finalize())
    assert isinstance(messages[-1], ListenV1Metadata), messages[-1]
    results = [message for message in messages if isinstance(message, ListenV1Results)]
    assert any(message.from_finalize for message in results) and any(message.speech_final for message in results)
    texts = [message.channel.alternatives[0].transcript for message in results if message.is_final]
    return " ".join(text for text in texts if text)


def main():
    address, key, path = sys.argv[1:]
    socket = address.replace("http", "ws", 1)
    client = DeepgramClient(api_key=key, environment=DeepgramClientEnvironment(
        base=address, production=socket, agent=socket, agent_rest=address))
    said = {}
    threads = [threading.Thread(target=lambda ask=ask: said.update({ask.__name__: ask(client, path)})) for ask in (flux, nova)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("flux", "nova"):
        print(name, said[name])


if __name__ == "__main__":
    main()

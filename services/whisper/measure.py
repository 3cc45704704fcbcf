#!/usr/bin/env python3
"""The word error rate and the latency of a running recogniser, on prompts that a person spoke, at telephone quality.

    services/recordings && services/run -- services/whisper/measure.py

Each prompt named in Tests/Recordings/asterisk-prompts.txt goes through 8 kHz µ-law, as it would on a line, and is
posted as raw samples over one connection, one after the other. The words expected are those of the package's
transcript. Both sides are compared in lower case without punctuation, digits as words, common contractions written
out: what a caller said, not how it is spelled. Rate = (substitutions + deletions + insertions) / words expected, over
all prompts.

Prints one JSON object; exit 0 when the rate is within the threshold, 1 when not, 2 when it could not be measured.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import sys
import time
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = os.path.join(ROOT, ".cache/venv/bin/python")
if __name__ == "__main__" and os.path.exists(PYTHON) and not sys.executable.startswith(os.path.join(ROOT, ".cache")):
    os.execv(PYTHON, [PYTHON, *sys.argv])  # numpy lives in the environment.
sys.path[:0] = [os.path.dirname(HERE)]

import numpy

import pcm

RECORDINGS = os.path.join(ROOT, ".cache/recordings")
LIST = os.path.join(ROOT, "Tests/Recordings/asterisk-prompts.txt")
THRESHOLD = 0.05


def main():
    arguments = argparse.ArgumentParser(description="word error rate of a running recogniser")
    arguments.add_argument("--url", default=os.environ.get("VCHOST_WHISPER_URL", "http://127.0.0.1:8101"))
    arguments.add_argument("--list", default=LIST)
    arguments.add_argument("--errors", action="store_true", help="also print each prompt that was misheard, to stderr")
    options = arguments.parse_args()
    try:
        names, words = read_list(options.list), read_transcripts()
        connection = http.client.HTTPConnection(urlsplit(options.url).netloc, timeout=30)
        results = [measure(connection, name, words[name], options.errors) for name in names]
    except (OSError, KeyError, http.client.HTTPException) as error:
        print(f"cannot measure: {error!r}; run services/recordings and services/run first", file=sys.stderr)
        return 2
    errors, expected = sum(result[0] for result in results), sum(result[1] for result in results)
    latency = sorted(result[2] for result in results)
    rate = errors / expected
    print(json.dumps({
        "wer": round(rate, 4), "threshold": THRESHOLD, "pass": rate <= THRESHOLD, "utterances": len(results),
        "words": expected, "errors": errors, "median": round(statistics.median(latency)),
        "p90": round(latency[int(len(latency) * 0.9)]), "max": round(latency[-1]), "unit": "ms",
        "audioSeconds": round(sum(result[3] for result in results)), "fallbacks": sum(result[4] for result in results),
    }))
    return 0 if rate <= THRESHOLD else 1


def read_list(path):
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def read_transcripts():
    with open(os.path.join(RECORDINGS, "transcripts.txt"), encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file if not line.startswith(";"))
        return {name.strip(): text.strip() for name, _, text in pairs if text.strip()}


def measure(connection, name, text, show_errors):
    """`(errors, words, milliseconds, seconds, fellBack)` of one prompt."""
    with open(os.path.join(RECORDINGS, "en", name + ".wav"), "rb") as file:
        samples, rate_hz = pcm.decode_wav(file.read())
    body = pcm.encode_s16(through_telephone(pcm.resample(samples, rate_hz, 8000)))
    began = time.monotonic()
    connection.request("POST", "/v1/audio/transcriptions?language=en", body,
                       {"Content-Type": "audio/L16;rate=8000;channels=1"})
    response = connection.getresponse()
    answer = json.load(response)
    took = (time.monotonic() - began) * 1000
    if response.status != 200:
        raise OSError(f"{name}: {response.status} {answer}")
    expected, heard = normal(text), normal(answer["text"])
    errors = distance(expected, heard)
    if errors and show_errors:
        print(f"{errors} {name}\n    said:  {' '.join(expected)}\n    heard: {' '.join(heard)}", file=sys.stderr)
    return errors, len(expected), took, answer["duration"], answer["timing"]["fallback"] is not None


def through_telephone(samples):
    """Coded and decoded as G.711 µ-law (ITU-T G.711, by its continuous law quantised to 8 bits)."""
    coded = numpy.sign(samples) * numpy.log1p(255 * numpy.abs(samples)) / numpy.log(256)
    coded = numpy.round(coded * 127) / 127
    return numpy.sign(coded) * (256 ** numpy.abs(coded) - 1) / 255


UNITS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
         "seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
CONTRACTIONS = {"i'm": "i am", "i'd": "i would", "you'd": "you would", "you've": "you have", "you're": "you are",
                "we're": "we are", "that's": "that is", "can't": "cannot", "don't": "do not", "thru": "through"}
JOINED = {("voice", "mail"): "voicemail", ("log", "in"): "login", ("mail", "box"): "mailbox", ("can", "not"): "cannot",
          ("touch", "tone"): "touchtone", ("key", "pad"): "keypad", ("pass", "word"): "password"}


def normal(text):
    text = text.lower().replace("’", "'").replace("#", " pound ").replace("*", " star ")
    words = []
    for word in re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", text):
        words += number_words(word) if word.isdigit() else CONTRACTIONS.get(word, word).replace("'", "").split()
    joined = []
    for word in words:
        if joined and (joined[-1], word) in JOINED:
            joined[-1] = JOINED[joined[-1], word]
        else:
            joined.append(word)
    return joined


def number_words(digits):
    number = int(digits)
    if number < 20 and len(digits) < 3:
        return [UNITS[number]]
    if len(digits) == 2:
        return [TENS[number // 10 - 2]] + ([UNITS[number % 10]] if number % 10 else [])
    if len(digits) == 3 and number % 100 == 0:
        return [UNITS[number // 100], "hundred"]
    return [UNITS[int(digit)] for digit in digits]


def distance(expected, heard):
    """Levenshtein's distance in words."""
    row = list(range(len(heard) + 1))
    for index, word in enumerate(expected, 1):
        previous, row[0] = row[0], index
        for column, other in enumerate(heard, 1):
            previous, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, previous + (word != other))
    return row[-1]


if __name__ == "__main__":
    sys.exit(main())

"""Sound for the callers of these tests, and what can be told from a recording: levels, pitches, how alike two are.

8 kHz, mono, 16 bit throughout. Pure Python is fast enough: the longest recording here has half a minute.
"""

import array
import math
import pathlib
import random
import wave

RATE_HZ = 8000
FRAME = 160  # 20 ms
# -44 dBFS: above the noise of a line, below any voice.
LOUD = 200


def read(path, channel=0):
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path} is not 16 bit")
        samples = array.array("h", file.readframes(file.getnframes()))
        return samples[channel::file.getnchannels()], file.getframerate()


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(array.array("h", samples).tobytes())


def silence(seconds):
    return array.array("h", bytes(2 * int(seconds * RATE_HZ)))


def voice(seconds, pitch_hz=140, seed=1):
    """Something that detectors take for a voice: harmonics with formants, in syllables of a quarter of a second."""
    chance = random.Random(seed)
    samples = array.array("h")
    for index in range(int(seconds * RATE_HZ)):
        if index % 2000 == 0:
            pitch = pitch_hz * chance.uniform(0.9, 1.2)
            formants = [chance.uniform(400, 800), chance.uniform(1000, 1800)]
            partials = [(n * pitch, sum(1 / (1 + ((n * pitch - f) / 150) ** 2) for f in formants)) for n in range(1, 16)]
        envelope = 0.35 + 0.65 * math.sin(math.pi * (index % 2000) / 2000)
        time = index / RATE_HZ
        samples.append(int(3500 * envelope * sum(a * math.sin(2 * math.pi * f * time) for f, a in partials)))
    return samples


def joined(*parts):
    whole = array.array("h")
    for part in parts:
        whole.extend(part)
    return whole


def mu_law(samples):
    """G.711 (ITU-T G.711, table 2a), as a raw file for sipp."""
    coded = bytearray()
    for sample in samples:
        sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
        magnitude = min(magnitude, 32635) + 132
        exponent = magnitude.bit_length() - 8
        coded.append(~(sign | exponent << 4 | magnitude >> exponent + 3 & 15) & 0xFF)
    return bytes(coded)


def from_mu_law(coded):
    """What a listener hears of these codes."""
    def sample(code):
        bits = ~code & 0xFF
        magnitude = (((bits & 15) << 3) + 0x84 << (bits >> 4 & 7)) - 0x84
        return -magnitude if bits & 0x80 else magnitude
    return array.array("h", [sample(code) for code in coded])


def levels(samples, frame=FRAME):
    """Root mean square of each 20 ms."""
    return [math.sqrt(sum(s * s for s in samples[at:at + frame]) / frame) for at in range(0, len(samples) - frame + 1, frame)]


def spans(samples, threshold=LOUD, pause_frames=15):
    """Stretches of sound as (first sample, last sample); pauses shorter than 300 ms belong to them."""
    found = []
    for number, level in enumerate(levels(samples)):
        if level < threshold:
            continue
        if found and number - found[-1][1] <= pause_frames:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [(first * FRAME, (last + 1) * FRAME) for first, last in found]


def share_of_pitch(samples, hertz):
    """How much of the power is at `hertz`, 0 ... 1 (Goertzel's algorithm)."""
    turn = 2 * math.cos(2 * math.pi * hertz / RATE_HZ)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + turn * last - before
    power = sum(s * s for s in samples)
    return (last * last + before * before - turn * last * before) * 2 / len(samples) / power if power else 0.0


def likeness(one, other, lag_frames=250):
    """The best correlation of the two loudness curves over all shifts up to five seconds: 1 is the same."""
    a, b = levels(one), levels(other)
    return max((_correlation(a, b, lag) for lag in range(-lag_frames, lag_frames + 1)), default=0.0)


def _correlation(a, b, lag):
    pairs = [(a[i], b[i + lag]) for i in range(max(0, -lag), min(len(a), len(b) - lag))]
    # A short overlap of two silences is like anything.
    if len(pairs) < min(len(a), len(b)) * 0.6:
        return 0.0
    mean_a, mean_b = (sum(side) / len(pairs) for side in zip(*pairs))
    cross = sum((x - mean_a) * (y - mean_b) for x, y in pairs)
    power = math.sqrt(sum((x - mean_a) ** 2 for x, _ in pairs) * sum((y - mean_b) ** 2 for _, y in pairs))
    return cross / power if power else 0.0


def recording_of_a_person(name):
    """One of the demonstration's turns, made by services/recordings and services/demo/build."""
    folder = pathlib.Path(__file__).resolve().parents[2] / ".cache/demo"
    found = sorted(folder.glob(f"*-{name}.wav"))
    if not found:
        raise FileNotFoundError(f"there is no {name} in {folder}; run services/recordings and services/demo/build")
    return read(found[0])[0]

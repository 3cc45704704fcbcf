"""Samples in and out of bytes, and from one rate to another: all that the services need of audio, in numpy.

A media library (FFmpeg's Python binding is 100 MB on disk) would read every format there is; telephone audio
comes as 16-bit samples with or without a RIFF header, which is a page.
"""

import math
import struct
from functools import lru_cache

import numpy

MIN_RATE_HZ, MAX_RATE_HZ = 8000, 48000


class BadAudio(ValueError):
    """The bytes are not audio that is understood; the message says why."""


def decode_s16(data, channels=1, big_endian=False):
    """Mono float samples in -1 … 1 from interleaved signed 16-bit ones."""
    if len(data) % (2 * channels):
        raise BadAudio(f"{len(data)} bytes are no whole number of 16-bit frames of {channels} channel(s)")
    samples = numpy.frombuffer(data, dtype=">i2" if big_endian else "<i2").astype(numpy.float32) / 32768
    return samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1)


def encode_s16(samples):
    """Signed 16-bit little-endian bytes of float samples, clipped."""
    return (numpy.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def decode_wav(data):
    """`(samples, rateHz)` of a RIFF file with 16-bit PCM, mono or stereo (RIFF: Microsoft, "Multimedia Programming
    Interface and Data Specifications 1.0")."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadAudio("this is no RIFF/WAVE file; send 16-bit PCM WAV, or raw samples as audio/L16")
    layout, position = None, 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        # A writer to a pipe leaves sizes too large: take what is there.
        content = data[position + 8:position + 8 + size]
        if name == b"fmt ":
            layout = _wav_layout(content)
        elif name == b"data":
            if layout is None:
                raise BadAudio("the WAV file has its data before its format")
            channels, rate_hz = layout
            return decode_s16(content[:len(content) // (2 * channels) * 2 * channels], channels), rate_hz
        position += 8 + size + size % 2
    raise BadAudio("the WAV file has no data chunk")


def _wav_layout(content):
    if len(content) < 16:
        raise BadAudio("the WAV file's format chunk is cut off")
    encoding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", content)
    if encoding == 0xFFFE and len(content) >= 26:  # Extensible: the encoding opens the sub-format's GUID.
        encoding = struct.unpack_from("<H", content, 24)[0]
    if encoding != 1 or bits != 16 or channels not in (1, 2) or not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise BadAudio(
            f"the WAV file has encoding {encoding}, {bits} bit, {channels} channel(s), {rate_hz} Hz; it must have PCM "
            f"(encoding 1), 16 bit, 1 or 2 channels, {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz")
    return channels, rate_hz


def encode_wav(samples, rate_hz):
    """A RIFF file, 16-bit PCM mono."""
    data = encode_s16(samples)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2,
                       2, 16, b"data", len(data)) + data


def resample(samples, from_hz, to_hz):
    """The same sound at another rate, by a polyphase windowed-sinc filter (Smith, "Digital Audio Resampling")."""
    if from_hz == to_hz or len(samples) == 0:
        return samples
    divisor = math.gcd(from_hz, to_hz)
    up, down = to_hz // divisor, from_hz // divisor
    filters = _polyphase(up, down)
    taps = filters.shape[1]
    count = -(-len(samples) * up // down)
    padded = numpy.concatenate([numpy.zeros(taps // 2 - 1, numpy.float32), samples,
                                numpy.zeros(taps // 2 + down + 1, numpy.float32)]).astype(numpy.float32)
    windows = numpy.lib.stride_tricks.sliding_window_view(padded, taps)
    out = numpy.empty(count, numpy.float32)
    for phase in range(min(up, count)):
        places = len(range(phase, count, up))
        start = phase * down // up
        out[phase::up] = windows[start:start + (places - 1) * down + 1:down] @ filters[phase]
    return out


@lru_cache(maxsize=16)
def _polyphase(up, down):
    """One row of taps for each phase; 24 zero crossings a side under a Kaiser window: about 80 dB down."""
    cutoff = min(1.0, up / down) * 0.95
    half = math.ceil(24 / cutoff)
    at = numpy.arange(-half + 1, half + 1)[None, :] - ((numpy.arange(up) * down % up) / up)[:, None]
    window = numpy.i0(8.0 * numpy.sqrt(numpy.clip(1 - (at / half) ** 2, 0, 1))) / numpy.i0(8.0)
    filters = cutoff * numpy.sinc(cutoff * at) * window
    return (filters / filters.sum(axis=1, keepdims=True)).astype(numpy.float32)

"""Whisper's input: a log-mel spectrogram (Radford et al. 2022, section 2.2), 80 bands, one frame each 10 ms.

Computed for the audio that there is, and filled with the value of silence up to the window: the transform of padding
is known beforehand.
"""

from functools import lru_cache

import numpy

RATE_HZ = 16000
FRAMES_PER_SECOND = 100
FFT, HOP = 400, RATE_HZ // FRAMES_PER_SECOND


def log_mel(samples, window_seconds, bands=80):
    """`[1, bands, window_seconds * 100]` float32 of 16 kHz samples no longer than the window."""
    frame_count = round(window_seconds * FRAMES_PER_SECOND)
    heard = min(frame_count, len(samples) // HOP + 2)
    padded = numpy.pad(samples, (FFT // 2, 0), mode="reflect" if len(samples) > FFT else "constant")
    padded = numpy.pad(padded, (0, max(0, heard * HOP + FFT - len(padded))))
    frames = numpy.lib.stride_tricks.sliding_window_view(padded, FFT)[:heard * HOP:HOP] * _hann()
    power = numpy.abs(numpy.fft.rfft(frames, axis=1)).astype(numpy.float32) ** 2
    mel = numpy.log10(numpy.maximum(_mel_filters(bands) @ power.T, 1e-10))
    out = numpy.full((1, bands, frame_count), -10.0, numpy.float32)
    out[0, :, :heard] = mel
    return numpy.ascontiguousarray((numpy.maximum(out, out.max() - 8.0) + 4.0) / 4.0)


@lru_cache(maxsize=1)
def _hann():
    return (0.5 - 0.5 * numpy.cos(2 * numpy.pi * numpy.arange(FFT) / FFT)).astype(numpy.float32)


@lru_cache(maxsize=2)
def _mel_filters(bands):
    """Triangles on Slaney's mel scale (linear below 1 kHz, logarithmic above), each of unit area."""
    step = numpy.log(6.4) / 27
    top = 15 + numpy.log(RATE_HZ / 2 / 1000) / step
    mels = numpy.linspace(0, top, bands + 2)
    edges = numpy.where(mels < 15, mels * 200 / 3, 1000 * numpy.exp(step * (mels - 15)))
    bins = numpy.arange(FFT // 2 + 1) * RATE_HZ / FFT
    rising = (bins[None, :] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None, :]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = numpy.maximum(0, numpy.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(numpy.float32)

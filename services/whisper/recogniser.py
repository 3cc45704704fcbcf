"""Whisper on one utterance of a telephone call: a short window first, the full one when the short one went wrong.

Whisper was trained on windows of 30 s, and pays for all 30 whatever was said. A window that just covers the
utterance costs a third, but the model then sometimes loops or stops early. So an utterance is decoded in a window
of 15 s (or its own length and a second), and four signs that something went wrong send it through the full
window: the length cap was hit, three words came twice, nothing came, or the model itself doubted (mean
log-probability under -0.6). On held-out telephone prompts that keeps the full window's word error rate at a
third of its time; windows of 8 and 10 s do not (README.md has the figures).

The engine is CTranslate2 in 8-bit integers, which is what faster-whisper runs on; faster-whisper itself would
bring a media library, a model hub's client and a second ONNX session for the 40 lines that are here.
"""

import math
import os
import re
import time
from dataclasses import dataclass

import ctranslate2
import numpy
import tokenizers

import pcm
from features import RATE_HZ, log_mel

SHORT_WINDOW_SECONDS = 15.0
FULL_WINDOW_SECONDS = 30.0
# Longer audio is cut into pieces of at most this length, at the quietest place of the last 8 s.
MAX_PIECE_SECONDS = 28.0
# Fast speech has about 6 tokens a second; a loop has no end.
TOKENS_PER_SECOND, SPARE_TOKENS, MAX_TOKENS = 9, 16, 224
DOUBTFUL_SCORE = -0.6
# Whisper's own rule for silence (Radford et al. 2022, section 4.5).
NO_SPEECH_PROBABILITY, NO_SPEECH_SCORE = 0.6, -1.0
# Below this level (full scale = 1) there is no voice on any line, and Whisper hallucinates on silence.
SILENCE_RMS = 10 ** (-65 / 20)


@dataclass
class Segment:
    start: float
    end: float
    text: str
    score: float = 0.0
    no_speech_probability: float = 0.0
    window_seconds: float = 0.0
    fallback: str = ""
    token_count: int = 0


@dataclass
class Transcript:
    language: str
    duration: float
    segments: list
    decode_ms: float

    @property
    def text(self):
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def confidence(self):
        """The geometric mean of the token probabilities, over all segments that have text."""
        spoken = [segment for segment in self.segments if segment.text]
        tokens = sum(segment.token_count for segment in spoken)
        return math.exp(sum(s.score * s.token_count for s in spoken) / tokens) if tokens else 0.0


class Recogniser:
    def __init__(self, folder, threads, workers):
        self.model = ctranslate2.models.Whisper(
            folder, device="cpu", compute_type="int8", intra_threads=threads, inter_threads=workers)
        self.tokenizer = tokenizers.Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        self.multilingual = self.model.is_multilingual
        self.languages = self._languages() if self.multilingual else ["en"]
        self.transcribe(numpy.random.default_rng(1).normal(0, 0.01, RATE_HZ).astype(numpy.float32), RATE_HZ, None)

    def _languages(self):
        names = (re.fullmatch(r"<\|([a-z]{2,3})\|>", token) for token in self.tokenizer.get_vocab())
        return sorted(match[1] for match in names if match)

    def transcribe(self, samples, rate_hz, language, is_gone=lambda: False):
        """The transcript of mono float samples, or None once `is_gone` says that nobody waits for it any more."""
        began = time.monotonic()
        duration = len(samples) / rate_hz
        samples = pcm.resample(samples, rate_hz, RATE_HZ)
        segments = []
        for start, piece in _pieces(samples):
            if segments and is_gone():
                return None
            seconds = len(piece) / RATE_HZ
            segment = Segment(start, start + seconds, "")
            if math.sqrt(float(numpy.mean(piece * piece))) > SILENCE_RMS:
                if language is None:
                    language = self._detect(piece)
                window = max(SHORT_WINDOW_SECONDS, seconds + 1)
                segment = self._decode(piece, start, window, language)
                if segment.fallback and window < FULL_WINDOW_SECONDS:
                    if is_gone():
                        return None
                    reason = segment.fallback
                    segment = self._decode(piece, start, FULL_WINDOW_SECONDS, language)
                    segment.fallback = reason
                if segment.no_speech_probability > NO_SPEECH_PROBABILITY and segment.score < NO_SPEECH_SCORE:
                    segment.text = ""
            segments.append(segment)
        return Transcript(language or "en", duration, segments, (time.monotonic() - began) * 1000)

    def _detect(self, piece):
        if not self.multilingual:
            return "en"
        features = ctranslate2.StorageView.from_array(log_mel(piece, FULL_WINDOW_SECONDS))
        return self.model.detect_language(features)[0][0][0].strip("<|>")

    def _decode(self, piece, start, window_seconds, language):
        seconds = len(piece) / RATE_HZ
        prompt = ["<|startoftranscript|>"] + ([f"<|{language}|>", "<|transcribe|>"] if self.multilingual else [])
        prompt = [self.tokenizer.token_to_id(token) for token in prompt + ["<|notimestamps|>"]]
        cap = min(MAX_TOKENS, SPARE_TOKENS + math.ceil(seconds * TOKENS_PER_SECOND))
        result = self.model.generate(
            ctranslate2.StorageView.from_array(log_mel(piece, window_seconds)), [prompt],
            # Greedy is enough for English; other languages gain from a beam and loop less.
            beam_size=1 if language == "en" else 5,
            max_length=len(prompt) + cap, return_scores=True, return_no_speech_prob=True)[0]
        tokens = result.sequences_ids[0]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        # CTranslate2 divides the sum by the length; the end token, which it leaves out, is a choice as well.
        score = result.scores[0] * len(tokens) / (len(tokens) + 1)
        segment = Segment(start, start + seconds, text, score, result.no_speech_prob, window_seconds)
        segment.token_count = len(tokens)
        segment.fallback = _what_went_wrong(text, len(tokens) >= cap, score)
        return segment


def _what_went_wrong(text, capped, score):
    words = re.findall(r"[\w']+", text.lower())
    triples = list(zip(words, words[1:], words[2:]))
    if capped:
        return "length"
    if len(set(triples)) < len(triples):
        return "repetition"
    if not words:
        return "empty"
    return "score" if score < DOUBTFUL_SCORE else ""


def _pieces(samples):
    """`(startSeconds, samples)` of at most MAX_PIECE_SECONDS, cut where it is quietest."""
    start, longest = 0, int(MAX_PIECE_SECONDS * RATE_HZ)
    while len(samples) - start > longest:
        hop = RATE_HZ // 50
        tail = samples[start + longest - 8 * RATE_HZ:start + longest].reshape(-1, hop)
        cut = start + longest - 8 * RATE_HZ + int((tail * tail).sum(axis=1).argmin()) * hop + hop // 2
        yield start / RATE_HZ, samples[start:cut]
        start = cut
    yield start / RATE_HZ, samples[start:]

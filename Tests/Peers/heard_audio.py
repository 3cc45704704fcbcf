"""What a fake recogniser hears: the words of a recording, where the audio that it received is that recording.

Nothing is recognised here. A fake knows which recordings the caller may play, and what is said in each of them and when. It
compares the loudness of what it received, every 20 ms, with the loudness of the recordings, and says a word when the
stretch in which it lies has arrived and is alike. So words come only from a caller who is really heard: audio that is
silent, garbled, at another rate, of the wrong encoding or with a piece missing has no words, or not all of them.

    ear = Ear([Reference.of(samples, "They have been carried away")])
    ear.take(samples_as_they_arrive)
    ear.words()       # [Word("They", 0.31, 0.52), ...], in seconds of what was received

8 kHz, 16 bit, pure Python: with three recordings a fake needs a two-hundredth of a core for a call.
"""

import array
import itertools
import math
import operator
from typing import NamedTuple

RATE_HZ = 8000
FRAME = 160  # 20 ms
FRAMES_PER_S = RATE_HZ // FRAME
# The noise of a line is below it: -44 dBFS, as `loudness` has it.
QUIET = math.log10(1 + 200 / 50)
# Less than this of a recording is like too many others.
OVERLAP_MIN = 40
# Loudness curves of the same speech, through two codings and a shift of half a frame, are at 0.95 and above; of different
# speech below 0.7.
LIKENESS_MIN = 0.85
# Silence after a recording belongs to it: the last word alone is found with it.
TAIL = 30


class Word(NamedTuple):
    text: str
    start: float
    end: float


def loudness(samples):
    """The level of each whole 20 ms, compressed: a loud vowel must not outweigh all the rest."""
    return [math.log10(1 + math.sqrt(sum(s * s for s in samples[at:at + FRAME]) / FRAME) / 50)
            for at in range(0, len(samples) - FRAME + 1, FRAME)]


def mu_law_decoded(data):
    """G.711 µ-law as samples."""
    return array.array("h", (MU_LAW[byte] for byte in data))


def _mu_law(byte):
    byte = ~byte & 0xFF
    magnitude = ((byte & 15) << 3) + 132 << (byte >> 4 & 7)
    return (132 - magnitude) if byte & 0x80 else (magnitude - 132)


MU_LAW = [_mu_law(byte) for byte in range(256)]


def halved(samples):
    """16 kHz made 8 kHz: the mean of two."""
    return array.array("h", ((a + b) // 2 for a, b in zip(samples[::2], samples[1::2])))


class Reference:
    """A recording, and its words with their times in seconds."""

    def __init__(self, samples, words):
        self.words = [Word(*word) for word in words]
        self.curve = loudness(samples) + [0.0] * TAIL
        self.frames = len(self.curve)
        self.sums = [0.0, *itertools.accumulate(self.curve)]
        self.powers = [0.0, *itertools.accumulate(level * level for level in self.curve)]

    @classmethod
    def of(cls, samples, text):
        """Words take their share of the speech by their letters; where exactly one ends is of no importance to a fake."""
        loud = [number for number, level in enumerate(loudness(samples)) if level > QUIET]
        if not loud:
            raise ValueError("the recording is silent")
        tokens = text.split()
        letters = [len(token) + 1 for token in tokens]
        words, done = [], 0
        for token, count in zip(tokens, letters):
            first = loud[len(loud) * done // sum(letters)]
            done += count
            last = loud[max(0, len(loud) * done // sum(letters) - 1)]
            words.append(Word(token, first / FRAMES_PER_S, (last + 1) / FRAMES_PER_S))
        return cls(samples, words)


class Ear:
    def __init__(self, references):
        self.references = references
        self.curve = []
        self._rest = array.array("h")
        # Recordings that were heard to their end: (reference, frame at which it began).
        self._found = []
        self._searched = 0
        self._current = None
        # Of the curve up to each frame, and of its squares.
        self._sums, self._powers = [0.0], [0.0]

    def take(self, samples):
        self._rest.extend(samples)
        whole = len(self._rest) // FRAME * FRAME
        self.curve.extend(loudness(self._rest[:whole]))
        self._rest = self._rest[whole:]

    @property
    def seconds(self):
        return len(self.curve) / FRAMES_PER_S

    def silence_s(self):
        """How long it has been quiet."""
        count = 0
        for level in reversed(self.curve):
            if level > QUIET:
                break
            count += 1
        return count / FRAMES_PER_S

    def words(self):
        """All words heard so far, in order. Those of a recording that is still arriving may yet be taken back."""
        self._search()
        places = self._found + ([self._current] if self._current else [])
        heard = []
        for reference, lag in places:
            for word in reference.words:
                start, end = word.start + lag / FRAMES_PER_S, word.end + lag / FRAMES_PER_S
                # A word whose beginning was not received was not heard.
                if start > -0.06 and end <= self.seconds:
                    heard.append(Word(word.text, max(0.0, round(start, 3)), round(end, 3)))
        return heard

    def _search(self):
        count = len(self.curve)
        if count == self._searched:
            return
        self._searched = count
        for level in self.curve[len(self._sums) - 1:]:
            self._sums.append(self._sums[-1] + level)
            self._powers.append(self._powers[-1] + level * level)
        # What was found goes on where it was; where nothing was and nothing is loud, nothing begins.
        best = None
        if self._current:
            reference, lag = self._current
            best = self._best([(reference, near) for near in range(lag - 2, lag + 3)])
        if best is None and (self._current or max(self.curve[-OVERLAP_MIN:]) > QUIET):
            taken = max((lag + reference.frames - TAIL for reference, lag in self._found), default=-10**9)
            best = self._best([
                (reference, lag) for reference in self.references
                for lag in range(max(count - reference.frames - 25, taken, -reference.frames + OVERLAP_MIN), count - OVERLAP_MIN)])
        self._current = best
        if best and best[1] + best[0].frames <= count:
            self._found.append(best)
            self._current = None

    def _best(self, places):
        best, best_score = None, 0.0
        for reference, lag in places:
            score = self._likeness(reference, lag)
            overlap = min(len(self.curve), lag + reference.frames) - max(0, lag)
            if score >= LIKENESS_MIN and score * math.sqrt(overlap) > best_score:
                best, best_score = (reference, lag), score * math.sqrt(overlap)
        return best

    def _likeness(self, reference, lag):
        """Pearson's correlation of what overlaps."""
        first, last = max(0, lag), min(len(self.curve), lag + reference.frames)
        n = last - first
        if n < OVERLAP_MIN:
            return 0.0
        sum_a, power_a = self._sums[last] - self._sums[first], self._powers[last] - self._powers[first]
        sum_b = reference.sums[last - lag] - reference.sums[first - lag]
        power_b = reference.powers[last - lag] - reference.powers[first - lag]
        power_a, power_b = power_a - sum_a * sum_a / n, power_b - sum_b * sum_b / n
        # Two silences are alike, and say nothing.
        if power_a < 0.02 * n or power_b < 0.02 * n:
            return 0.0
        cross = sum(map(operator.mul, self.curve[first:last], reference.curve[first - lag:last - lag])) - sum_a * sum_b / n
        return cross / math.sqrt(power_a * power_b)

/*  Energy above the line's own noise, corrected where energy alone is known to be wrong.

    The floor is the quietest 32 ms window of the last two seconds (minimum statistics, R. Martin, 2001, without the
    spectrum): speech has a gap of one window well within two seconds, noise does not. It follows a quieter line at once
    and a louder one after two seconds, and it needs no decision about what is speech, so it cannot lock itself up as a
    floor does that is only updated "while nobody speaks".

    Three things are loud and not speech:
      - mains hum and its first harmonics: a high-pass filter at 200 Hz goes before everything. A voice loses its
        fundamental, which the telephone never carried;
      - hiss: a window that crosses zero like white noise has to be 4 dB louder;
      - keys: two tones of the eight of DTMF carry nearly all of a key's energy, and never that much of a voice's. They
        are looked for only in windows loud enough to matter. (Refused: taking whatever a short linear prediction
        predicts for a tone. It needs 30 dB between tone and noise, which G.711 does not leave to a predictor.)

    The same arithmetic in the same order stands in Swift, as what the host falls back on when a detector fails; a test
    compares the two. Whoever changes one changes both.  */
#include "energy_detector.h"

#include <math.h>

/// Second-order Butterworth high-pass, 200 Hz at 8 kHz (bilinear transform).
static const float B0 = 0.89485861f, B1 = -1.78971721f, B2 = 0.89485861f, A1 = -1.77863178f, A2 = 0.80080265f;

/// Lowest floor, dBFS: the quantisation noise of G.711 in silence. Below it nothing is a line's noise.
static const float FLOOR_MIN_DB = -62.0f;
/// What the floor is taken for while less than one block was heard: a caller who speaks at once is heard at once.
static const float FLOOR_FIRST_DB = -45.0f;
/// The minimum of 64 windows of noise lies this much below their mean.
static const float FLOOR_BIAS_DB = 1.0f;
/// Above the floor by this much: even odds. The slope makes 0.2 of 2.5 dB less, and 0.8 of 2.5 dB more.
static const float EVEN_ODDS_DB = 10.0f, SLOPE_DB = 1.8f;
/// Zero crossings per sample from which a window counts as hiss (white noise: 0.5), and what is asked of it.
static const float HISS_CROSSINGS = 0.42f, HISS_DB = 4.0f;
/// Twice the cosine of each row's and column's frequency: 697, 770, 852, 941 and 1209, 1336, 1477, 1633 Hz.
static const float KEY_ROWS[4] = {1.7077378f, 1.6452810f, 1.5686870f, 1.4782046f};
static const float KEY_COLUMNS[4] = {1.1641040f, 0.9963702f, 0.7986184f, 0.5685327f};
/// A key: so much of the energy in its two tones together, and in each of them. Tones that are off leave a third.
static const float KEY_BOTH = 0.6f, KEY_EACH = 0.1f;
/// What is left of the probability of a key.
static const float KEY_FACTOR = 0.05f;
enum {
    BLOCK_WINDOWS = 8, ///< A block of the floor is 256 ms.
    KEY_SAMPLES = 128, ///< 62 Hz wide, so that a key that is off by its permitted 1.8 % is still seen.
};

void energy_detector_reset(energy_detector *detector) {
    *detector = (energy_detector){.block_minimum = FLOOR_FIRST_DB};
    for (int block = 0; block < ENERGY_FLOOR_BLOCKS; block++) detector->block_minima[block] = FLOOR_FIRST_DB;
}

/// To 8 kHz, because nothing above 4 kHz tells speech from noise on a telephone, and through the high-pass filter.
static void prepare(energy_detector *detector, const int16_t *samples, uint32_t rate_hz, float *filtered) {
    float x1 = detector->filter[0], x2 = detector->filter[1], y1 = detector->filter[2], y2 = detector->filter[3];
    float last = detector->decimator;
    for (int n = 0; n < ENERGY_WINDOW_8K; n++) {
        float x;
        if (rate_hz == 16000) {
            x = 0.25f * last + 0.5f * samples[2 * n] + 0.25f * samples[2 * n + 1];
            last = samples[2 * n + 1];
        } else {
            x = samples[n];
        }
        const float y = B0 * x + B1 * x1 + B2 * x2 - A1 * y1 - A2 * y2;
        x2 = x1, x1 = x, y2 = y1, y1 = y;
        filtered[n] = y;
    }
    detector->filter[0] = x1, detector->filter[1] = x2, detector->filter[2] = y1, detector->filter[3] = y2;
    detector->decimator = last;
}

/// The floor of the line after a window of `level` dBFS.
static float follow_floor(energy_detector *detector, float level) {
    if (level < detector->block_minimum) detector->block_minimum = level;
    float lowest = detector->block_minimum;
    for (int block = 0; block < ENERGY_FLOOR_BLOCKS; block++)
        if (detector->block_minima[block] < lowest) lowest = detector->block_minima[block];
    if (++detector->block_windows == BLOCK_WINDOWS) {
        detector->block_minima[detector->block_next] = detector->block_minimum;
        detector->block_next = (uint16_t)((detector->block_next + 1) % ENERGY_FLOOR_BLOCKS);
        detector->block_minimum = 0;
        detector->block_windows = 0;
    }
    lowest += FLOOR_BIAS_DB;
    return lowest < FLOOR_MIN_DB ? FLOOR_MIN_DB : lowest;
}

/// The energy of `y` at a frequency of which `coefficient` is twice the cosine, by Goertzel's recursion. A tone alone
/// gives as much as the sum of its squares.
static float energy_at(float coefficient, const float *y) {
    float s1 = 0, s2 = 0;
    for (int n = 0; n < KEY_SAMPLES; n++) {
        const float s0 = y[n] + coefficient * s1 - s2;
        s2 = s1, s1 = s0;
    }
    return (s1 * s1 + s2 * s2 - coefficient * s1 * s2) * (2.0f / KEY_SAMPLES);
}

/// True when nearly all of the window's `energy` is one row's tone and one column's (ITU-T Q.23).
static int is_key(const float *y, float energy) {
    float rows = 0, columns = 0;
    for (int start = 0; start < ENERGY_WINDOW_8K; start += KEY_SAMPLES) {
        float row = 0, column = 0;
        for (int tone = 0; tone < 4; tone++) {
            row = fmaxf(row, energy_at(KEY_ROWS[tone], y + start));
            column = fmaxf(column, energy_at(KEY_COLUMNS[tone], y + start));
        }
        rows += row, columns += column;
    }
    return rows > KEY_EACH * energy && columns > KEY_EACH * energy && rows + columns > KEY_BOTH * energy;
}

float energy_detector_process(energy_detector *detector, const int16_t *samples, uint32_t rate_hz) {
    float filtered[ENERGY_WINDOW_8K];
    prepare(detector, samples, rate_hz, filtered);

    float energy = 0;
    int crossings = 0;
    for (int n = 0; n < ENERGY_WINDOW_8K; n++) {
        energy += filtered[n] * filtered[n];
        if (n > 0) crossings += (filtered[n] < 0) != (filtered[n - 1] < 0);
    }
    const float full_scale = 32768.0f * 32768.0f * ENERGY_WINDOW_8K;
    const float level = 10.0f * log10f(energy / full_scale + 1e-10f);
    float above = level - follow_floor(detector, level);
    if ((float)crossings > HISS_CROSSINGS * (ENERGY_WINDOW_8K - 1)) above -= HISS_DB;

    const float probability = 1.0f / (1.0f + expf((EVEN_ODDS_DB - above) / SLOPE_DB));
    return probability > 0.1f && is_key(filtered, energy) ? probability * KEY_FACTOR : probability;
}

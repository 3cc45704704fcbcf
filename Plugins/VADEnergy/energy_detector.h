/// @file A voice activity detector that counts energy: one call's memory, and one window's decision.
// SPDX-License-Identifier: Apache-2.0
#ifndef ENERGY_DETECTOR_H
#define ENERGY_DETECTOR_H

#include <stdint.h>

enum {
    ENERGY_WINDOW_8K = 256, ///< 32 ms: the window of the neural detector too, so that each can stand in for the other.
    ENERGY_WINDOW_16K = 512,
    ENERGY_FLOOR_BLOCKS = 8, ///< With the one being filled, the noise floor looks back 2 to 2.3 s.
};

/// What is remembered of one call: 60 bytes, no pointers.
typedef struct energy_detector {
    float filter[4];                        ///< x[n-1], x[n-2], y[n-1], y[n-2] of the high-pass filter.
    float decimator;                        ///< The last sample of the previous window at 16 kHz.
    float block_minima[ENERGY_FLOOR_BLOCKS]; ///< The quietest window of each finished block, dBFS.
    float block_minimum;                    ///< The quietest window of the block being filled.
    uint16_t block_windows;
    uint16_t block_next;
} energy_detector;

/// Forgets everything: a new call, or a gap in one.
void energy_detector_reset(energy_detector *detector);

/// The probability, 0 to 1, that somebody speaks in a window of 256 samples at 8 kHz or 512 at 16 kHz.
float energy_detector_process(energy_detector *detector, const int16_t *samples, uint32_t rate_hz);

#endif

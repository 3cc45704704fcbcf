/// @file The voice: text in, samples out, one at a time in the whole process.
// SPDX-License-Identifier: Apache-2.0
#ifndef FLITE_VOICE_H
#define FLITE_VOICE_H

#include <stdint.h>

enum { FLITE_RATE_HZ = 8000 };

/// Registers the voice, once for the process. False when flite refuses. Any thread.
int flite_voice_prepare(void);

/// Synthesises plain ASCII text at `speed` times the normal speed. Any thread; waits while another one synthesises.
///
/// Returns the number of samples, and in `*samples` memory for `free`, NULL for none. -1 when flite gave up.
int64_t flite_voice_speak(const char *text, double speed, int16_t **samples);

#endif

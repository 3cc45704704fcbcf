/*  G.711 mu-law, as arithmetic: a sign, three bits of segment, four of mantissa, all inverted on the wire. The bias
    of 132 (33 in the 14 bits of ITU-T G.711) makes every segment begin at a power of two. Decoding and encoding again
    gives the same code, but for the second code of zero, so audio that passes through 16 bits here has lost
    nothing.  */
// SPDX-License-Identifier: Apache-2.0
#include "twilio_wire.h"

int16_t tw_mulaw_decode(uint8_t code) {
    const int bits = (uint8_t)~code;
    const int magnitude = ((((bits & 0x0f) << 3) + 0x84) << (bits >> 4 & 7)) - 0x84;
    return (int16_t)(bits & 0x80 ? -magnitude : magnitude);
}

uint8_t tw_mulaw_encode(int16_t sample) {
    int magnitude = sample < 0 ? -(int)sample : sample;
    magnitude = (magnitude > 32635 ? 32635 : magnitude) + 0x84;
    const int segment = 31 - __builtin_clz((unsigned)magnitude) - 7;
    return (uint8_t)~((sample < 0 ? 0x80 : 0) | segment << 4 | (magnitude >> (segment + 3) & 0x0f));
}

/*  Base64 (RFC 4648, section 4) without a buffer of its own. libcrypto has it too, but wants whole lines in one
    direction and cannot tell padding from bytes in the other.  */
// SPDX-License-Identifier: Apache-2.0
#include "twilio_wire.h"

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// By letter: comparisons would be guessed wrongly every other time, since audio is as good as random.
static const int8_t VALUES[128] = {
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
    -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 62, -1, -1, -1, 63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, -1, -1, -1, -1, -1, -1,
    -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, -1, -1, -1, -1, -1,
    -1, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
    41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, -1, -1, -1, -1, -1,
};

static int value_of(char letter) { return (unsigned char)letter < 128 ? VALUES[(unsigned char)letter] : -1; }

/// Whole groups without padding or escapes, which is nearly all of a message. Returns how many letters it took.
static size_t decode_plain(tw_text text, uint8_t *out, size_t room) {
    size_t index = 0;
    for (; index + 4 <= text.length && index / 4 * 3 + 3 <= room; index += 4) {
        const int a = value_of(text.at[index]), b = value_of(text.at[index + 1]);
        const int c = value_of(text.at[index + 2]), d = value_of(text.at[index + 3]);
        if ((a | b | c | d) < 0) break;
        uint8_t *bytes = out + index / 4 * 3;
        bytes[0] = (uint8_t)(a << 2 | b >> 4);
        bytes[1] = (uint8_t)(b << 4 | c >> 2);
        bytes[2] = (uint8_t)(c << 6 | d);
    }
    return index;
}

int32_t tw_base64_decode(tw_text text, uint8_t *out, size_t room) {
    const size_t plain = decode_plain(text, out, room);
    size_t count = plain / 4 * 3;
    uint32_t group = 0;
    int letters = 0, padding = 0;
    for (size_t index = plain; index < text.length; index++) {
        const char letter = text.at[index];
        // Some writers of JSON escape the slash.
        if (letter == '\\' && index + 1 < text.length && text.at[index + 1] == '/') continue;
        if (letter == '=') {
            padding++;
            group <<= 6;
        } else {
            const int value = value_of(letter);
            if (value < 0 || padding) return -1;
            group = group << 6 | (uint32_t)value;
        }
        if (++letters % 4 != 0) continue;
        if (padding > 2) return -1;
        const size_t bytes = 3 - (size_t)padding;
        if (count + bytes > room) return -1;
        out[count] = (uint8_t)(group >> 16);
        if (bytes > 1) out[count + 1] = (uint8_t)(group >> 8);
        if (bytes > 2) out[count + 2] = (uint8_t)group;
        count += bytes;
        group = 0;
        // What stands behind padding belongs to nobody.
        if (padding && index + 1 < text.length) return -1;
    }
    return letters % 4 == 0 ? (int32_t)count : -1;
}

size_t tw_base64_encode(const uint8_t *bytes, size_t count, char *out) {
    char *at = out;
    for (size_t index = 0; index < count; index += 3) {
        const size_t left = count - index;
        const uint32_t group = (uint32_t)bytes[index] << 16 | (left > 1 ? (uint32_t)bytes[index + 1] << 8 : 0) |
                               (left > 2 ? bytes[index + 2] : 0);
        *at++ = LETTERS[group >> 18];
        *at++ = LETTERS[group >> 12 & 63];
        *at++ = left > 1 ? LETTERS[group >> 6 & 63] : '=';
        *at++ = left > 2 ? LETTERS[group & 63] : '=';
    }
    return (size_t)(at - out);
}

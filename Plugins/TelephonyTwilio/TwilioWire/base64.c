/*  Base64 (RFC 4648, section 4) without a buffer of its own. libcrypto has it too, but wants whole lines in one
    direction and cannot tell padding from bytes in the other.  */
// SPDX-License-Identifier: Apache-2.0
#include "twilio_wire.h"

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int value_of(char letter) {
    if (letter >= 'A' && letter <= 'Z') return letter - 'A';
    if (letter >= 'a' && letter <= 'z') return letter - 'a' + 26;
    if (letter >= '0' && letter <= '9') return letter - '0' + 52;
    if (letter == '+') return 62;
    return letter == '/' ? 63 : -1;
}

int32_t tw_base64_decode(tw_text text, uint8_t *out, size_t room) {
    size_t count = 0;
    uint32_t group = 0;
    int letters = 0, padding = 0;
    for (size_t index = 0; index < text.length; index++) {
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

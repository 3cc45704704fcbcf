/*  Forms, as webhooks bring them and the REST API takes them. Read where they stand: decoding never makes a text
    longer, so the caller's copy of the body is all the memory that is needed.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "twilio_wire.h"

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    const char lower = digit | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/// Decodes `length` bytes at `at` over themselves. False: a broken percent sign.
static bool decode(char *at, size_t length, tw_text *decoded) {
    size_t written = 0;
    for (size_t index = 0; index < length; index++) {
        char character = at[index];
        if (character == '+') {
            character = ' ';
        } else if (character == '%') {
            const int high = length - index > 2 ? hex_digit(at[index + 1]) : -1;
            const int low = high >= 0 ? hex_digit(at[index + 2]) : -1;
            if (low < 0) return false;
            character = (char)(high << 4 | low);
            index += 2;
        }
        at[written++] = character;
    }
    *decoded = (tw_text){at, written};
    return true;
}

int tw_form_read(char *form, size_t length, tw_field *fields, int max) {
    int count = 0;
    for (size_t from = 0; from < length;) {
        const char *ampersand = memchr(form + from, '&', length - from);
        const size_t end = ampersand ? (size_t)(ampersand - form) : length;
        if (end > from) {
            if (count == max) return -1;
            char *equals = memchr(form + from, '=', end - from);
            const size_t middle = equals ? (size_t)(equals - form) : end;
            tw_field *field = &fields[count++];
            const size_t behind = equals ? middle + 1 : end;
            if (!decode(form + from, middle - from, &field->name)) return -1;
            if (!decode(form + behind, end - behind, &field->value)) return -1;
        }
        from = end + 1;
    }
    return count;
}

tw_text tw_form_value(const tw_field *fields, int count, const char *name) {
    for (int index = 0; index < count; index++)
        if (tw_text_is(fields[index].name, name)) return fields[index].value;
    return (tw_text){"", 0};
}

static bool is_plain(char character) {
    return (character >= '0' && character <= '9') || (character >= 'a' && character <= 'z') ||
           (character >= 'A' && character <= 'Z') || (character && strchr("-._~", character));
}

bool tw_form_append(char *form, size_t room, const char *name, tw_text value) {
    static const char digits[] = "0123456789ABCDEF";
    const size_t before = strlen(form), name_length = strlen(name);
    size_t needed = before + (before > 0) + name_length + 2;
    for (size_t index = 0; index < value.length; index++) needed += is_plain(value.at[index]) ? 1 : 3;
    if (needed > room) return false;
    char *at = form + before;
    if (before) *at++ = '&';
    memcpy(at, name, name_length);
    at += name_length;
    *at++ = '=';
    for (size_t index = 0; index < value.length; index++) {
        const unsigned char character = (unsigned char)value.at[index];
        if (is_plain((char)character)) {
            *at++ = (char)character;
        } else {
            *at++ = '%';
            *at++ = digits[character >> 4];
            *at++ = digits[character & 15];
        }
    }
    *at = 0;
    return true;
}

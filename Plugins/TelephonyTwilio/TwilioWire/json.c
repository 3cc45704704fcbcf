/*  A reader of JSON (RFC 8259) that builds nothing: it walks over the text once and tells what it finds. A tree would
    cost an allocation for each member, fifty times a second and call, of which five members are ever looked at.

    It is strict, because a message that is read in two ways is read wrongly by one side. Depth is bounded, since each
    level is a call of a function.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "twilio_wire.h"

typedef struct cursor {
    const char *at, *end;
    const tw_json_visitor *visitor;
} cursor;

static const uint32_t UNHEARD = UINT32_MAX; // The parent of what stands in an array.

static bool read_object(cursor *from, uint32_t number, int depth);

static void skip_blanks(cursor *from) {
    while (from->at < from->end && (*from->at == ' ' || *from->at == '\t' || *from->at == '\n' || *from->at == '\r'))
        from->at++;
}

static bool take(cursor *from, char expected) {
    skip_blanks(from);
    if (from->at == from->end || *from->at != expected) return false;
    from->at++;
    return true;
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

/// Behind the opening quote; leaves the cursor behind the closing one.
static bool read_string(cursor *from, tw_text *string) {
    string->at = from->at;
    // The next quote ends it unless there is an escape: then letter by letter.
    const char *quote = memchr(from->at, '"', (size_t)(from->end - from->at));
    if (!quote) return false;
    if (!memchr(from->at, '\\', (size_t)(quote - from->at))) {
        bool has_control = false;
        for (const char *at = from->at; at < quote; at++) has_control |= (unsigned char)*at < ' ';
        string->length = (size_t)(quote - from->at);
        from->at = quote + 1;
        return !has_control;
    }
    while (from->at < from->end) {
        const unsigned char character = (unsigned char)*from->at++;
        if (character == '"') {
            string->length = (size_t)(from->at - 1 - string->at);
            return true;
        }
        if (character < ' ') return false;
        if (character != '\\') continue;
        if (from->at == from->end) return false;
        const char escaped = *from->at++;
        if (escaped == 'u') {
            for (int digit = 0; digit < 4; digit++)
                if (from->at == from->end || hex_digit(*from->at++) < 0) return false;
        } else if (!escaped || !strchr("\"\\/bfnrt", escaped)) {
            return false;
        }
    }
    return false;
}

static bool read_digits(cursor *from) {
    const char *first = from->at;
    while (from->at < from->end && *from->at >= '0' && *from->at <= '9') from->at++;
    return from->at > first;
}

static bool read_number(cursor *from, tw_text *number) {
    number->at = from->at;
    if (*from->at == '-') from->at++;
    if (from->at < from->end && *from->at == '0') from->at++;
    else if (!read_digits(from)) return false;
    if (from->at < from->end && *from->at == '.') {
        from->at++;
        if (!read_digits(from)) return false;
    }
    if (from->at < from->end && (*from->at == 'e' || *from->at == 'E')) {
        from->at++;
        if (from->at < from->end && (*from->at == '+' || *from->at == '-')) from->at++;
        if (!read_digits(from)) return false;
    }
    number->length = (size_t)(from->at - number->at);
    return true;
}

static bool read_literal(cursor *from, const char *literal, tw_text *text) {
    const size_t length = strlen(literal);
    if ((size_t)(from->end - from->at) < length || memcmp(from->at, literal, length) != 0) return false;
    *text = (tw_text){from->at, length};
    from->at += length;
    return true;
}

static bool read_value(cursor *from, uint32_t parent, tw_text key, int depth);

static bool read_array(cursor *from, int depth) {
    if (take(from, ']')) return true;
    do
        if (!read_value(from, UNHEARD, (tw_text){0}, depth)) return false;
    while (take(from, ','));
    return take(from, ']');
}

static bool read_value(cursor *from, uint32_t parent, tw_text key, int depth) {
    skip_blanks(from);
    if (from->at == from->end) return false;
    tw_text text = {0};
    tw_json_kind kind;
    switch (*from->at) {
        case '{':
        case '[':
            if (depth == TW_JSON_DEPTH_MAX) return false;
            if (*from->at++ == '[') return read_array(from, depth + 1);
            return read_object(
                from, parent == UNHEARD ? UNHEARD : from->visitor->enter(from->visitor->context, parent, key),
                depth + 1);
        case '"':
            from->at++;
            kind = TW_JSON_STRING;
            if (!read_string(from, &text)) return false;
            break;
        case 't':
            kind = TW_JSON_TRUE;
            if (!read_literal(from, "true", &text)) return false;
            break;
        case 'f':
            kind = TW_JSON_FALSE;
            if (!read_literal(from, "false", &text)) return false;
            break;
        case 'n':
            kind = TW_JSON_NULL;
            if (!read_literal(from, "null", &text)) return false;
            break;
        default:
            kind = TW_JSON_NUMBER;
            if (!read_number(from, &text)) return false;
    }
    if (parent != UNHEARD) from->visitor->value(from->visitor->context, parent, key, kind, text);
    return true;
}

/// Behind the opening brace.
static bool read_object(cursor *from, uint32_t number, int depth) {
    if (take(from, '}')) return true;
    do {
        tw_text key;
        if (!take(from, '"') || !read_string(from, &key) || !take(from, ':')) return false;
        if (!read_value(from, number, key, depth)) return false;
    } while (take(from, ','));
    return take(from, '}');
}

bool tw_json_read(const char *text, size_t length, const tw_json_visitor *visitor) {
    cursor from = {text, text + length, visitor};
    if (!take(&from, '{') || !read_object(&from, 0, 1)) return false;
    skip_blanks(&from);
    return from.at == from.end;
}

static uint32_t code_unit(const char *digits) {
    uint32_t unit = 0;
    for (int index = 0; index < 4; index++) unit = unit << 4 | (uint32_t)hex_digit(digits[index]);
    return unit;
}

static size_t write_utf8(uint32_t scalar, char *out) {
    if (scalar < 0x80) return out[0] = (char)scalar, 1;
    const int more = scalar < 0x800 ? 1 : scalar < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | scalar >> (6 * more));
    for (int index = 1; index <= more; index++) out[index] = (char)(0x80 | (scalar >> (6 * (more - index)) & 0x3f));
    return (size_t)more + 1;
}

bool tw_json_unescape(tw_text string, char *out, size_t room) {
    const char *at = string.at, *end = string.at + string.length;
    size_t length = 0;
    while (at < end) {
        if (length + 5 > room) return false;
        if (*at != '\\') {
            out[length++] = *at++;
            continue;
        }
        const char escaped = at[1];
        at += 2;
        if (escaped != 'u') {
            static const char names[] = "bfnrt", meanings[] = "\b\f\n\r\t";
            const char *name = strchr(names, escaped);
            out[length++] = name ? meanings[name - names] : escaped;
            continue;
        }
        uint32_t scalar = code_unit(at);
        at += 4;
        if (scalar >= 0xd800 && scalar < 0xdc00) {
            if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return false;
            const uint32_t low = code_unit(at + 2);
            if (low < 0xdc00 || low > 0xdfff) return false;
            scalar = 0x10000 + ((scalar - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        } else if (scalar == 0 || (scalar >= 0xdc00 && scalar <= 0xdfff)) {
            return false;
        }
        length += write_utf8(scalar, out + length);
    }
    if (length == room) return false;
    out[length] = 0;
    return true;
}

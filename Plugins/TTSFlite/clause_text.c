/*  A caller whose name is Çağrı should hear something like it and not a hole, so letters are replaced by what an
    English reader makes of them, and dropped only when their script is another. The table holds what European and
    Turkish text on a telephone has; a library for transliteration (ICU, iconv's //TRANSLIT, which depends on the
    process's locale) would bring tens of megabytes for a voice of last resort.  */
// SPDX-License-Identifier: Apache-2.0
#include "clause_text.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/// Sorted by code point, for the search.
static const struct {
    uint16_t code;
    char spoken[9];
} replacements[] = {
    {0x00a0, " "}, {0x00a3, " pounds "}, {0x00a7, " section"}, {0x00ab, "\""}, {0x00b0, " degrees"}, {0x00b7, " "},
    {0x00bb, "\""}, {0x00bd, " half"}, {0x00c0, "A"}, {0x00c1, "A"}, {0x00c2, "A"}, {0x00c3, "A"}, {0x00c4, "A"},
    {0x00c5, "A"}, {0x00c6, "Ae"}, {0x00c7, "Ch"}, {0x00c8, "E"}, {0x00c9, "E"}, {0x00ca, "E"}, {0x00cb, "E"},
    {0x00cc, "I"}, {0x00cd, "I"}, {0x00ce, "I"}, {0x00cf, "I"}, {0x00d1, "Ny"}, {0x00d2, "O"}, {0x00d3, "O"},
    {0x00d4, "O"}, {0x00d5, "O"}, {0x00d6, "O"}, {0x00d8, "O"}, {0x00d9, "U"}, {0x00da, "U"}, {0x00db, "U"},
    {0x00dc, "U"}, {0x00dd, "Y"}, {0x00df, "ss"}, {0x00e0, "a"}, {0x00e1, "a"}, {0x00e2, "a"}, {0x00e3, "a"},
    {0x00e4, "a"}, {0x00e5, "a"}, {0x00e6, "ae"}, {0x00e7, "ch"}, {0x00e8, "e"}, {0x00e9, "e"}, {0x00ea, "e"},
    {0x00eb, "e"}, {0x00ec, "i"}, {0x00ed, "i"}, {0x00ee, "i"}, {0x00ef, "i"}, {0x00f1, "ny"}, {0x00f2, "o"},
    {0x00f3, "o"}, {0x00f4, "o"}, {0x00f5, "o"}, {0x00f6, "o"}, {0x00f8, "o"}, {0x00f9, "u"}, {0x00fa, "u"},
    {0x00fb, "u"}, {0x00fc, "u"}, {0x00fd, "y"}, {0x00ff, "y"}, {0x0103, "a"}, {0x0105, "a"}, {0x0107, "ch"},
    {0x010d, "ch"}, {0x010f, "d"}, {0x0119, "e"}, {0x011b, "e"}, {0x011e, "G"}, {0x011f, "gh"}, {0x0130, "I"},
    {0x0131, "i"}, {0x0141, "W"}, {0x0142, "w"}, {0x0144, "n"}, {0x0148, "n"}, {0x0151, "o"}, {0x0159, "r"},
    {0x015a, "Sh"}, {0x015b, "sh"}, {0x015e, "Sh"}, {0x015f, "sh"}, {0x0160, "Sh"}, {0x0161, "sh"}, {0x0163, "ts"},
    {0x016f, "u"}, {0x0171, "u"}, {0x017a, "z"}, {0x017c, "z"}, {0x017d, "Zh"}, {0x017e, "zh"}, {0x0219, "sh"},
    {0x021b, "ts"}, {0x2010, "-"}, {0x2011, "-"}, {0x2012, "-"}, {0x2013, ", "}, {0x2014, ", "}, {0x2018, "'"},
    {0x2019, "'"}, {0x201c, "\""}, {0x201d, "\""}, {0x201e, "\""}, {0x2026, "..."}, {0x20ac, " euros "},
    {0x20ba, " liras "},
};

static const char *replacement_of(uint32_t code) {
    size_t low = 0, high = sizeof replacements / sizeof *replacements;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (replacements[middle].code == code) return replacements[middle].spoken;
        if (replacements[middle].code < code) low = middle + 1;
        else high = middle;
    }
    return " ";
}

static int is_continuation(char byte) { return ((unsigned char)byte & 0xc0) == 0x80; }

size_t clause_length(const char *text, size_t length) {
    if (length <= CLAUSE_BYTES_MAX) return length;
    size_t space = 0;
    for (size_t end = CLAUSE_BYTES_MAX; end > 0; end--) {
        if (text[end] != ' ' && text[end] != '\n') continue;
        if (end > CLAUSE_BYTES_MAX / 3 && strchr(".!?;:", text[end - 1])) return end;
        if (space == 0) space = end;
    }
    if (space > 0) return space;
    size_t end = CLAUSE_BYTES_MAX;
    while (end > 1 && is_continuation(text[end])) end--;
    return end;
}

/// The character at `text` and how many bytes it takes. What is not UTF-8 is one byte and code 0.
static size_t decode(const char *text, size_t length, uint32_t *code) {
    const unsigned char first = (unsigned char)text[0];
    *code = first < 0x80 ? first : 0;
    const size_t count = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;
    if (count == 1 || count > length) return 1;
    uint32_t value = first & (0x7fu >> count);
    for (size_t index = 1; index < count; index++) {
        if (!is_continuation(text[index])) return 1;
        value = value << 6 | ((unsigned char)text[index] & 0x3f);
    }
    *code = value;
    return count;
}

int clause_spoken(const char *text, size_t length, char spoken[CLAUSE_SPOKEN_MAX]) {
    char *out = spoken;
    int has_words = 0;
    for (size_t at = 0; at < length && at < CLAUSE_BYTES_MAX;) {
        uint32_t code;
        at += decode(text + at, length - at, &code);
        const char plain[2] = {code >= 0x20 && code < 0x7f ? (char)code : ' ', 0};
        // A mark that is set on the letter before it (a decomposed accent) says nothing by itself.
        const char *said = code < 0x80 ? plain : code >= 0x0300 && code < 0x0370 ? "" : replacement_of(code);
        for (; *said; said++) {
            *out++ = *said;
            has_words |= isalnum((unsigned char)*said) != 0;
        }
    }
    *out = 0;
    return has_words;
}

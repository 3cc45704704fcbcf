/// @file From any text to what an English voice with an ASCII lexicon can say.
// SPDX-License-Identifier: Apache-2.0
#ifndef CLAUSE_TEXT_H
#define CLAUSE_TEXT_H

#include <stddef.h>

enum {
    CLAUSE_BYTES_MAX = 300, ///< Some 20 s of speech: what is spoken in one go, and cannot be cancelled half-way.
    CLAUSE_SPOKEN_MAX = CLAUSE_BYTES_MAX * 4 + 1, ///< The longest replacement is eight letters for two bytes.
};

/// How many bytes of `text` to speak in one go: all, or up to a sentence's end or a space; never within a character.
size_t clause_length(const char *text, size_t length);

/// Writes `text` (UTF-8, at most CLAUSE_BYTES_MAX) as ASCII: Turkish and accented Latin letters by the English letters
/// that sound most like them, typographic marks by plain ones, a few signs by their names, what is left as spaces.
/// True when there is anything to say: a letter or a digit.
int clause_spoken(const char *text, size_t length, char spoken[CLAUSE_SPOKEN_MAX]);

#endif

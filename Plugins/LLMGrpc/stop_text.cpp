// SPDX-License-Identifier: Apache-2.0
// Looking for the first stop text in a stream (stop_text.hpp).
#include "stop_text.hpp"

#include <algorithm>

std::string StopText::take(std::string_view more) {
    if (reached) return "";
    kept += more;
    size_t end = std::string::npos;
    for (const std::string &text : texts) end = std::min(end, kept.find(text));
    if (end != std::string::npos) {
        reached = true;
        kept.resize(end);
        return std::move(kept);
    }
    // The longest end of what there is that a stop text begins with. Bytes may be compared: a beginning that was cut
    // within a character is kept back whole with it.
    size_t held = 0;
    for (const std::string &text : texts)
        for (size_t length = std::min(text.size() - 1, kept.size()); length > held; length--)
            if (kept.compare(kept.size() - length, length, text, 0, length) == 0) held = length;
    size_t said = kept.size() - held;
    while (said > 0 && said < kept.size() && (kept[said] & 0xC0) == 0x80) said--;
    std::string now = kept.substr(0, said);
    kept.erase(0, said);
    return now;
}

std::string StopText::rest() { return reached ? "" : std::move(kept); }

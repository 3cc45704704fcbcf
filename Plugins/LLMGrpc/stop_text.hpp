// Where an answer ends by itself: at a stop text, which the known server does not look for, so it is looked for here.
//
// What may be the beginning of a stop text is kept back until it is clear; without stop texts nothing is.
// SPDX-License-Identifier: Apache-2.0
#ifndef LLMGRPC_STOP_TEXT_HPP
#define LLMGRPC_STOP_TEXT_HPP

#include <string>
#include <string_view>
#include <vector>

class StopText {
public:
    explicit StopText(std::vector<std::string> texts = {}) : texts(std::move(texts)) {}

    /// More of the answer; returns what of it can be said now. Nothing more after `is_reached`.
    std::string take(std::string_view more);
    /// The answer is over: what was kept back was no stop text.
    std::string rest();
    bool is_reached() const { return reached; }

private:
    std::vector<std::string> texts;
    std::string kept;
    bool reached = false;
};

#endif

// A conversation in OpenAI's shape as the one text that the service takes.
//
// The service has no history: each question is a system prompt and a text, which the server puts between "System:",
// "User:" and "Assistant:" as its model was trained. So what was said before goes into the text in the same form, and
// the model sees a transcript as if the server had kept it. A server of another form is asked with `history_turns = 0`.
// SPDX-License-Identifier: Apache-2.0
#ifndef LLMGRPC_CONVERSATION_HPP
#define LLMGRPC_CONVERSATION_HPP

#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct Conversation {
    std::string system_prompt;
    std::string text; ///< The last question, behind the turns before it.
};

/// What a request may say for itself, over the provider's settings.
struct Options {
    std::optional<double> temperature, top_p;
    std::optional<int> max_tokens;
    std::optional<std::vector<std::string>> stop;
};

/// Of the JSON array `messages`; nothing when it is none, or nobody asks anything in it.
std::optional<Conversation> read_conversation(std::string_view messages, int history_turns);

/// Of a JSON object; members that are not known or not of their type are left out.
Options read_options(std::string_view json);

/// A request's options over those of the settings.
Options over(const Options &request, const Options &settings);

#endif

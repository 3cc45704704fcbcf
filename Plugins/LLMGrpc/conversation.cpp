// Messages and options, read by protobuf's own JSON (conversation.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "conversation.hpp"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

using google::protobuf::Struct;
using google::protobuf::Value;

static std::optional<Value> parse(std::string_view json) {
    Value value;
    if (!google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, &value).ok()) return std::nullopt;
    return value;
}

static const Value *member(const Struct &object, const char *name) {
    const auto found = object.fields().find(name);
    return found == object.fields().end() ? nullptr : &found->second;
}

/// A text, or the text parts of a list, as OpenAI's content has both.
static std::string text_of(const Value *value) {
    if (value == nullptr) return "";
    if (value->kind_case() == Value::kStringValue) return value->string_value();
    std::string joined;
    if (value->kind_case() == Value::kListValue)
        for (const Value &part : value->list_value().values())
            if (part.kind_case() == Value::kStructValue) joined += text_of(member(part.struct_value(), "text"));
    return joined;
}

std::optional<Conversation> read_conversation(std::string_view json, int history_turns) {
    const std::optional<Value> messages = parse(json);
    if (!messages || messages->kind_case() != Value::kListValue) return std::nullopt;
    struct Said {
        bool is_user;
        std::string text;
    };
    Conversation conversation;
    std::vector<Said> said;
    for (const Value &message : messages->list_value().values()) {
        if (message.kind_case() != Value::kStructValue) return std::nullopt;
        const std::string role = text_of(member(message.struct_value(), "role"));
        std::string text = text_of(member(message.struct_value(), "content"));
        if (text.empty()) continue;
        if (role == "system" || role == "developer") {
            if (!conversation.system_prompt.empty()) conversation.system_prompt += "\n\n";
            conversation.system_prompt += text;
        } else if (role == "user" || role == "assistant") {
            // What two messages of one side say is one turn: the caller paused, or the agent was cut off.
            if (!said.empty() && said.back().is_user == (role == "user")) said.back().text += " " + text;
            else said.push_back({role == "user", std::move(text)});
        }
    }
    while (!said.empty() && !said.back().is_user) said.pop_back();
    if (said.empty()) return std::nullopt;
    // A turn is a question and its answer; it begins with the question.
    size_t first = said.size() - 1;
    int turns = history_turns;
    for (; turns > 0 && first >= 2; turns--) first -= 2;
    if (turns > 0 && first == 1) first = 0; // The greeting, which nobody asked for.
    if (!said[first].is_user) conversation.text = "Assistant: ";
    for (size_t at = first; at < said.size(); at++) {
        if (at > first) conversation.text += said[at].is_user ? "\n\nUser: " : "\n\nAssistant: ";
        conversation.text += said[at].text;
    }
    return conversation;
}

Options read_options(std::string_view json) {
    Options options;
    const std::optional<Value> value = parse(json);
    if (!value || value->kind_case() != Value::kStructValue) return options;
    const auto number = [&](const char *name) -> std::optional<double> {
        const Value *found = member(value->struct_value(), name);
        if (found == nullptr || found->kind_case() != Value::kNumberValue) return std::nullopt;
        return found->number_value();
    };
    options.temperature = number("temperature");
    options.top_p = number("top_p");
    if (const auto tokens = number("max_tokens"); tokens && *tokens >= 0 && *tokens <= 1e6)
        options.max_tokens = static_cast<int>(*tokens);
    if (const Value *stop = member(value->struct_value(), "stop")) {
        std::vector<std::string> texts;
        if (stop->kind_case() == Value::kStringValue) texts.push_back(stop->string_value());
        if (stop->kind_case() == Value::kListValue)
            for (const Value &text : stop->list_value().values())
                if (!text.string_value().empty()) texts.push_back(text.string_value());
        if (!texts.empty()) options.stop = std::move(texts);
    }
    return options;
}

Options over(const Options &request, const Options &settings) {
    Options both = settings;
    if (request.temperature) both.temperature = request.temperature;
    if (request.top_p) both.top_p = request.top_p;
    if (request.max_tokens) both.max_tokens = request.max_tokens;
    if (request.stop) both.stop = request.stop;
    return both;
}

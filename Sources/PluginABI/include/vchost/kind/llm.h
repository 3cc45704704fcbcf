/// @file A language model: the conversation in, words and tool calls out. kind "vc.llm/1".
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_KIND_LLM_H
#define VCHOST_KIND_LLM_H

#include "../session.h"

#define VC_KIND_LLM "vc.llm/1"

VC_BEGIN_DECLS

/// One question to the model. Content is JSON, control is a struct. The strings live until `request` returns.
typedef struct vc_llm_request {
    uint32_t size;
    uint32_t flags;    ///< VC_LLM_...
    uint64_t request;  ///< Named in every event of the answer.
    uint64_t epoch;
    vc_str messages;   ///< JSON array in the shape of OpenAI's chat: role, content, tool_calls, tool_call_id.
    vc_str tools;      ///< JSON array of function tools in the same shape; "[]" when there are none.
    vc_str options;    ///< JSON object: temperature, max_tokens, stop, ...; "{}" when all is left to the provider.
} vc_llm_request;

enum {
    /// The turn is not confirmed yet: the answer may be thrown away. The host holds tool calls back until it is.
    VC_LLM_SPECULATIVE = 1u << 0,
};

typedef struct vc_llm_ops {
    uint32_t size;
    uint32_t reserved;

    /// Asks. Answered by DELTA, TOOL_CALL and USAGE events in any number, and exactly one LLM_DONE,
    /// or an ERROR for this request.
    vc_status (*VC_NULLABLE request)(vc_self self, const vc_llm_request *request) VC_CONTROL;

    /// The result of a tool call, JSON or text. After the last one of a request the model goes on under the same request.
    /// Optional: without it the host asks anew, with the results among the messages.
    vc_status (*VC_NULLABLE tool_result)(vc_self self, uint64_t request, vc_str call, vc_str result) VC_CONTROL;
} vc_llm_ops;

enum {
    VC_EVENT_DELTA = VC_EVENT_LLM + 0,     ///< `vc_event_delta`.
    VC_EVENT_TOOL_CALL = VC_EVENT_LLM + 1, ///< `vc_event_tool_call`.
    VC_EVENT_USAGE = VC_EVENT_LLM + 2,     ///< `vc_event_usage`.
    VC_EVENT_LLM_DONE = VC_EVENT_LLM + 3,  ///< `vc_event_llm_done`.
};

/// More of the answer's text. Never empty; never ends within a UTF-8 character.
typedef struct vc_event_delta {
    vc_event head;
    vc_str text;
} vc_event_delta;

/// The model wants a function called. Complete: never in parts.
typedef struct vc_event_tool_call {
    vc_event head;
    vc_str call;      ///< Names the call in `tool_result`.
    vc_str name;      ///< The function.
    vc_str arguments; ///< A JSON object.
} vc_event_tool_call;

typedef struct vc_event_usage {
    vc_event head;
    uint64_t input_tokens;
    uint64_t cached_tokens; ///< Those of the input that the provider had already.
    uint64_t output_tokens;
} vc_event_usage;

enum {
    VC_LLM_STOP = 1,     ///< The answer is complete.
    VC_LLM_LENGTH = 2,   ///< The token limit cut it off.
    VC_LLM_TOOL = 3,     ///< The model waits for tool results.
    VC_LLM_CANCELED = 4, ///< By `cancel`.
    /// Not mine: ask the next provider in the chain. Legal only before the first DELTA, and no failure.
    VC_LLM_DECLINED = 5,
};

typedef struct vc_event_llm_done {
    vc_event head;
    uint32_t reason; ///< VC_LLM_STOP ...
    uint32_t reserved;
} vc_event_llm_done;

VC_END_DECLS

#endif

/*  The language model: answers with the configured reply, or with the caller's last words, a word for each DELTA.

    A little later, from the timer: so that a barge-in finds it in the middle of an answer. What it is asked to do after
    the words "call a tool" is to call the first tool that it was offered, and to go on with the tool's result.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "hostcheck.h"
#include "poison.h"

enum { THINK_MS = 20, STEP_TOOL = 1u << 30 };

static void count_element(void *context, vc_str key, vc_str value, char type) {
    (void)key, (void)value;
    if (type == 'o') ++*(uint32_t *)context;
    else *(uint32_t *)context += 1u << 16;
}

typedef struct message {
    const object *object;
    int has_role, has_content;
} message;

static void member(void *context, vc_str key, vc_str value, char type) {
    message *message = context;
    if (json_equals(key, "role")) {
        message->has_role = 1;
        if (!json_equals(value, "\"system\"") && !json_equals(value, "\"user\"") && !json_equals(value,
                                                                                                 "\"assistant\"") &&
            !json_equals(value, "\"tool\""))
            fault(RULE_MESSAGES, message->object, "a message has the role %.*s", (int)(value.length % 40), value.data);
    }
    if (json_equals(key, "content")) message->has_content = type == 's' || type == 'z' || type == 'a';
}

static void check_message(void *context, vc_str key, vc_str value, char type) {
    (void)key;
    message message = {context, 0, 0};
    if (type != 'o' || json_walk(value, 'o', member, &message) != 0 || !message.has_role || !message.has_content)
        fault(RULE_MESSAGES, context, "a message has no role, or no content: %.*s",
              (int)(value.length < 80 ? value.length : 80), value.data);
}

static void check_json(session *session, const char *what, vc_str text, char wanted) {
    uint32_t elements = 0;
    if (!check_text(&session->object, what, text, TEXT_MAX_BYTES)) return;
    if (json_walk(text, wanted, wanted == 'a' ? count_element : NULL, &elements) != 0 || elements >> 16)
        fault(RULE_MESSAGES, &session->object, "%s is no JSON %s: %.*s", what, wanted == 'a' ? "array of objects"
              : "object",
              (int)(text.length < 80 ? text.length : 80), text.data ? text.data : "");
}

static vc_status request(vc_self self, const vc_llm_request *asked) {
    session *session = session_of(self);
    if (!session) fault(RULE_NULL_POINTER, NULL, "llm.request came with a pointer that is no session's");
    if (!session || !enter_active(session, SLOT_LLM_REQUEST)) return VC_E_STATE;
    if (!asked) {
        fault(RULE_NULL_POINTER, &session->object, "llm.request came without a request");
        leave(&session->object);
        return VC_E_ARGUMENT;
    }
    check_struct(&session->object, "vc_llm_request", asked->size, 72);
    check_request(session, asked->request);
    check_epoch(session, asked->epoch, "a request");
    check_json(session, "messages", asked->messages, 'a');
    check_json(session, "tools", asked->tools, 'a');
    check_json(session, "options", asked->options, 'o');
    json_walk(asked->messages, 'a', check_message, &session->object);
    vc_status status = VC_E_AGAIN;
    if (session->waiting_count < WAITING_MAX) {
        session->waiting[session->waiting_count++] = (pending){.number = asked->request, .epoch = asked->epoch};
        later(session, THINK_MS);
        status = VC_OK;
    }
    leave(&session->object);
    return status;
}

static void drop_first(session *session) {
    memmove(session->waiting, session->waiting + 1, --session->waiting_count * sizeof session->waiting[0]);
}

/// One word from a place that is poisoned afterwards. 0: no room now.
static int say_word(session *session, pending *pending) {
    const char *reply = session->provider->reply;
    const char *word = reply + pending->position;
    const size_t length = strcspn(word, " ") + (word[strcspn(word, " ")] == ' ');
    char text[TEXT_SETTING_MAX];
    memcpy(text, word, length);
    const vc_event_delta event = {
        .head = {.size = sizeof event, .type = VC_EVENT_DELTA, .epoch = pending->epoch, .request = pending->number},
        .text = {text, length}};
    const vc_status status = say(&session->object, &event.head);
    memset(text, POISON, length);
    if (status == VC_E_AGAIN) return 0;
    pending->position = was_taken(session, status, pending->epoch, "a DELTA") ? pending->position + length : UINT64_MAX;
    return 1;
}

static int call_tool(session *session, pending *pending) {
    const vc_event_tool_call event = {
        .head = {.size = sizeof event, .type = VC_EVENT_TOOL_CALL, .epoch = pending->epoch, .request = pending->number},
        .call = VC_STR("call-1"), .name = VC_STR("hostcheck"), .arguments = VC_STR("{}")};
    if (say(&session->object, &event.head) == VC_E_AGAIN) return 0;
    session->tool_request = pending->number;
    pending->step |= STEP_TOOL;
    return 1;
}

static vc_status done(session *session, const pending *pending, uint32_t reason) {
    const vc_event_llm_done event = {
        .head = {.size = sizeof event, .type = VC_EVENT_LLM_DONE, .epoch = pending->epoch, .request = pending->number},
        .reason = reason};
    return say(&session->object, &event.head);
}

/// Answers what waits, oldest first, until the host has no room.
void llm_work(session *session) {
    while (session->waiting_count > 0) {
        pending *pending = &session->waiting[0];
        if (pending->step & STEP_TOOL && session->tool_request == pending->number) return;
        const size_t length = strlen(session->provider->reply);
        if (pending->position < length) {
            if (!say_word(session, pending)) return;
        } else if (pending->position == UINT64_MAX) {
            drop_first(session);
        } else if (!(pending->step & STEP_TOOL) && strstr(session->provider->reply, "call a tool")) {
            if (!call_tool(session, pending) || done(session, pending, VC_LLM_TOOL) == VC_E_AGAIN) return;
        } else {
            const vc_status status = done(session, pending, VC_LLM_STOP);
            if (status == VC_E_AGAIN) return;
            was_taken(session, status, pending->epoch, "LLM_DONE");
            drop_first(session);
        }
    }
}

static vc_status tool_result(vc_self self, uint64_t number, vc_str call, vc_str result) {
    session *session = session_of(self);
    if (!session) fault(RULE_NULL_POINTER, NULL, "llm.tool_result came with a pointer that is no session's");
    if (!session || !enter_active(session, SLOT_LLM_TOOL_RESULT)) return VC_E_STATE;
    check_text(&session->object, "a tool's result", result, TEXT_MAX_BYTES);
    if (session->tool_request == 0 || number != session->tool_request || !json_equals(call, "call-1"))
        fault(RULE_TOOL_RESULT, &session->object, "a result for call %.*s of request %llu came, which was not made",
              (int)(call.length % 40), call.data ? call.data : "", (unsigned long long)number);
    session->tool_request = 0;
    later(session, THINK_MS);
    leave(&session->object);
    return VC_OK;
}

const vc_llm_ops llm_ops = {.size = sizeof llm_ops, .request = request, .tool_result = tool_result};

/*  What the REST API and its callbacks say of a call.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "twilio_wire.h"

tw_call_status tw_call_status_read(tw_text text) {
    static const struct {
        const char *name;
        tw_call_status status;
    } known[] = {{"queued", TW_CALL_QUEUED},           {"initiated", TW_CALL_QUEUED},
                 {"ringing", TW_CALL_RINGING},         {"in-progress", TW_CALL_IN_PROGRESS},
                 {"completed", TW_CALL_COMPLETED},     {"busy", TW_CALL_BUSY},
                 {"no-answer", TW_CALL_NO_ANSWER},     {"canceled", TW_CALL_CANCELED},
                 {"failed", TW_CALL_FAILED}};
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
        if (tw_text_is(text, known[index].name)) return known[index].status;
    return TW_CALL_UNKNOWN;
}

bool tw_is_sid(tw_text text, const char *prefix) {
    const size_t length = strlen(prefix);
    if (text.length != length + 32 || memcmp(text.at, prefix, length) != 0) return false;
    for (size_t index = length; index < text.length; index++) {
        const char digit = text.at[index];
        if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f') || (digit >= 'A' && digit <= 'F')))
            return false;
    }
    return true;
}

static uint32_t enter(void *context, uint32_t parent, tw_text key) {
    (void)context, (void)parent, (void)key;
    return 1;
}

static void value(void *context, uint32_t parent, tw_text key, tw_json_kind kind, tw_text text) {
    tw_rest_answer *answer = context;
    if (parent != 0) return;
    if (kind == TW_JSON_NUMBER && tw_text_is(key, "code")) answer->code = (uint32_t)tw_text_number(text, 0);
    if (kind != TW_JSON_STRING) return;
    if (tw_text_is(key, "sid") && text.length < sizeof answer->sid) {
        memcpy(answer->sid, text.at, text.length);
        answer->sid[text.length] = 0;
    } else if (tw_text_is(key, "message")) {
        // A longer one is cut, at the beginning of an escape or a character if need be.
        const size_t room = sizeof answer->message - 5;
        size_t length = text.length < room ? text.length : room;
        if (length < text.length)
            while (length && ((text.at[length] & 0xc0) == 0x80 || memchr(text.at + (length > 6 ? length - 6 : 0), '\\',
                                                                        length > 6 ? 6 : length)))
                length--;
        if (!tw_json_unescape((tw_text){text.at, length}, answer->message, sizeof answer->message))
            answer->message[0] = 0;
    }
}

bool tw_rest_answer_read(const char *text, size_t length, tw_rest_answer *answer) {
    memset(answer, 0, sizeof *answer);
    const tw_json_visitor visitor = {enter, value, answer};
    return tw_json_read(text, length, &visitor);
}

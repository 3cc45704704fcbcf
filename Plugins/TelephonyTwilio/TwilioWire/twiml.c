/*  The few documents of TwiML that we write. A template and escaping are enough: what varies is a URL, a token, a
    number. A document that does not fit is refused here, and not by the carrier in the middle of a call.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "twilio_wire.h"

typedef struct writer {
    char *out;
    size_t length;
    bool overflows;
} writer;

static void put(writer *to, const char *text, size_t length) {
    if (to->overflows || length > TW_TWIML_MAX - 1 - to->length) {
        to->overflows = true;
        return;
    }
    memcpy(to->out + to->length, text, length);
    to->length += length;
}

static void put_markup(writer *to, const char *markup) { put(to, markup, strlen(markup)); }

static void put_text(writer *to, tw_text text) {
    for (size_t index = 0; index < text.length; index++) {
        const char character = text.at[index];
        switch (character) {
            case '&': put_markup(to, "&amp;"); break;
            case '<': put_markup(to, "&lt;"); break;
            case '>': put_markup(to, "&gt;"); break;
            case '"': put_markup(to, "&quot;"); break;
            default:
                // XML 1.0, 2.2: control characters cannot stand in a document, escaped or not.
                if ((unsigned char)character >= ' ') put(to, &character, 1);
        }
    }
}

static void put_attribute(writer *to, const char *name, const char *value) {
    put_markup(to, " ");
    put_markup(to, name);
    put_markup(to, "=\"");
    put_text(to, (tw_text){value, strlen(value)});
    put_markup(to, "\"");
}

static writer begin(char *out) {
    writer to = {out, 0, false};
    put_markup(&to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>");
    return to;
}

static size_t finish(writer *to) {
    put_markup(to, "</Response>");
    to->out[to->length] = 0;
    return to->overflows ? 0 : to->length;
}

size_t tw_twiml_connect(char *out, const char *stream_url, const char *token, const char *status_url) {
    writer to = begin(out);
    put_markup(&to, "<Connect><Stream");
    put_attribute(&to, "url", stream_url);
    put_attribute(&to, "statusCallback", status_url);
    put_markup(&to, "><Parameter name=\"token\"");
    put_attribute(&to, "value", token);
    // What follows the stream: the end, whichever side closed it.
    put_markup(&to, "/></Stream></Connect><Hangup/>");
    return finish(&to);
}

size_t tw_twiml_reject(char *out, bool busy) {
    writer to = begin(out);
    put_markup(&to, busy ? "<Reject reason=\"busy\"/>" : "<Reject reason=\"rejected\"/>");
    return finish(&to);
}

size_t tw_twiml_hangup(char *out) {
    writer to = begin(out);
    put_markup(&to, "<Hangup/>");
    return finish(&to);
}

size_t tw_twiml_dial(char *out, tw_text target, const char *caller_id, uint32_t timeout_s) {
    writer to = begin(out);
    char seconds[12];
    snprintf(seconds, sizeof seconds, "%u", timeout_s);
    put_markup(&to, "<Dial");
    if (caller_id[0]) put_attribute(&to, "callerId", caller_id);
    put_attribute(&to, "timeout", seconds);
    const bool is_sip = target.length > 4 && (memcmp(target.at, "sip:", 4) == 0 || memcmp(target.at, "sips", 4) == 0);
    const bool is_client = target.length > 7 && memcmp(target.at, "client:", 7) == 0;
    put_markup(&to, is_sip ? "><Sip>" : is_client ? "><Client>" : "><Number>");
    put_text(&to, is_client ? (tw_text){target.at + 7, target.length - 7} : target);
    put_markup(&to, is_sip ? "</Sip></Dial>" : is_client ? "</Client></Dial>" : "</Number></Dial>");
    return finish(&to);
}

/*  The messages of a media stream. Twilio writes numbers as strings there ("chunk": "17"), but for the media format,
    and may change that: both are read. What is unknown is ignored, as its documentation asks.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "twilio_wire.h"

bool tw_text_is(tw_text text, const char *literal) {
    const size_t length = strlen(literal);
    return text.length == length && memcmp(text.at ? text.at : "", literal, length) == 0;
}

uint64_t tw_text_number(tw_text text, uint64_t otherwise) {
    if (text.length == 0 || text.length > 19) return otherwise;
    uint64_t number = 0;
    for (size_t index = 0; index < text.length; index++) {
        if (text.at[index] < '0' || text.at[index] > '9') return otherwise;
        number = number * 10 + (uint64_t)(text.at[index] - '0');
    }
    return number;
}

/// The objects of a message that we look into.
enum { OUTERMOST = 0, START, FORMAT, PARAMETERS, MEDIA, MARK, DTMF, STOP, OTHER };

static uint32_t enter(void *context, uint32_t parent, tw_text key) {
    (void)context;
    if (parent == OUTERMOST) {
        if (tw_text_is(key, "media")) return MEDIA;
        if (tw_text_is(key, "mark")) return MARK;
        if (tw_text_is(key, "start")) return START;
        if (tw_text_is(key, "dtmf")) return DTMF;
        if (tw_text_is(key, "stop")) return STOP;
    } else if (parent == START) {
        if (tw_text_is(key, "mediaFormat")) return FORMAT;
        if (tw_text_is(key, "customParameters")) return PARAMETERS;
    }
    return OTHER;
}

static tw_event event_of(tw_text name) {
    static const struct {
        const char *name;
        tw_event event;
    } known[] = {{"media", TW_EVENT_MEDIA}, {"mark", TW_EVENT_MARK}, {"dtmf", TW_EVENT_DTMF},
                 {"connected", TW_EVENT_CONNECTED}, {"start", TW_EVENT_START}, {"stop", TW_EVENT_STOP}};
    for (size_t index = 0; index < sizeof known / sizeof *known; index++)
        if (tw_text_is(name, known[index].name)) return known[index].event;
    return TW_EVENT_UNKNOWN;
}

typedef struct reading {
    tw_message *message;
    bool has_event;
} reading;

static void value(void *context, uint32_t parent, tw_text key, tw_json_kind kind, tw_text text) {
    reading *reading = context;
    tw_message *message = reading->message;
    if (kind == TW_JSON_NUMBER) {
        if (parent == FORMAT && tw_text_is(key, "sampleRate")) message->rate_hz = (uint32_t)tw_text_number(text, 0);
        else if (parent == FORMAT && tw_text_is(key, "channels")) message->channels = (uint32_t)tw_text_number(text, 0);
    } else if (kind != TW_JSON_STRING) {
        return;
    }
    switch (parent) {
        case OUTERMOST:
            if (tw_text_is(key, "event")) message->event = event_of(text), reading->has_event = kind == TW_JSON_STRING;
            else if (tw_text_is(key, "streamSid")) message->stream_sid = text;
            else if (tw_text_is(key, "sequenceNumber")) message->sequence = tw_text_number(text, 0);
            else if (tw_text_is(key, "protocol")) message->protocol = text;
            break;
        case MEDIA:
            if (tw_text_is(key, "payload")) message->payload = text;
            else if (tw_text_is(key, "chunk")) message->chunk = tw_text_number(text, 0);
            else if (tw_text_is(key, "timestamp")) message->timestamp_ms = tw_text_number(text, 0);
            else if (tw_text_is(key, "track")) message->track = text;
            break;
        case MARK:
            if (tw_text_is(key, "name")) message->name = text;
            break;
        case DTMF:
            if (tw_text_is(key, "digit")) message->digit = text;
            else if (tw_text_is(key, "track")) message->track = text;
            break;
        case START:
        case STOP:
            if (tw_text_is(key, "callSid")) message->call_sid = text;
            else if (tw_text_is(key, "accountSid")) message->account_sid = text;
            break;
        case FORMAT:
            if (tw_text_is(key, "encoding")) message->encoding = text;
            else if (kind == TW_JSON_STRING && tw_text_is(key, "sampleRate"))
                message->rate_hz = (uint32_t)tw_text_number(text, 0);
            else if (kind == TW_JSON_STRING && tw_text_is(key, "channels"))
                message->channels = (uint32_t)tw_text_number(text, 0);
            break;
        case PARAMETERS:
            if (tw_text_is(key, "token")) message->token = text;
            break;
        default: break;
    }
}

bool tw_message_read(const char *text, size_t length, tw_message *message) {
    memset(message, 0, sizeof *message);
    reading reading = {message, false};
    const tw_json_visitor visitor = {enter, value, &reading};
    return tw_json_read(text, length, &visitor) && reading.has_event;
}

static char *put(char *at, const char *text, size_t length) {
    memcpy(at, text, length);
    return at + length;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

size_t tw_write_media(char *out, tw_text stream_sid, const uint8_t *mulaw, size_t count) {
    if (stream_sid.length > TW_SID_MAX || count == 0 || count > TW_MEDIA_BYTES_MAX) return 0;
    char *at = PUT(out, "{\"event\":\"media\",\"streamSid\":\"");
    at = put(at, stream_sid.at, stream_sid.length);
    at = PUT(at, "\",\"media\":{\"payload\":\"");
    at += tw_base64_encode(mulaw, count, at);
    at = PUT(at, "\"}}");
    return (size_t)(at - out);
}

size_t tw_write_mark(char *out, tw_text stream_sid, const char *name) {
    const size_t length = strlen(name);
    if (stream_sid.length > TW_SID_MAX || length > TW_SID_MAX) return 0;
    char *at = PUT(out, "{\"event\":\"mark\",\"streamSid\":\"");
    at = put(at, stream_sid.at, stream_sid.length);
    at = PUT(at, "\",\"mark\":{\"name\":\"");
    at = put(at, name, length);
    at = PUT(at, "\"}}");
    return (size_t)(at - out);
}

size_t tw_write_clear(char *out, tw_text stream_sid) {
    if (stream_sid.length > TW_SID_MAX) return 0;
    char *at = PUT(out, "{\"event\":\"clear\",\"streamSid\":\"");
    at = put(at, stream_sid.at, stream_sid.length);
    at = PUT(at, "\"}");
    return (size_t)(at - out);
}

// The way to the vendor and back. All of it runs as VC_CONTROL of the session, one call at a time, so nothing locks;
// and the host calls nothing more once a request was cancelled or its epoch is over, so a context can be freed at once.

#include "answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const vc_host *host;
static const vc_http *http;

vc_status answer_prepare(const vc_host *the_host, const vc_config **config, vc_error *error) {
    host = the_host;
    http = host->service(VC_SERVICE_HTTP);
    *config = host->service(VC_SERVICE_CONFIG);
    if (http != NULL && *config != NULL) return VC_OK;
    error->code = VC_E_UNSUPPORTED;
    error->message = http == NULL
        ? (vc_str)VC_STR("this host does not offer vc.http/1, over which the vendor is asked")
        : (vc_str)VC_STR("this host does not offer vc.config/1, which has the vendor's address");
    return error->code;
}

vc_status emit_plain(vc_handle session, uint32_t type, uint64_t epoch, uint64_t request) {
    const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch, .request = request };
    return host->emit(session, &event);
}

void answer_fail(answer *a, vc_status code, const char *sentence) {
    snprintf(a->sentence, sizeof a->sentence, "%s", sentence);
    a->failure.size = sizeof a->failure;
    a->failure.code = code;
    a->is_complete = 1;
}

vc_status answer_report(const answer *a, uint64_t request, uint64_t epoch) {
    vc_error error = a->failure;
    error.message = (vc_str){ a->sentence, strlen(a->sentence) };
    const vc_event_error event = {
        .head = { .size = sizeof event, .type = VC_EVENT_ERROR, .epoch = epoch, .request = request }, .error = &error };
    return host->emit(a->session, &event.head);
}

void answer_prewarm(vc_handle session, const char *url) { http->prewarm(session, (vc_str){ url, strlen(url) }); }

uint64_t answer_text(answer *a, const char *bytes, uint64_t length) {
    uint64_t whole = 0;
    while (whole < length) {
        const unsigned char *c = (const unsigned char *)bytes + whole;
        const uint64_t needed = *c < 0x80 ? 1 : *c >= 0xC2 && *c < 0xE0 ? 2 : *c >= 0xE0 && *c < 0xF0 ? 3
            : *c >= 0xF0 && *c < 0xF5 ? 4 : 0;
        uint64_t at = 1;
        while (at < needed && whole + at < length && (c[at] & 0xC0) == 0x80) at++;
        // Too long a form, half of a pair, or beyond the last character.
        const int is_wrong = at > 1 && ((*c == 0xE0 && c[1] < 0xA0) || (*c == 0xED && c[1] > 0x9F)
            || (*c == 0xF0 && c[1] < 0x90) || (*c == 0xF4 && c[1] > 0x8F));
        if (at == needed && !is_wrong) {
            whole += needed;
            continue;
        }
        if (is_wrong || needed == 0 || whole + at < length)
            answer_fail(a, VC_E_VENDOR, "the server's answer is no text in UTF-8");
        break;
    }
    return whole;
}

// What a status means to the host, which decides by it whether to try again, or elsewhere.
static void refused(answer *a, uint32_t status) {
    char sentence[sizeof a->sentence];
    snprintf(sentence, sizeof sentence, "the server answered with HTTP status %u", status);
    answer_fail(a, status == 401 || status == 403 ? VC_E_AUTH : status == 429 ? VC_E_QUOTA : VC_E_VENDOR, sentence);
    a->failure.protocol_status = status;
    a->failure.retryable = status == 429 || status >= 500;
}

// The vendor's own code, `"code": "..."` of a refusal in JSON: the first thing that its support asks for.
static void name_code(answer *a) {
    const char *at = strstr(a->refusal, "\"code\"");
    if (at == NULL) return;
    at += strlen("\"code\"");
    at += strspn(at, " :");
    if (*at++ != '"') return;
    a->failure.vendor_code = (vc_str){ at, strcspn(at, "\"") };
}

static void response(void *context, vc_handle exchange, uint32_t status, const vc_field *headers, uint32_t count) {
    (void)exchange;
    answer *a = context;
    if (status != 200) refused(a, status);
    for (uint32_t i = 0; i < count; i++) {
        const vc_str name = headers[i].name, value = headers[i].value;
        if (status == 200 && name.length == 12 && strncasecmp(name.data, "content-type", 12) == 0 && value.length >= 9
            && strncasecmp(value.data, "text/html", 9) == 0)
            answer_fail(a, VC_E_VENDOR, "a page of HTML came for an answer: is `url` the server's, and no proxy's?");
        if (status == 200 || name.length != 11 || strncasecmp(name.data, "retry-after", 11) != 0) continue;
        uint32_t seconds = 0;
        for (uint64_t at = 0; at < value.length && seconds < 86400; at++) {
            if (value.data[at] < '0' || value.data[at] > '9') break;
            seconds = seconds * 10 + (uint32_t)(value.data[at] - '0');
        }
        a->failure.retry_after_ms = seconds * 1000;
    }
}

void answer_keep(answer *a, const void *bytes, uint64_t length) {
    if (a->is_complete || length == 0) return;
    if (length > ANSWER_BYTES_MAX - a->length) {
        answer_fail(a, VC_E_VENDOR, "the server's answer is longer than 8 MiB, and was cut off");
        return;
    }
    if (a->length + length > a->capacity) {
        const uint64_t capacity = 2 * (a->length + length);
        char *grown = realloc(a->bytes, capacity);
        if (grown == NULL) {
            answer_fail(a, VC_E_MEMORY, "there is no memory left for the server's answer");
            return;
        }
        a->bytes = grown, a->capacity = capacity;
    }
    memcpy(a->bytes + a->length, bytes, length);
    a->length += length;
}

static void data(void *context, vc_handle exchange, vc_str bytes) {
    (void)exchange;
    answer *a = context;
    if (a->is_complete) {
        if (a->failure.protocol_status == 0) return;
        const uint64_t room = sizeof a->refusal - 1 - a->received, length = bytes.length < room ? bytes.length : room;
        memcpy(a->refusal + a->received, bytes.data, length);
        a->received += length;
        return;
    }
    vendor_answered(a, bytes);
    a->received += bytes.length;
    a->arrived(a->context);
}

static void done(void *context, vc_handle exchange, const vc_error *error) {
    (void)exchange;
    answer *a = context;
    a->exchange = 0;
    if (error != NULL && !a->is_complete) {
        char sentence[sizeof a->sentence];
        snprintf(sentence, sizeof sentence, "%.*s", (int)error->message.length, error->message.data);
        answer_fail(a, error->code, sentence);
        a->failure.retryable = error->retryable;
    }
    if (a->failure.protocol_status != 0) name_code(a);
    else if (!a->is_complete && a->received == 0) answer_fail(a, VC_E_VENDOR, "the server answered with nothing");
    a->is_complete = 1;
    a->arrived(a->context); // May free `a`.
}

static const vc_http_events events = { .size = sizeof events, .response = response, .data = data, .done = done };

void answer_ask(answer *a, const vc_http_request *request) {
    const vc_status status = http->start(a->session, request, &events, a, &a->exchange);
    if (status == VC_OK) return;
    a->exchange = 0;
    answer_fail(a, status, status == VC_E_AGAIN ? "32 requests of this session are under way already"
                                                : "the request could not be sent: is `url` an http or https address?");
    a->failure.retryable = status == VC_E_AGAIN;
}

void answer_drop(answer *a) {
    if (a->exchange != 0) http->cancel(a->exchange);
    free(a->bytes);
    a->exchange = 0, a->bytes = NULL, a->length = a->capacity = 0;
}

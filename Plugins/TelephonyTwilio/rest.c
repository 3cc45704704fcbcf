/*  Requests to Twilio's REST API: place a call, send it on, end it.

    They belong to the provider and not to the session. A session may end while its call is being placed, and then the
    answer is the only one who knows the call's sid: it finds nobody, and ends the call, which would ring on
    otherwise. Only an end is repeated, because it can do no harm twice; a second placement would be a second
    call.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "objects.h"

static void on_done(void *context, vc_handle handle, const vc_error *error);
static vc_status send_request(twilio_request *request);

static void release(twilio_request *request) {
    twilio_provider *provider = request->provider;
    pthread_mutex_lock(&provider->lock);
    for (twilio_request **link = &provider->requests; *link; link = &(*link)->next) {
        if (*link != request) continue;
        *link = request->next;
        break;
    }
    pthread_mutex_unlock(&provider->lock);
    free(request->form);
    free(request);
}

static void on_response(void *context, vc_handle handle, uint32_t status, const vc_field *headers, uint32_t count) {
    (void)handle;
    twilio_request *request = context;
    request->http_status = status;
    for (uint32_t index = 0; index < count; index++) {
        const vc_field *field = &headers[index];
        if (field->name.length == 11 && strncasecmp(field->name.data, "Retry-After", 11) == 0)
            request->retry_after_s = (uint32_t)tw_text_number((tw_text){field->value.data, field->value.length}, 0);
    }
}

static void on_data(void *context, vc_handle handle, vc_str bytes) {
    (void)handle;
    twilio_request *request = context;
    const size_t left = sizeof request->answer - request->length;
    // One that is longer is cut, and then it is no JSON: said as an answer that cannot be read.
    const size_t taken = bytes.length < left ? bytes.length : left;
    memcpy(request->answer + request->length, bytes.data, taken);
    request->length += taken;
}

static const vc_http_events events = {
    .size = sizeof events, .response = on_response, .data = on_data, .done = on_done};

typedef struct authorising {
    const char *user;
    char value[1024];
    bool fits;
} authorising;

/// RFC 7617, over a user and a secret that is only lent.
static void write_basic(void *context, vc_str secret) {
    authorising *this = context;
    char text[700];
    const size_t user = strlen(this->user);
    this->fits = user + 1 + secret.length <= sizeof text;
    if (!this->fits) return;
    memcpy(text, this->user, user);
    text[user] = ':';
    if (secret.length) memcpy(text + user + 1, secret.data, secret.length);
    memcpy(this->value, "Basic ", 6);
    this->value[6 + tw_base64_encode((const uint8_t *)text, user + 1 + secret.length, this->value + 6)] = 0;
    explicit_bzero(text, sizeof text);
}

static vc_status send_request(twilio_request *request) {
    twilio_provider *provider = request->provider;
    const twilio_settings *settings = &provider->settings;
    const bool has_key = settings->api_key_sid[0] != 0;
    authorising basic = {.user = has_key ? settings->api_key_sid : settings->account_sid};
    const char *secret = has_key ? settings->api_key_secret : settings->auth_token;
    if (!twilio_settings_with(provider->secret, provider->handle, secret, write_basic, &basic) || !basic.fits)
        return VC_E_AUTH;
    char url[2 * TWILIO_TEXT_MAX + TW_SID_MAX];
    snprintf(url, sizeof url, "%s/2010-04-01/Accounts/%s/Calls%s%s.json", settings->url, settings->account_sid,
             request->sid[0] ? "/" : "", request->sid);
    const vc_field headers[] = {
        {VC_STR("Authorization"), twilio_str(basic.value)},
        {VC_STR("Content-Type"), VC_STR("application/x-www-form-urlencoded")},
        {VC_STR("Accept"), VC_STR("application/json")},
    };
    const vc_http_request http = {
        .size = sizeof http, .deadline_ms = settings->request_timeout_ms, .epoch = UINT64_MAX,
        .method = VC_STR("POST"), .url = twilio_str(url), .headers = headers, .header_count = 3,
        .body = twilio_str(request->form)};
    vc_handle handle = 0;
    request->attempt++;
    request->http_status = request->retry_after_s = 0;
    request->length = 0;
    twilio_count(provider, TWILIO_REST_REQUESTS);
    const vc_status status = provider->http->start(provider->handle, &http, &events, request, &handle);
    explicit_bzero(basic.value, sizeof basic.value);
    return status;
}

static void try_again(void *context, vc_handle timer) {
    (void)timer;
    twilio_request *request = context;
    if (send_request(request) != VC_OK) release(request);
}

/// An end that failed for a reason that passes. True: it is tried again, later.
static bool is_tried_again(twilio_request *request, bool is_network) {
    const bool passes = is_network || request->http_status == 429 || request->http_status >= 500;
    if (request->sort != TWILIO_END || !passes || request->attempt >= TWILIO_REST_ATTEMPTS) return false;
    twilio_provider *provider = request->provider;
    uint64_t wait_ms = request->retry_after_s ? request->retry_after_s * 1000ull : 500ull << request->attempt;
    if (wait_ms > 30000) wait_ms = 30000;
    vc_handle timer = 0;
    const uint64_t at = provider->clock->now_ns() + wait_ms * 1000000ull;
    return provider->timer->arm(provider->handle, at, try_again, request, &timer) == VC_OK;
}

static void tell(twilio_request *request, bool succeeded, const tw_rest_answer *answer, const char *text) {
    twilio_provider *provider = request->provider;
    const uint32_t status = request->http_status;
    switch (request->sort) {
        case TWILIO_PLACE:
            if (!succeeded) {
                twilio_desk_news(provider, request->number, "", TWILIO_NEWS_REFUSED, status, TW_CALL_UNKNOWN, text);
            } else if (!twilio_desk_news(provider, request->number, answer->sid, TWILIO_NEWS_PLACED, 0,
                                         TW_CALL_UNKNOWN, "")) {
                twilio_rest(provider, TWILIO_END, request->number, answer->sid, "Status=completed");
            }
            return;
        case TWILIO_TRANSFER:
            twilio_desk_news(provider, request->number, "",
                             succeeded ? TWILIO_NEWS_TRANSFERRED : TWILIO_NEWS_NOT_TRANSFERRED, status, TW_CALL_UNKNOWN,
                             text);
            return;
        case TWILIO_END:
            // 404 and 21220: it was over already, which is what was wanted.
            if (!succeeded && status != 404 && answer->code != 21220)
                twilio_log(provider, VC_LOG_ERROR, 0, "call", request->sid,
                           "the call could not be ended, and may go on until Twilio's time limit: %s", text);
    }
}

static void on_done(void *context, vc_handle handle, const vc_error *error) {
    (void)handle;
    twilio_request *request = context;
    twilio_provider *provider = request->provider;
    tw_rest_answer answer;
    const bool is_read = tw_rest_answer_read(request->answer, request->length, &answer);
    const bool has_sid = tw_is_sid((tw_text){answer.sid, strlen(answer.sid)}, "CA");
    const bool succeeded =
        !error && request->http_status / 100 == 2 && is_read && (request->sort != TWILIO_PLACE || has_sid);
    char text[160] = "";
    if (!succeeded) {
        twilio_count(provider, TWILIO_REST_FAILURES);
        if (error)
            snprintf(text, sizeof text, "%.*s", (int)(error->message.length < 150 ? error->message.length : 150),
                     error->message.data);
        else if (is_read && answer.code) snprintf(text, sizeof text, "%u %.140s", answer.code, answer.message);
        else snprintf(text, sizeof text, "%u an answer that cannot be read", request->http_status);
        if (is_tried_again(request, error != NULL)) return;
    }
    tell(request, succeeded, &answer, text);
    release(request);
}

/// Starts a request. VC_E_AGAIN: 32 are under way.
vc_status twilio_rest(twilio_provider *provider, int sort, uint64_t number, const char *sid, const char *form) {
    twilio_request *request = calloc(1, sizeof *request);
    if (request) request->form = strdup(form);
    if (!request || !request->form) {
        free(request);
        return VC_E_MEMORY;
    }
    request->provider = provider;
    request->sort = sort;
    request->number = number;
    snprintf(request->sid, sizeof request->sid, "%s", sid);
    pthread_mutex_lock(&provider->lock);
    request->next = provider->requests;
    provider->requests = request;
    pthread_mutex_unlock(&provider->lock);
    const vc_status status = send_request(request);
    if (status == VC_OK || is_tried_again(request, status == VC_E_AGAIN)) return VC_OK;
    twilio_count(provider, TWILIO_REST_FAILURES);
    release(request);
    return status;
}

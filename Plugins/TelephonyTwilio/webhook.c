/*  The three doors: a call comes in, something became of a call, a stream wants in. Each looks at the method, the
    form and the signature, in this order, and only then at what is said.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "objects.h"

static const char PLAIN[] = "text/plain; charset=utf-8";

static bool is_method(const vc_server_request *request, const char *method) {
    return tw_text_is((tw_text){request->method.data, request->method.length}, method);
}

static void refuse(twilio_provider *provider, vc_handle exchange, uint32_t status, const char *why) {
    if (status != 403) twilio_count(provider, TWILIO_BAD_REQUESTS);
    twilio_respond(provider, exchange, status, PLAIN, why);
}

/// Reads and proves a webhook: the form of a POST, or the query of a GET. Returns how many fields, or -1 when the
/// request
/// was refused. The fields live until the provider's next call.
static int read_webhook(twilio_provider *provider, const vc_server_request *request, tw_field fields[TW_FORM_MAX]) {
    const bool is_post = is_method(request, "POST");
    if (!is_post && !is_method(request, "GET")) {
        refuse(provider, request->exchange, 405, "This path takes POST and GET.\n");
        return -1;
    }
    const vc_str form = is_post ? request->body : request->query;
    if (form.length > sizeof provider->form) {
        refuse(provider, request->exchange, 413, "The form is too long.\n");
        return -1;
    }
    if (form.length) memcpy(provider->form, form.data, form.length);
    const int count = tw_form_read(provider->form, form.length, fields, TW_FORM_MAX);
    if (count < 0) {
        refuse(provider, request->exchange, 400, "This is no form, or has more than 128 fields.\n");
        return -1;
    }
    // What stands in the URL is signed as a part of it.
    if (!twilio_guard_admits(provider, request, false, fields, is_post ? count : 0)) {
        refuse(provider, request->exchange, 403, "The signature is missing or wrong.\n");
        return -1;
    }
    if (!tw_text_is(tw_form_value(fields, count, "AccountSid"), provider->settings.account_sid)) {
        refuse(provider, request->exchange, 403, "This is another account's.\n");
        return -1;
    }
    if (!tw_is_sid(tw_form_value(fields, count, "CallSid"), "CA")) {
        refuse(provider, request->exchange, 400, "CallSid is missing, or is none.\n");
        return -1;
    }
    return count;
}

void twilio_on_voice(void *context, const vc_server_request *request) {
    twilio_provider *provider = context;
    tw_field fields[TW_FORM_MAX];
    const int count = read_webhook(provider, request, fields);
    if (count >= 0) twilio_incoming(provider, request, fields, count);
}

static void stream_status(twilio_provider *provider, const tw_field *fields, int count, tw_text event) {
    char sid[TW_SID_MAX] = "";
    const tw_text call = tw_form_value(fields, count, "CallSid"), error = tw_form_value(fields, count, "StreamError");
    memcpy(sid, call.at, call.length);
    if (tw_text_is(event, "stream-error"))
        twilio_log(provider, VC_LOG_WARNING, 0, "call", sid, "Twilio reports an error of the stream: %.*s",
                   (int)(error.length < 200 ? error.length : 200), error.at);
}

void twilio_on_status(void *context, const vc_server_request *request) {
    twilio_provider *provider = context;
    tw_field fields[TW_FORM_MAX];
    const int count = read_webhook(provider, request, fields);
    if (count < 0) return;
    const tw_text event = tw_form_value(fields, count, "StreamEvent");
    char sid[TW_SID_MAX] = "";
    const tw_text call = tw_form_value(fields, count, "CallSid");
    memcpy(sid, call.at, call.length);
    if (event.length) {
        stream_status(provider, fields, count, event);
    } else {
        const tw_call_status status = tw_call_status_read(tw_form_value(fields, count, "CallStatus"));
        const uint32_t code = (uint32_t)tw_text_number(tw_form_value(fields, count, "SipResponseCode"), 0);
        if (status == TW_CALL_RINGING)
            twilio_desk_news(provider, 0, sid, TWILIO_NEWS_RINGING, 0, status, "");
        else if (status == TW_CALL_IN_PROGRESS)
            twilio_desk_news(provider, 0, sid, TWILIO_NEWS_ANSWERED, 0, status, "");
        else if (status >= TW_CALL_COMPLETED)
            twilio_desk_news(provider, 0, sid, TWILIO_NEWS_OVER, code <= 699 ? code : 0, status, "");
    }
    // Statuses come late and twice; one for a call that is gone is none of Twilio's faults.
    twilio_respond(provider, request->exchange, 204, PLAIN, "");
}

/// The session of the call to which the ticket belongs, which is void from then on. 0: nobody's.
static vc_handle take_ticket(twilio_provider *provider, tw_text ticket, twilio_call **owner) {
    vc_handle session = 0;
    if (ticket.length != TWILIO_SECRET_LENGTH - 1) return 0;
    pthread_mutex_lock(&provider->lock);
    for (twilio_call *call = provider->calls; call && !session; call = call->next) {
        if (!call->session || !call->ticket[0]) continue;
        if (!tw_texts_match(ticket, (tw_text){call->ticket, strlen(call->ticket)})) continue;
        call->ticket[0] = 0;
        session = call->session;
        *owner = call;
    }
    pthread_mutex_unlock(&provider->lock);
    return session;
}

void twilio_on_upgrade(void *context, const vc_server_request *request) {
    twilio_provider *provider = context;
    if (!twilio_guard_admits(provider, request, true, NULL, 0)) {
        refuse(provider, request->exchange, 403, "The signature is missing or wrong.\n");
        return;
    }
    const size_t prefix = strlen(provider->settings.media_path);
    tw_text ticket = {request->path.data + prefix, request->path.length - prefix};
    // Twilio may sign the path with a slash at its end, and then it may call it so as well.
    if (ticket.length && ticket.at[ticket.length - 1] == '/') ticket.length--;
    twilio_call *call = NULL;
    const vc_handle session = take_ticket(provider, ticket, &call);
    if (!session) {
        twilio_count(provider, TWILIO_BAD_TICKETS);
        twilio_log(provider, VC_LOG_WARNING, 0, NULL, NULL,
                   "a stream was refused with 403: its ticket is unknown, or was used");
        refuse(provider, request->exchange, 403, "This stream is over, or never was.\n");
        return;
    }
    vc_handle socket = 0;
    const vc_status status =
        provider->server->upgrade(request->exchange, session, "", &twilio_stream_events, call, &socket);
    if (status == VC_E_STATE) refuse(provider, request->exchange, 426, "This path takes WebSockets.\n");
    else if (status != VC_OK) refuse(provider, request->exchange, 403, "This call is over.\n");
}

/*  A session's two directions. In: the host's slots leave an order in the mailbox and return; the SIP thread carries
    the orders out in the order in which a call could need them. Out: events go through the host's one door, and what
    it has no credit for waits in a small outbox, in order, until `credit`.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "objects.h"

void sip_wake(sip_provider *provider) {
    const uint64_t one = 1;
    // It can only fail when the counter is full, and then the thread is awake.
    if (write(provider->wake_fd, &one, sizeof one) < 0) return;
}

/// The caller holds `provider->lock`.
void sip_order(sip_session *session, uint32_t orders) {
    sip_provider *provider = session->provider;
    if (!session->orders) {
        session->next_ordered = NULL;
        *provider->ordered_tail = session;
        provider->ordered_tail = &session->next_ordered;
    }
    session->orders |= orders;
}

static vc_status offer_event(sip_session *session, const sip_event *waiting) {
    const uint64_t epoch = atomic_load(&session->epoch);
    const vc_host *host = session->provider->host;
    union {
        vc_event head;
        vc_event_hangup hangup;
        vc_event_held held;
        vc_event_transferred transferred;
        vc_event_dtmf dtmf;
    } event;
    memset(&event, 0, sizeof event);
    uint32_t size = sizeof event.head;
    switch (waiting->type) {
        case VC_EVENT_HANGUP:
            size = sizeof event.hangup;
            event.hangup.cause = waiting->cause, event.hangup.code = waiting->code;
            event.hangup.reason = sip_str(waiting->text);
            break;
        case VC_EVENT_HELD:
            size = sizeof event.held;
            event.held.on = waiting->cause;
            break;
        case VC_EVENT_TRANSFERRED:
            size = sizeof event.transferred;
            event.transferred.succeeded = waiting->cause, event.transferred.code = waiting->code;
            event.transferred.reason = sip_str(waiting->text);
            break;
        case VC_EVENT_DTMF:
            size = sizeof event.dtmf;
            event.dtmf.duration_ms = waiting->cause;
            event.dtmf.digits = sip_str(waiting->text);
            break;
        case VC_EVENT_ERROR: {
            const vc_error error = {.size = sizeof error, .code = (vc_status)waiting->cause,
                                    .protocol_status = waiting->code, .message = sip_str(waiting->text)};
            const vc_event_error body = {.head = {.size = sizeof body, .type = VC_EVENT_ERROR, .epoch = epoch},
                                         .error = &error};
            return host->emit(session->handle, &body.head);
        }
        default: break;
    }
    event.head.size = size, event.head.type = waiting->type, event.head.epoch = epoch;
    return host->emit(session->handle, &event.head);
}

static void flush_outbox(sip_session *session) {
    uint32_t sent = 0;
    while (sent < session->outbox_count && offer_event(session, &session->outbox[sent]) != VC_E_AGAIN) sent++;
    session->outbox_count -= sent;
    memmove(session->outbox, session->outbox + sent, session->outbox_count * sizeof *session->outbox);
}

void sip_session_emit(sip_session *session, uint32_t type, uint32_t cause, uint32_t code, const char *text) {
    sip_event event = {.type = type, .cause = cause, .code = code};
    snprintf(event.text, sizeof event.text, "%s", text ? text : "");
    flush_outbox(session);
    if (session->outbox_count == 0 && offer_event(session, &event) != VC_E_AGAIN) return;
    // The last two places are for the events without which the host would wait for ever.
    const bool final = type == VC_EVENT_HANGUP || type == VC_EVENT_CLOSED;
    if (session->outbox_count < SIP_MAX_OUTBOX - (final ? 0 : 2))
        session->outbox[session->outbox_count++] = event;
    else
        sip_count(session->provider, SIP_EVENTS_DROPPED);
}

static void close_session(sip_session *session) {
    if (session->closed) return;
    session->closed = true;
    sip_call *call = session->call;
    if (call) {
        sip_call_hangup(call, 0, "");
        // The call may need to live on for the answer to its BYE; it has no session any more.
        if (session->call) session->call->session = NULL, session->call = NULL;
    }
    sip_session_emit(session, VC_EVENT_CLOSED, 0, 0, NULL);
}

/// Carries out what the host ordered. The texts of the mailbox are copied under the lock first.
void sip_session_run(sip_session *session, uint32_t orders) {
    sip_provider *provider = session->provider;
    char target[sizeof session->target], digits[sizeof session->digits], reason[sizeof session->hangup_reason];
    pthread_mutex_lock(&provider->lock);
    memcpy(target, session->target, sizeof target);
    memcpy(digits, session->digits, sizeof digits);
    memcpy(reason, session->hangup_reason, sizeof reason);
    const uint32_t code = session->hangup_code, hold_on = session->hold_on;
    if (orders & SIP_ORDER_TRANSFER) session->target[0] = 0;
    if (orders & SIP_ORDER_DTMF) session->digits[0] = 0;
    pthread_mutex_unlock(&provider->lock);

    if (session->outbox_count) flush_outbox(session);
    if (orders & SIP_ORDER_OPEN) {
        if (session->direction == VC_CALL_INBOUND) sip_inbound_open(session);
        else sip_outbound_open(session);
    }
    sip_call *call = session->call;
    if (call && call->direction == VC_CALL_INBOUND && call->state == SIP_CALL_WAITING) {
        if (orders & SIP_ORDER_RINGING && !call->rang) {
            call->rang = true;
            nua_respond(call->handle, SIP_180_RINGING, TAG_END());
        }
        if (orders & SIP_ORDER_ANSWER) sip_inbound_answer(call);
    }
    // Each order may have ended the call, so each looks again.
    if ((call = session->call) && orders & SIP_ORDER_HOLD) sip_dialog_hold(call, hold_on);
    if ((call = session->call) && orders & SIP_ORDER_DTMF) sip_dialog_dtmf(call, digits);
    if ((call = session->call) && orders & SIP_ORDER_TRANSFER) sip_transfer(call, target);
    if ((call = session->call) && orders & SIP_ORDER_HANGUP) sip_call_hangup(call, code, reason);
    if (orders & SIP_ORDER_CLOSE) close_session(session);
    if (orders & SIP_ORDER_DESTROY) {
        if (session->call) {
            sip_call_hangup(session->call, 0, "");
            if (session->call) session->call->session = NULL;
        }
        sip_session_free(session);
    }
}

void sip_session_free(sip_session *session) {
    free(session->to), free(session->from), free(session->headers);
    free(session);
}

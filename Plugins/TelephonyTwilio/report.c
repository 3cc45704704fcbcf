/*  What the operator and the host are told: log lines, metrics, events. One place, so that every counter has its name
    and its help next to it, and so that what the host has no credit for waits in order.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "objects.h"

static const struct {
    const char *name, *help;
} METRICS[TWILIO_METRIC_COUNT] = {
    [TWILIO_WEBHOOKS] = {"twilio_webhooks_total", "Requests of Twilio with a good signature"},
    [TWILIO_BAD_SIGNATURES] = {"twilio_bad_signatures_total", "Refused with 403: no signature, or a wrong one"},
    [TWILIO_BAD_TICKETS] = {"twilio_bad_tickets_total", "Streams refused: a ticket or token is unknown, or was used"},
    [TWILIO_BAD_REQUESTS] = {"twilio_bad_requests_total", "Webhooks with a good signature that make no sense"},
    [TWILIO_REFUSED_FULL] = {"twilio_refused_full_total", "Calls refused because calls_max are there, or draining"},
    [TWILIO_OPEN_TIMEOUTS] = {"twilio_open_timeouts_total", "Calls for which the host opened no session in time"},
    [TWILIO_STREAM_TIMEOUTS] = {"twilio_stream_timeouts_total", "Calls whose stream did not come"},
    [TWILIO_STREAMS] = {"twilio_streams_total", "Streams that started"},
    [TWILIO_MEDIA_IN] = {"twilio_media_in_total", "Media messages received"},
    [TWILIO_MEDIA_OUT] = {"twilio_media_out_total", "Media messages sent"},
    [TWILIO_BAD_MESSAGES] = {"twilio_bad_messages_total", "Messages of a stream that make no sense"},
    [TWILIO_SEQUENCE_GAPS] = {"twilio_sequence_gaps_total", "Messages that are missing in the count of a stream"},
    [TWILIO_FRAMES_DROPPED] = {"twilio_frames_dropped_total", "Caller's frames lost because the host gave no credit"},
    [TWILIO_EVENTS_DROPPED] = {"twilio_events_dropped_total", "Other events lost for the same reason"},
    [TWILIO_CLEARS] = {"twilio_clears_total", "Times that the carrier was told to drop what it holds"},
    [TWILIO_REST_REQUESTS] = {"twilio_rest_requests_total", "Requests to the REST API, repetitions included"},
    [TWILIO_REST_FAILURES] = {"twilio_rest_failures_total", "Requests to the REST API that failed or were refused"},
    [TWILIO_CALLS] = {"twilio_calls", "Calls that exist now"},
};

vc_str twilio_str(const char *text) { return (vc_str){text, strlen(text)}; }

void twilio_metrics_define(twilio_provider *provider) {
    if (!provider->metrics) return;
    for (int index = 0; index < TWILIO_METRIC_COUNT; index++)
        provider->metrics->define(provider->handle, index < TWILIO_CALLS ? VC_METRIC_COUNTER : VC_METRIC_GAUGE,
                                  METRICS[index].name, METRICS[index].help, &provider->metric[index]);
}

void twilio_count(twilio_provider *provider, twilio_metric metric) {
    if (!provider->metrics || !provider->metric[metric]) return;
    provider->metrics->record(provider->metric[metric], metric == TWILIO_CALLS ? provider->call_count : 1);
}

void twilio_log(twilio_provider *provider, uint32_t level, vc_handle object, const char *name, const char *value,
                const char *format, ...) {
    if (!provider->log || !provider->log->enabled(level)) return;
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const vc_field field = {twilio_str(name ? name : ""), twilio_str(value ? value : "")};
    const vc_handle subject = object ? object : provider->handle;
    provider->log->write(subject, level, twilio_str(text), name ? &field : NULL, name ? 1 : 0);
}

void twilio_emit_plain(twilio_provider *provider, vc_handle object, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    provider->host->emit(object, &event);
}

static vc_status offer(twilio_call *call, const twilio_event *waiting) {
    const vc_host *host = call->provider->host;
    const vc_event head = {.type = waiting->type, .epoch = atomic_load(&call->epoch)};
    switch (waiting->type) {
        case VC_EVENT_HANGUP: {
            vc_event_hangup event = {.head = head, .cause = waiting->cause, .code = waiting->code,
                                     .reason = twilio_str(waiting->text)};
            event.head.size = sizeof event;
            return host->emit(call->session, &event.head);
        }
        case VC_EVENT_PLAYED: {
            vc_event_played event = {.head = head, .mark = waiting->mark, .cleared = waiting->cause};
            event.head.size = sizeof event;
            return host->emit(call->session, &event.head);
        }
        case VC_EVENT_DTMF: {
            vc_event_dtmf event = {.head = head, .digits = twilio_str(waiting->text)};
            event.head.size = sizeof event;
            return host->emit(call->session, &event.head);
        }
        case VC_EVENT_TRANSFERRED: {
            vc_event_transferred event = {.head = head, .succeeded = waiting->cause, .code = waiting->code,
                                          .reason = twilio_str(waiting->text)};
            event.head.size = sizeof event;
            return host->emit(call->session, &event.head);
        }
        case VC_EVENT_ERROR: {
            const vc_error error = {.size = sizeof error, .code = (vc_status)waiting->cause,
                                    .protocol_status = waiting->code, .message = twilio_str(waiting->text),
                                    .vendor = VC_STR("Twilio"), .vendor_code = twilio_str(waiting->vendor_code)};
            vc_event_error event = {.head = head, .error = &error};
            event.head.size = sizeof event;
            return host->emit(call->session, &event.head);
        }
        default: {
            vc_event event = head;
            event.size = sizeof event;
            return host->emit(call->session, &event);
        }
    }
}

void twilio_emit_waiting(twilio_call *call) {
    uint32_t sent = 0;
    while (sent < call->outbox_count && offer(call, &call->outbox[sent]) != VC_E_AGAIN) sent++;
    call->outbox_count -= sent;
    memmove(call->outbox, call->outbox + sent, call->outbox_count * sizeof *call->outbox);
}

void twilio_emit(twilio_call *call, const twilio_event *event) {
    twilio_emit_waiting(call);
    if (call->outbox_count == 0 && offer(call, event) != VC_E_AGAIN) return;
    // The last two places are for the events without which the host would wait for ever.
    const bool is_final = event->type == VC_EVENT_HANGUP || event->type == VC_EVENT_CLOSED;
    if (call->outbox_count < TWILIO_MAX_OUTBOX - (is_final ? 0 : 2)) call->outbox[call->outbox_count++] = *event;
    else twilio_count(call->provider, TWILIO_EVENTS_DROPPED);
}

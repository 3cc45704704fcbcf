/*  What the operator sees of this plugin: log lines, metrics, errors. One place, so that every counter has its name and
    its help next to it, and sofia's own log reaches the host's log instead of the process's standard error.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <sofia-sip/su_log.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "objects.h"

static const struct {
    const char *name, *help;
} METRICS[SIP_METRIC_COUNT] = {
    [SIP_INVITES] = {"sip_invites_total", "Initial INVITE requests received"},
    [SIP_INVITES_LIMITED] = {"sip_invites_limited_total",
        "Refused with 503: a limit of rate, pending calls or dialogs"},
    [SIP_INVITES_REFUSED] = {"sip_invites_refused_total", "Refused with 403: neither a trusted peer nor a user"},
    [SIP_CHALLENGES] = {"sip_challenges_total", "401 answers that asked for credentials"},
    [SIP_AUTH_FAILURES] = {"sip_auth_failures_total", "Requests with credentials that are wrong"},
    [SIP_REGISTERS] = {"sip_registers_total", "REGISTER requests received"},
    [SIP_REGISTRATIONS_LIMITED] = {"sip_registrations_limited_total", "Bindings refused because the table is full"},
    [SIP_OUTBOUND_CALLS] = {"sip_outbound_calls_total", "Outbound calls placed"},
    [SIP_OPEN_TIMEOUTS] = {"sip_open_timeouts_total", "Incoming calls for which the host opened no session in time"},
    [SIP_EVENTS_DROPPED] = {"sip_events_dropped_total", "Events lost because the host gave no credit"},
    [SIP_ACK_TIMEOUTS] = {"sip_ack_timeouts_total", "Answers whose ACK never came"},
    [SIP_MEDIA_REFUSALS] = {"sip_media_refusals_total", "Descriptions that the media service refused"},
    [SIP_TRANSFERS] = {"sip_transfers_total", "REFER requests sent"},
    [SIP_DIGITS] = {"sip_info_digits_total", "Digits received by INFO"},
    [SIP_DIALOGS] = {"sip_dialogs", "Call legs that exist now"},
    [SIP_PENDING] = {"sip_pending_invites", "Incoming calls that are not answered yet"},
    [SIP_REGISTRATIONS] = {"sip_registrations", "Contacts registered here now"},
    [SIP_PORT] = {"sip_port", "The port that is bound, 0 when none is"},
};

vc_str sip_str(const char *text) { return (vc_str){text, text ? strlen(text) : 0}; }

void sip_metrics_define(sip_provider *provider) {
    if (!provider->metrics) return;
    for (int index = 0; index < SIP_METRIC_COUNT; index++)
        provider->metrics->define(provider->handle, index < SIP_DIALOGS ? VC_METRIC_COUNTER : VC_METRIC_GAUGE,
                                  METRICS[index].name, METRICS[index].help, &provider->metric[index]);
}

void sip_count(sip_provider *provider, sip_metric metric) { sip_gauge(provider, metric, 1); }

void sip_gauge(sip_provider *provider, sip_metric metric, double value) {
    if (provider->metrics && provider->metric[metric]) provider->metrics->record(provider->metric[metric], value);
}

void sip_log(sip_provider *provider, uint32_t level, vc_handle object, const char *name, const char *value,
             const char *format, ...) {
    if (!provider->log || !provider->log->enabled(level)) return;
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const vc_field field = {sip_str(name), sip_str(value)};
    provider->log->write(object ? object : provider->handle, level, sip_str(text), name ? &field : NULL, name ? 1 : 0);
}

static void write_sofia_line(void *stream, char const *format, va_list list) {
    const vc_host *host = stream;
    const vc_log *log = host->service(VC_SERVICE_LOG);
    if (!log || !log->enabled(VC_LOG_DEBUG)) return;
    char text[512];
    int length = vsnprintf(text, sizeof text, format, list);
    if (length >= (int)sizeof text) length = sizeof text - 1;
    while (length > 0 && text[length - 1] == '\n') length--;
    if (length > 0) log->write(0, VC_LOG_DEBUG, (vc_str){text, (uint64_t)length}, NULL, 0);
}

/// sofia's log is one for the process; its parts each have a level, and follow the default until told otherwise.
void sip_redirect_sofia_log(const vc_host *host) {
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    static bool done;
    pthread_mutex_lock(&once);
    if (!done) {
        su_log_redirect(NULL, write_sofia_line, (void *)host);
        su_log_set_level(NULL, 1);
        done = true;
    }
    pthread_mutex_unlock(&once);
}

void sip_emit_provider_error(sip_provider *provider, vc_status code, const char *message) {
    const vc_error error = {.size = sizeof error, .code = code, .message = sip_str(message)};
    const vc_event_error event = {.head = {.size = sizeof event, .type = VC_EVENT_ERROR}, .error = &error, .fatal = 1};
    provider->host->emit(provider->handle, &event.head);
}

vc_status sip_emit_plain(sip_provider *provider, vc_handle object, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    return provider->host->emit(object, &event);
}

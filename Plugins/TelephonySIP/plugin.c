/*  The plugin as the host sees it: the entry function and the tables. Nothing is decided here. A slot checks its
    arguments, leaves an order for the SIP thread, and returns; what came of it, the host learns by an event.

    Where to go on reading: objects.h (the objects and their threads), stack.c (the thread), inbound.c (a call comes
    in).  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "objects.h"

static const vc_host *the_host;

static vc_status fail(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = sip_str(message);
    return code;
}

// ---- The session ----

/// Leaves an order; the texts that go with it were written under the same lock.
static vc_status leave(sip_session *session, uint32_t orders) {
    pthread_mutex_lock(&session->provider->lock);
    sip_order(session, orders);
    pthread_mutex_unlock(&session->provider->lock);
    sip_wake(session->provider);
    return VC_OK;
}

static void session_cancel(vc_self self, uint64_t epoch) {
    sip_session *session = self;
    uint64_t known = atomic_load(&session->epoch);
    do
        if (epoch <= known) return;
    while (!atomic_compare_exchange_weak(&session->epoch, &known, epoch));
    // Signalling makes nothing for an epoch, so there is nothing to stop.
    sip_emit_plain(session->provider, session->handle, VC_EVENT_CANCELED, epoch);
}

static void session_credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes;
    leave(self, SIP_ORDER_CREDIT);
}

static void session_close(vc_self self) { leave(self, SIP_ORDER_CLOSE); }

static void session_destroy(vc_self self) { leave(self, SIP_ORDER_DESTROY); }

static vc_status session_ringing(vc_self self) {
    const sip_session *session = self;
    return session->direction == VC_CALL_INBOUND ? leave(self, SIP_ORDER_RINGING) : VC_E_STATE;
}

static vc_status session_answer(vc_self self) {
    const sip_session *session = self;
    return session->direction == VC_CALL_INBOUND ? leave(self, SIP_ORDER_ANSWER) : VC_E_STATE;
}

static vc_status session_hangup(vc_self self, uint32_t code, vc_str reason) {
    sip_session *session = self;
    if (code && (code < 300 || code > 699)) return VC_E_ARGUMENT;
    pthread_mutex_lock(&session->provider->lock);
    session->hangup_code = code;
    snprintf(session->hangup_reason, sizeof session->hangup_reason, "%.*s",
             (int)(reason.length < 127 ? reason.length : 127), reason.data ? reason.data : "");
    pthread_mutex_unlock(&session->provider->lock);
    return leave(session, SIP_ORDER_HANGUP);
}

static vc_status session_transfer(vc_self self, vc_str target) {
    sip_session *session = self;
    char text[sizeof session->target];
    if (target.length == 0 || target.length >= sizeof text) return VC_E_ARGUMENT;
    snprintf(text, sizeof text, "%.*s", (int)target.length, target.data);
    if (!sip_uri_is_safe(text)) return VC_E_ARGUMENT;
    pthread_mutex_lock(&session->provider->lock);
    const bool busy = session->target[0] != 0;
    if (!busy) memcpy(session->target, text, sizeof text);
    pthread_mutex_unlock(&session->provider->lock);
    return busy ? VC_E_AGAIN : leave(session, SIP_ORDER_TRANSFER);
}

static vc_status session_hold(vc_self self, uint32_t on) {
    sip_session *session = self;
    pthread_mutex_lock(&session->provider->lock);
    session->hold_on = on != 0;
    pthread_mutex_unlock(&session->provider->lock);
    return leave(session, SIP_ORDER_HOLD);
}

static vc_status session_dtmf(vc_self self, vc_str digits) {
    sip_session *session = self;
    if (digits.length == 0 || !digits.data) return VC_E_ARGUMENT;
    for (uint64_t index = 0; index < digits.length; index++)
        if (!digits.data[index] || !strchr("0123456789*#ABCD", toupper((unsigned char)digits.data[index])))
            return VC_E_ARGUMENT;
    pthread_mutex_lock(&session->provider->lock);
    const size_t waiting = strlen(session->digits);
    const bool fits = waiting + digits.length < sizeof session->digits;
    if (fits) {
        memcpy(session->digits + waiting, digits.data, digits.length);
        session->digits[waiting + digits.length] = 0;
    }
    pthread_mutex_unlock(&session->provider->lock);
    return fits ? leave(session, SIP_ORDER_DTMF) : VC_E_AGAIN;
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops,
    .cancel = session_cancel,
    .credit = session_credit,
    .close = session_close,
    .destroy = session_destroy,
};

static const vc_telephony_ops telephony_ops = {
    .size = sizeof telephony_ops,
    .ringing = session_ringing,
    .answer = session_answer,
    .hangup = session_hangup,
    .transfer = session_transfer,
    .hold = session_hold,
    .dtmf = session_dtmf,
};

// ---- The provider ----

void sip_provider_free(sip_provider *provider) {
    sip_registrar_free(provider);
    sip_settings_free(&provider->settings);
    free(provider->sources);
    if (provider->wake_fd >= 0) close(provider->wake_fd);
    pthread_mutex_destroy(&provider->lock);
    free(provider);
}

static vc_status provider_create(const vc_create *request, vc_self *self, vc_error *error) {
    static _Thread_local char message[400]; // Lives until the next control call, as vc_error asks.
    const vc_host *host = the_host;
    if (!host->service(VC_SERVICE_MEDIA) || !host->service(VC_SERVICE_CONFIG))
        return fail(error, VC_E_UNSUPPORTED, "SIP needs the services vc.media/1 and vc.config/1 of the host");
    sip_provider *provider = calloc(1, sizeof *provider);
    if (!provider) return fail(error, VC_E_MEMORY, "out of memory");
    provider->host = host;
    provider->log = host->service(VC_SERVICE_LOG);
    provider->clock = host->service(VC_SERVICE_CLOCK);
    provider->metrics = host->service(VC_SERVICE_METRICS);
    provider->media = host->service(VC_SERVICE_MEDIA);
    provider->handle = request->provider;
    snprintf(provider->name, sizeof provider->name, "%.*s",
             (int)(request->name.length < 63 ? request->name.length : 63), request->name.data ? request->name.data : "");
    provider->ordered_tail = &provider->ordered;
    pthread_mutex_init(&provider->lock, NULL);
    provider->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const vc_status status =
        provider->wake_fd < 0 ? VC_E_MEMORY
                              : sip_settings_read(&provider->settings, host, request->provider, message,
                                                  sizeof message);
    if (status != VC_OK) {
        if (provider->wake_fd < 0) snprintf(message, sizeof message, "no file descriptor is left: raise the limit");
        sip_provider_free(provider);
        return fail(error, status, message);
    }
    sip_metrics_define(provider);
    *self = provider;
    return VC_OK;
}

static vc_status provider_start(vc_self self, vc_error *error) {
    const vc_status status = sip_stack_start(self);
    return status == VC_OK ? status : fail(error, status, "the SIP thread could not be started");
}

static void provider_drain(vc_self self) {
    sip_provider *provider = self;
    pthread_mutex_lock(&provider->lock);
    provider->drain_ordered = true;
    const bool runs = provider->thread_runs;
    pthread_mutex_unlock(&provider->lock);
    if (runs) sip_wake(provider);
    else sip_emit_plain(provider, provider->handle, VC_EVENT_DRAINED, 0);
}

static void provider_destroy(vc_self self) {
    sip_provider *provider = self;
    pthread_mutex_lock(&provider->lock);
    provider->destroy_ordered = true;
    const bool runs = provider->thread_runs;
    // Under the lock, because the thread may free the provider as soon as it sees the order.
    if (runs) sip_wake(provider);
    pthread_mutex_unlock(&provider->lock);
    if (!runs) sip_provider_free(provider);
}

static char *copied(vc_str text) { return text.data && text.length ? strndup(text.data, text.length) : NULL; }

static bool is_token(vc_str text) {
    if (!text.length || !text.data) return false;
    for (uint64_t index = 0; index < text.length; index++)
        if (!isalnum((unsigned char)text.data[index]) && !strchr("-.!%*_+`'~", text.data[index])) return false;
    return true;
}

/// A line break in a value would be a header of its own.
static bool is_one_line(vc_str text) {
    if (text.length == 0) return true;
    return text.data && text.length <= SIP_MAX_VALUE && !memchr(text.data, '\r', text.length) &&
           !memchr(text.data, '\n', text.length) && !memchr(text.data, 0, text.length);
}

/// The additional headers as lines, or NULL.
static vc_status write_headers(const vc_telephony_open *request, char **lines) {
    *lines = NULL;
    if (!request->header_count) return VC_OK;
    if (request->header_count > SIP_MAX_HEADERS || !request->headers) return VC_E_ARGUMENT;
    char *text = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&text, &length);
    if (!stream) return VC_E_MEMORY;
    vc_status status = VC_OK;
    for (uint32_t index = 0; index < request->header_count && status == VC_OK; index++) {
        const vc_field *field = &request->headers[index];
        if (!is_token(field->name) || !is_one_line(field->value))
            status = VC_E_ARGUMENT;
        else
            fprintf(stream, "%.*s: %.*s\r\n", (int)field->name.length, field->name.data, (int)field->value.length,
                    field->value.data ? field->value.data : "");
    }
    fclose(stream);
    if (status == VC_OK) *lines = text;
    else free(text);
    return status;
}

static vc_status provider_open(vc_self self, const vc_open *request, vc_session *session, vc_error *error) {
    sip_provider *provider = self;
    const vc_telephony_open *kind = request->kind;
    if (!kind || (kind->direction != VC_CALL_INBOUND && kind->direction != VC_CALL_OUTBOUND))
        return fail(error, VC_E_ARGUMENT, "a telephony session needs vc_telephony_open with a direction");
    if (!provider->thread_runs) return fail(error, VC_E_STATE, "the provider was not started");
    if (kind->direction == VC_CALL_INBOUND ? kind->key.length == 0 || kind->key.length >= SIP_KEY_LENGTH
                                           : kind->to.length == 0 || kind->to.length >= 512 || kind->from.length >= 512)
        return fail(error, VC_E_ARGUMENT, "an inbound call needs the key of INCOMING, an outbound one whom to call");
    sip_session *opened = calloc(1, sizeof *opened);
    if (!opened) return fail(error, VC_E_MEMORY, "out of memory");
    opened->provider = provider;
    opened->handle = request->session;
    opened->direction = kind->direction;
    opened->ring_timeout_ms = kind->ring_timeout_ms;
    atomic_init(&opened->epoch, request->epoch);
    if (kind->direction == VC_CALL_INBOUND) {
        snprintf(opened->key, sizeof opened->key, "%.*s", (int)kind->key.length, kind->key.data);
    } else {
        opened->to = copied(kind->to);
        opened->from = copied(kind->from);
        const vc_status status = write_headers(kind, &opened->headers);
        if (status != VC_OK || !opened->to || !sip_uri_is_safe(opened->to) ||
            (opened->from && !sip_uri_is_safe(opened->from))) {
            sip_session_free(opened);
            return fail(error, VC_E_ARGUMENT,
                        "to, from or a header cannot stand in a SIP message: no blanks, brackets or line breaks");
        }
    }
    session->state = opened;
    session->ops = &session_ops;
    session->kind_ops = &telephony_ops;
    return leave(opened, SIP_ORDER_OPEN);
}

static vc_status provider_decline(vc_self self, vc_str key, uint32_t code, uint32_t retry_after_s) {
    sip_provider *provider = self;
    if (key.length == 0 || key.length >= SIP_KEY_LENGTH || code < 300 || code > 699) return VC_E_ARGUMENT;
    pthread_mutex_lock(&provider->lock);
    const bool full = provider->decline_count == SIP_MAX_DECLINES;
    if (!full) {
        const uint32_t index = provider->decline_count++;
        snprintf(provider->declines[index].key, SIP_KEY_LENGTH, "%.*s", (int)key.length, key.data);
        provider->declines[index].code = code;
        provider->declines[index].retry_after_s = retry_after_s;
    }
    pthread_mutex_unlock(&provider->lock);
    if (full) return VC_E_AGAIN;
    sip_wake(provider);
    return VC_OK;
}

static const vc_telephony_provider_ops telephony_provider_ops = {
    .size = sizeof telephony_provider_ops,
    .decline = provider_decline,
};

static const vc_provider sip = {
    .size = sizeof sip,
    .kind = VC_STR(VC_KIND_TELEPHONY),
    .id = VC_STR("org.vchost.telephony-sip"),
    .create = provider_create,
    .start = provider_start,
    .drain = provider_drain,
    .destroy = provider_destroy,
    .open = provider_open,
    .kind_ops = &telephony_provider_ops,
};

static const vc_provider *const providers[] = {&sip};

static const vc_module module_of_this_plugin = {
    .size = sizeof module_of_this_plugin,
    .minor = VC_ABI_MINOR,
    .provider_count = 1,
    .providers = providers,
};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    the_host = host;
    *module = &module_of_this_plugin;
    return VC_OK;
}

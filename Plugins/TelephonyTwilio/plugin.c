/*  The plugin as the host sees it: the entry function, and the provider's slots.

    Where to go on reading: objects.h (a call and its two secrets), webhook.c (what Twilio asks), incoming.c (a call
    comes in), stream.c (its audio), call.c (its end). What is said on the wire, and how it is checked, is in
    TwilioWire.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objects.h"

static const vc_host *the_host;

static vc_status fail(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = twilio_str(message);
    return code;
}

static vc_status provider_create(const vc_create *request, vc_self *self, vc_error *error) {
    static _Thread_local char message[400]; // Lives until the next control call, as vc_error asks.
    const vc_host *host = the_host;
    static const char *const needed[] = {VC_SERVICE_CONFIG, VC_SERVICE_CLOCK, VC_SERVICE_TIMER,
                                         VC_SERVICE_SERVER, VC_SERVICE_WS,    VC_SERVICE_HTTP};
    for (size_t index = 0; index < sizeof needed / sizeof *needed; index++)
        if (!host->service(needed[index])) {
            snprintf(message, sizeof message,
                     "Twilio needs the service %s, which is not offered here; vc.server/1 is not in a worker, where "
                     "isolation = inprocess is the mend",
                     needed[index]);
            return fail(error, VC_E_UNSUPPORTED, message);
        }
    twilio_provider *provider = calloc(1, sizeof *provider);
    if (!provider) return fail(error, VC_E_MEMORY, "out of memory");
    provider->host = host;
    provider->log = host->service(VC_SERVICE_LOG);
    provider->clock = host->service(VC_SERVICE_CLOCK);
    provider->timer = host->service(VC_SERVICE_TIMER);
    provider->metrics = host->service(VC_SERVICE_METRICS);
    provider->server = host->service(VC_SERVICE_SERVER);
    provider->ws = host->service(VC_SERVICE_WS);
    provider->http = host->service(VC_SERVICE_HTTP);
    provider->secret = host->service(VC_SERVICE_SECRET);
    provider->handle = request->provider;
    const vc_status status =
        twilio_settings_read(&provider->settings, host, request->provider, message, sizeof message);
    if (status != VC_OK) {
        free(provider);
        return fail(error, status, message);
    }
    pthread_mutex_init(&provider->lock, NULL);
    twilio_metrics_define(provider);
    *self = provider;
    return VC_OK;
}

static vc_status provider_start(vc_self self, vc_error *error) {
    static _Thread_local char message[700];
    twilio_provider *provider = self;
    const twilio_settings *settings = &provider->settings;
    const struct {
        const char *path;
        vc_server_request_fn handle;
    } doors[] = {{settings->voice_path, twilio_on_voice},
                 {settings->status_path, twilio_on_status},
                 {settings->media_path, twilio_on_upgrade}};
    for (size_t index = 0; index < sizeof doors / sizeof *doors; index++) {
        const vc_status status =
            provider->server->route(provider->handle, doors[index].path, doors[index].handle, provider);
        if (status == VC_OK) continue;
        snprintf(message, sizeof message,
                 status == VC_E_CONFIG ? "Twilio calls us at %s, and the host has no listener: set listen in [server]"
                                       : "%s cannot be served: another section has it, or it is no path",
                 doors[index].path);
        return fail(error, VC_E_CONFIG, message);
    }
    provider->has_started = true;
    char url[1024];
    const tw_text path = {settings->voice_path, strlen(settings->voice_path)};
    tw_origin_url(&settings->origin, false, 0, path, (tw_text){"", 0}, url, sizeof url);
    twilio_log(provider, VC_LOG_INFO, 0, "url", url, "set this address as the number's voice webhook");
    // A transfer and the end of a call that has no stream are then a round trip and no handshake.
    provider->http->prewarm(provider->handle, twilio_str(settings->url));
    twilio_emit_plain(provider, provider->handle, VC_EVENT_READY, 0);
    return VC_OK;
}

static void provider_drain(vc_self self) { twilio_desk_drain(self); }

static void provider_destroy(vc_self self) {
    twilio_provider *provider = self;
    // Those of the host's requests that were cancelled with their owner: nobody is called for them any more.
    while (provider->requests) {
        twilio_request *request = provider->requests;
        provider->requests = request->next;
        free(request->form);
        free(request);
    }
    while (provider->calls) {
        twilio_call *call = provider->calls;
        provider->calls = call->next;
        free(call);
    }
    pthread_mutex_destroy(&provider->lock);
    free(provider);
}

static bool copy_text(char *out, size_t room, vc_str text) {
    if (text.length >= room) return false;
    if (text.length) memcpy(out, text.data, text.length);
    out[text.length] = 0;
    return !memchr(out, 0, text.length);
}

/// Asks Twilio for a call. Its document goes with the request, so nothing is asked of us when the callee answers.
static vc_status place(twilio_call *call, const vc_telephony_open *kind, vc_error *error) {
    const twilio_settings *settings = &call->provider->settings;
    char to[512], from[512], twiml[TW_TWIML_MAX], seconds[12], form[4 * TW_TWIML_MAX] = "";
    if (!copy_text(to, sizeof to, kind->to) || !to[0] || !copy_text(from, sizeof from, kind->from))
        return fail(error, VC_E_ARGUMENT, "an outbound call needs whom to call, a number, sip:... or client:...");
    if (!from[0]) snprintf(from, sizeof from, "%s", settings->from);
    if (!from[0])
        return fail(error, VC_E_CONFIG, "Twilio needs a caller: set from in this section, a number of the account");
    const uint32_t ring_ms = kind->ring_timeout_ms ? kind->ring_timeout_ms : 60000;
    const uint32_t ring_s = (ring_ms + 999) / 1000;
    snprintf(seconds, sizeof seconds, "%u", ring_s > 600 ? 600 : ring_s);
    const size_t length = twilio_call_document(call, twiml);
    const struct {
        const char *name, *value;
    } fields[] = {{"To", to}, {"From", from}, {"Twiml", twiml}, {"Timeout", seconds},
                  {"StatusCallback", settings->status_url}, {"StatusCallbackEvent", "initiated"},
                  {"StatusCallbackEvent", "ringing"}, {"StatusCallbackEvent", "answered"},
                  {"StatusCallbackEvent", "completed"}};
    bool fits = length > 0;
    for (size_t index = 0; index < sizeof fields / sizeof *fields; index++)
        fits = fits && tw_form_append(form, sizeof form, fields[index].name,
                                      (tw_text){fields[index].value, strlen(fields[index].value)});
    if (!fits) return fail(error, VC_E_CONFIG, "public_url and the paths are too long for a document of 4000 bytes");
    const vc_status status = twilio_rest(call->provider, TWILIO_PLACE, call->number, "", form);
    if (status != VC_OK)
        return fail(error, status, "the REST API cannot be asked: a secret is missing, or 32 requests are under way");
    call->state = TWILIO_CONNECTING;
    // Twilio tells first that nobody answered, or that somebody did; this is for when it tells nothing.
    twilio_call_deadline(call, ring_ms + TWILIO_RING_SLACK_MS);
    return VC_OK;
}

static vc_status provider_open(vc_self self, const vc_open *request, vc_session *session, vc_error *error) {
    twilio_provider *provider = self;
    const vc_telephony_open *kind = request->kind;
    if (!kind || (kind->direction != VC_CALL_INBOUND && kind->direction != VC_CALL_OUTBOUND))
        return fail(error, VC_E_ARGUMENT, "a telephony session needs vc_telephony_open with a direction");
    if (!provider->has_started) return fail(error, VC_E_STATE, "the provider was not started");
    if (request->rate_hz != 8000)
        return fail(error, VC_E_ARGUMENT, "Twilio's streams have 8000 Hz, and no other rate");
    const bool is_inbound = kind->direction == VC_CALL_INBOUND;
    twilio_call *call =
        is_inbound ? twilio_desk_by_key(provider, kind->key) : twilio_desk_make(provider, VC_CALL_OUTBOUND);
    if (!call && is_inbound)
        return fail(error, VC_E_NOT_FOUND, "no call waits under this key: its caller has given up");
    if (!call) return fail(error, VC_E_QUOTA, "calls_max calls are there already, or the provider is draining");
    atomic_store(&call->epoch, request->epoch);
    call->state = TWILIO_TAKEN;
    pthread_mutex_lock(&provider->lock);
    call->session = request->session;
    pthread_mutex_unlock(&provider->lock);
    const vc_status status = is_inbound ? VC_OK : place(call, kind, error);
    if (status != VC_OK) {
        twilio_desk_destroy(call);
        return status;
    }
    session->state = call;
    session->ops = &twilio_session_ops;
    session->kind_ops = &twilio_telephony_ops;
    if (is_inbound) twilio_call_deadline(call, TWILIO_ANSWER_MS);
    twilio_emit_plain(provider, request->session, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

static vc_status provider_decline(vc_self self, vc_str key, uint32_t code, uint32_t retry_after_s) {
    (void)retry_after_s; // Twilio has no place for it: a caller hears busy and calls again.
    if (code < 300 || code > 699) return VC_E_ARGUMENT;
    twilio_call *call = twilio_desk_by_key(self, key);
    if (!call) return VC_E_NOT_FOUND;
    char twiml[TW_TWIML_MAX];
    tw_twiml_reject(twiml, code == 486 || code == 503 || code == 600);
    twilio_respond_to_call(call, twiml);
    twilio_desk_destroy(call);
    return VC_OK;
}

static const vc_telephony_provider_ops telephony_provider_ops = {
    .size = sizeof telephony_provider_ops,
    .decline = provider_decline,
};

static const vc_provider twilio = {
    .size = sizeof twilio,
    .kind = VC_STR(VC_KIND_TELEPHONY),
    .id = VC_STR("org.vchost.telephony-twilio"),
    .create = provider_create,
    .start = provider_start,
    .drain = provider_drain,
    .destroy = provider_destroy,
    .open = provider_open,
    .kind_ops = &telephony_provider_ops,
};

static const vc_provider *const providers[] = {&twilio};

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

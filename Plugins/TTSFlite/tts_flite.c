/*  The plugin: flite's voice kal, in process, 8 kHz as the telephone has it. It is the voice for when no other
    answers, so it needs nothing: no file, no server, no network, and a clause is ready within milliseconds.  */
// SPDX-License-Identifier: Apache-2.0
#include "flite_voice.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

static const vc_host *host;

typedef struct provider_state {
    vc_handle handle;
    speech_host services; ///< Outlives the sessions, which point to it.
    double speed;
} provider_state;

static const double SPEED_MIN = 0.5, SPEED_MAX = 2.0;

static vc_status refuse(vc_error *error, vc_status code, const char *message) {
    error->code = code;
    error->message = (vc_str){message, strlen(message)};
    return code;
}

/// `speed` of a provider or a session. False when it is set to what cannot be spoken.
static int read_speed(vc_handle object, double *speed) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    double value;
    if (!config || config->number(object, "speed", &value) != VC_OK) return 1;
    if (!(value >= SPEED_MIN && value <= SPEED_MAX)) return 0;
    *speed = value;
    return 1;
}

static vc_status provider_create(const vc_create *request, vc_self *self, vc_error *error) {
    const vc_task *task = host->service(VC_SERVICE_TASK);
    if (!task) return refuse(error, VC_E_UNSUPPORTED, "tts-flite needs the host service vc.task/1");
    provider_state *provider = calloc(1, sizeof *provider);
    if (!provider) return refuse(error, VC_E_MEMORY, "no memory for a tts-flite provider");
    provider->handle = request->provider;
    provider->services = (speech_host){.host = host, .task = task};
    provider->speed = 1;
    if (!read_speed(request->provider, &provider->speed)) {
        free(provider);
        return refuse(error, VC_E_CONFIG, "`speed` must lie between 0.5 and 2");
    }
    *self = provider;
    return VC_OK;
}

/// One word, so that the first clause of a call finds every page of the voice in memory.
static void prepare(void *context) {
    const provider_state *provider = context;
    int16_t *samples = NULL;
    if (flite_voice_prepare() && flite_voice_speak("Hello.", 1, &samples) > 0) {
        const vc_event ready = {.size = sizeof ready, .type = VC_EVENT_READY};
        host->emit(provider->handle, &ready);
    } else {
        const vc_error error = {
            .size = sizeof error,
            .code = VC_E_INTERNAL,
            .message = VC_STR("flite cannot speak with its voice kal: reinstall the Debian package libflite1"),
        };
        const vc_event_error failed = {
            .head = {.size = sizeof failed, .type = VC_EVENT_ERROR},
            .error = &error,
            .fatal = 1,
        };
        host->emit(provider->handle, &failed.head);
    }
    free(samples);
}

static vc_status provider_start(vc_self self, vc_error *error) {
    provider_state *provider = self;
    const vc_status status = provider->services.task->run(provider->handle, prepare, provider);
    return status == VC_OK ? VC_OK : refuse(error, status, "the host has no thread to prepare flite's voice on");
}

static void provider_destroy(vc_self self) { free(self); }

static vc_status provider_open(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    const provider_state *provider = self;
    if (request->rate_hz != 0 && request->rate_hz != FLITE_RATE_HZ)
        return refuse(error, VC_E_ARGUMENT, "flite's voice kal speaks at 8000 Hz, nothing else");
    double speed = provider->speed;
    if (!read_speed(request->session, &speed)) return refuse(error, VC_E_CONFIG, "`speed` must lie between 0.5 and 2");
    const vc_status status = session_open(&provider->services, request, speed, out);
    if (status != VC_OK) return refuse(error, status, "no memory for a tts-flite session");
    // The voice was prepared in `start`: a session has nothing to wait for.
    const vc_event ready = {.size = sizeof ready, .type = VC_EVENT_READY, .epoch = request->epoch};
    host->emit(request->session, &ready);
    return VC_OK;
}

static const vc_provider provider_table = {
    .size = sizeof provider_table,
    .kind = VC_STR(VC_KIND_TTS),
    .id = VC_STR("org.vchost.tts-flite"),
    .create = provider_create,
    .start = provider_start,
    .destroy = provider_destroy,
    .open = provider_open,
};

static const vc_provider *const providers[] = {&provider_table};

static const vc_module module_table = {
    .size = sizeof module_table,
    .minor = VC_ABI_MINOR,
    .provider_count = 1,
    .providers = providers,
};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *given, const vc_module **module) {
    host = given;
    *module = &module_table;
    return VC_OK;
}

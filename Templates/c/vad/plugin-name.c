// plugin-name: a detector of voice activity. A window of many calls comes in one call of `process`; the only thing that
// is yours is `probability`, and what it remembers of a call.
//
// Nothing here takes a lock, memory or a service: `process` has a deadline, and the detector's own thread to itself.

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <vchost/vchost.h>

enum { WINDOW_MS = 32 };

// Mean squares: what a line is taken for before anything was heard of it (-45 dBFS), and the quietest one (-64 dBFS).
static const float NOISE_FIRST = 34000, NOISE_LEAST = 400;

static const vc_host *host;

// What is remembered of one call.
typedef struct memory {
    // Yours: the state of a model, say.
    float noise; // Mean square of what is taken for silence.
} memory;

typedef struct session {
    memory memory;
    vc_handle handle;
    _Atomic uint64_t epoch; // Raised by `cancel`, on any thread; UINT64_MAX once closed.
} session;

static void forget(memory *m) { m->noise = NOISE_FIRST; }

static float probability(memory *m, const int16_t *samples, uint32_t count) {
    // Yours: how likely it is that somebody speaks in these samples. As it stands, what is 10 dB above the noise.
    float energy = 1;
    for (uint32_t i = 0; i < count; i++) energy += (float)samples[i] * (float)samples[i] / (float)count;
    const float ratio = energy / m->noise;
    // The noise is followed down at once and up slowly, so that a long sentence does not become noise: 10 dB in 4 s.
    m->noise = energy < m->noise ? energy : m->noise * 1.02f;
    if (m->noise < NOISE_LEAST) m->noise = NOISE_LEAST;
    return 1 / (1 + expf(10 - ratio));
}

static vc_status process(vc_self self, const vc_vad_batch *batch) {
    (void)self;
    if (batch->samples != batch->rate_hz / 1000 * WINDOW_MS) return VC_E_ARGUMENT;
    for (uint32_t i = 0; i < batch->row_count; i++) {
        // By the stride: rows may grow.
        vc_vad_row *row = (vc_vad_row *)((char *)batch->rows + (uint64_t)i * batch->row_stride);
        session *s = row->session;
        if (row->flags & VC_VAD_ROW_RESET) forget(&s->memory);
        row->probability = probability(&s->memory, row->samples, batch->samples);
    }
    return VC_OK;
}

static void emit(const session *s, uint32_t type, uint64_t epoch) {
    const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch };
    host->emit(s->handle, &event);
}

// VC_ANY: touches nothing but the atomic.
static void cancel(vc_self self, uint64_t epoch) {
    session *s = self;
    uint64_t seen = atomic_load(&s->epoch);
    while (seen < epoch) {
        if (!atomic_compare_exchange_weak(&s->epoch, &seen, epoch)) continue;
        emit(s, VC_EVENT_CANCELED, epoch);
        return;
    }
}

static void credit(vc_self self, uint32_t events, uint64_t bytes) { (void)self, (void)events, (void)bytes; }

static void close_session(vc_self self) {
    session *s = self;
    emit(s, VC_EVENT_CLOSED, atomic_exchange(&s->epoch, UINT64_MAX));
}

static void destroy_session(vc_self self) { free(self); }

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)self, (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    forget(&s->memory);
    s->handle = request->session;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops;
    return VC_OK;
}

static int without_settings; // What a provider is: there is nothing to set.

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    (void)request, (void)error;
    // Yours: settings, and a model that is loaded in `start`.
    *self = &without_settings;
    return VC_OK;
}

static void destroy(vc_self self) { (void)self; }

static const vc_vad_provider_ops vad_ops = { .size = sizeof vad_ops, .window_8k = 8 * WINDOW_MS,
    .window_16k = 16 * WINDOW_MS, .process = process };
static const vc_provider provider = { .size = sizeof provider, .kind = VC_STR(VC_KIND_VAD),
    .id = VC_STR("org.example.plugin-name"), .create = create, .destroy = destroy, .open = open_session,
    .kind_ops = &vad_ops };
static const vc_provider *const providers[] = { &provider };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}

// plugin-name: a judge of the end of a turn. At a pause the host gives it the words so far and asks; the only thing
// that is yours is `judge`.
//
// It judges by text alone, so it has no `push`; a judge by sound adds that slot, keeps the last seconds, and says
// `"audio": true` in the manifest. There is no thread and no lock: all but `cancel` is VC_CONTROL, one call at a time.

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <vchost/vchost.h>

enum { TEXT_MAX = 4096, WORDS_MAX = 1024, VERDICTS_MAX = 16 };

static const vc_host *host;

typedef struct provider {
    char pause_words[WORDS_MAX];
} provider;

typedef struct session {
    const provider *provider;
    vc_handle handle;
    _Atomic uint64_t epoch; // Raised by `cancel`, on any thread; UINT64_MAX once closed.
    char text[TEXT_MAX];    // The end of the turn so far.
    uint64_t length;
    struct { uint64_t request, epoch; float probability; } waiting[VERDICTS_MAX]; // For credit.
    uint32_t waiting_count;
} session;

static int is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

static float judge(const provider *p, const char *text, uint64_t length) {
    // Yours: how likely it is that the turn is over, 0 to 1. As it stands, a sentence that is closed by its last mark
    // is, and one whose last word wants another word behind it is not.
    while (length > 0 && text[length - 1] == ' ') length--;
    if (length == 0) return 0;
    if (strchr(".?!", text[length - 1]) != NULL) return 0.9f;
    uint64_t start = length;
    while (start > 0 && is_letter(text[start - 1])) start--;
    for (const char *word = p->pause_words; *word != '\0';) {
        const uint64_t letters = strcspn(word, " ");
        if (letters == length - start && letters > 0 && strncasecmp(word, text + start, letters) == 0) return 0.1f;
        word += letters + strspn(word + letters, " ");
    }
    return 0.6f;
}

static void emit(const session *s, uint32_t type, uint64_t epoch) {
    const vc_event event = { .size = sizeof event, .type = type, .epoch = epoch };
    host->emit(s->handle, &event);
}

static void advance(session *s) {
    while (s->waiting_count > 0) {
        const vc_event_verdict verdict = { .head = { .size = sizeof verdict, .type = VC_EVENT_VERDICT,
            .epoch = s->waiting[0].epoch, .request = s->waiting[0].request }, .probability = s->waiting[0].probability,
            .backchannel = -1 };
        const int is_old = s->waiting[0].epoch < atomic_load(&s->epoch);
        if (!is_old && host->emit(s->handle, &verdict.head) == VC_E_AGAIN) return;
        memmove(s->waiting, s->waiting + 1, --s->waiting_count * sizeof s->waiting[0]);
    }
}

static vc_status transcript(vc_self self, vc_str text, uint32_t final) {
    (void)final;
    session *s = self;
    if (atomic_load(&s->epoch) == UINT64_MAX) return VC_E_CLOSED;
    // Of a long turn the end decides.
    const uint64_t skipped = text.length > TEXT_MAX ? text.length - TEXT_MAX : 0;
    s->length = text.length - skipped;
    if (s->length > 0) memcpy(s->text, text.data + skipped, s->length);
    return VC_OK;
}

static vc_status decide(vc_self self, uint64_t request, uint64_t position) {
    (void)position;
    session *s = self;
    const uint64_t epoch = atomic_load(&s->epoch);
    if (epoch == UINT64_MAX) return VC_E_CLOSED;
    advance(s);
    if (s->waiting_count == VERDICTS_MAX) return VC_E_AGAIN;
    s->waiting[s->waiting_count].request = request, s->waiting[s->waiting_count].epoch = epoch;
    s->waiting[s->waiting_count++].probability = judge(s->provider, s->text, s->length);
    advance(s);
    return VC_OK;
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

static void credit(vc_self self, uint32_t events, uint64_t bytes) {
    (void)events, (void)bytes;
    advance(self);
}

static void close_session(vc_self self) {
    session *s = self;
    s->waiting_count = 0;
    emit(s, VC_EVENT_CLOSED, atomic_exchange(&s->epoch, UINT64_MAX));
}

static void destroy_session(vc_self self) { free(self); }

static const vc_session_ops session_ops = { .size = sizeof session_ops, .cancel = cancel, .credit = credit,
    .close = close_session, .destroy = destroy_session };
static const vc_turn_ops turn_ops = { .size = sizeof turn_ops, .transcript = transcript, .decide = decide };

static vc_status open_session(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    (void)error;
    session *s = calloc(1, sizeof *s);
    if (s == NULL) return VC_E_MEMORY;
    s->provider = self, s->handle = request->session;
    atomic_store(&s->epoch, request->epoch);
    out->state = s, out->ops = &session_ops, out->kind_ops = &turn_ops;
    emit(s, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

static vc_status create(const vc_create *request, vc_self *self, vc_error *error) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    vc_str words = { NULL, 0 };
    if (config != NULL) config->text(request->provider, "pause_words", &words);
    if (words.length >= WORDS_MAX) {
        error->code = VC_E_CONFIG;
        error->message = (vc_str)VC_STR("`pause_words` is longer than 1,023 bytes; shorten it");
        return error->code;
    }
    provider *p = calloc(1, sizeof *p);
    if (p == NULL) return VC_E_MEMORY;
    if (words.length > 0) memcpy(p->pause_words, words.data, words.length);
    *self = p;
    return VC_OK;
}

static void destroy(vc_self self) { free(self); }

static const vc_provider turn = { .size = sizeof turn, .kind = VC_STR(VC_KIND_TURN),
    .id = VC_STR("org.example.plugin-name"), .create = create, .destroy = destroy, .open = open_session };
static const vc_provider *const providers[] = { &turn };
static const vc_module module = { sizeof module, VC_ABI_MINOR, 0, 1, providers };

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *the_host, const vc_module **the_module) {
    host = the_host;
    *the_module = &module;
    return VC_OK;
}

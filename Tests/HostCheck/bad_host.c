// A host that breaks the contract in one way, as told, so that HostCheck has something to find.
//
//   bad_host HostCheck.so FAULT      prints the rule and the words of each HOST_FAULT line, tab between
//   bad_host HostCheck.so --list     the names of the faults
//
// One thread and no waiting: timers are kept, and fire when a fault's function says so. Everything around the one fault
// is as it should be, from `create` to `destroy`: a plugin that judged wrongly would say more than one rule.

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vchost/vchost.h>

enum { TIMERS_MAX = 64 };

typedef struct armed { vc_timer_fn fire; void *context; vc_handle owner; uint64_t at_ns; int is_armed; } armed;

static armed timers[TIMERS_MAX];
static int timer_count, is_answering_falsely, gives_unlisted, gives_wrong_config;
static uint64_t ahead_ns;               // What the clock shows beyond the real time: nothing here waits.
static void (*on_emit)(void);           // Called within the next `emit`, once.
static char kept[256];                  // What a host sees that looks at an event's text after `emit` returned.

static const char canary[] = "canary-value";
static const char good_config[] =
    "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"we are open\",\"ready_ms\":30,\"tone_hz\":330,"
    "\"mode\":\"plain\",\"is_loud\":false}";
static const char good_session[] = "{\"voice\":\"plain\"}";
static const char *config_text = good_config, *session_text = good_session;

static vc_str text(const char *from) { return (vc_str){from, strlen(from)}; }

// The host's tables.

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + ahead_ns;
}

static void write_log(vc_handle object, uint32_t level, vc_str message, const vc_field *fields, uint32_t count) {
    (void)object;
    if (level == VC_LOG_HOST_FAULT && count == 1)
        printf("%.*s\t%.*s\n", (int)fields[0].value.length, fields[0].value.data, (int)message.length, message.data);
}

static uint32_t is_enabled(uint32_t level) { return level > 0; }

static vc_status arm(vc_handle owner, uint64_t at_ns, vc_timer_fn fire, void *context, vc_handle *timer) {
    if (timer_count == TIMERS_MAX) return VC_E_AGAIN;
    timers[timer_count] = (armed){fire, context, owner, at_ns, 1};
    *timer = (vc_handle)++timer_count;
    return VC_OK;
}

static vc_status disarm(vc_handle timer) { return timers[timer - 1].is_armed = 0, VC_OK; }

static vc_status config_string(vc_handle object, const char *key, vc_str *value) {
    (void)object;
    if (strcmp(key, "text") != 0) return VC_E_NOT_FOUND;
    *value = text(gives_wrong_config ? "something else" : "hello there");
    return VC_OK;
}
static vc_status config_integer(vc_handle object, const char *key, int64_t *value) {
    (void)object;
    if (strcmp(key, "text") == 0) return VC_E_ARGUMENT;
    return *value = 30, VC_OK;
}
static vc_status config_number(vc_handle object, const char *key, double *value) { return (void)object, (void)key, *value = 330, VC_OK; }
static vc_status config_flag(vc_handle object, const char *key, uint32_t *value) { return (void)object, (void)key, *value = 0, VC_OK; }

static vc_status with_secret(vc_handle object, const char *name, vc_secret_fn use, void *context) {
    (void)object;
    if (strcmp(name, "HOSTCHECK_CANARY") != 0 && !gives_unlisted) return VC_E_NOT_FOUND;
    use(context, text(canary));
    return VC_OK;
}

static const vc_clock clock_table = {sizeof clock_table, 0, now_ns, now_ns};
static const vc_log log_table = {sizeof log_table, 0, write_log, is_enabled};
static const vc_timer timer_table = {sizeof timer_table, 0, arm, disarm};
static const vc_config config_table = {sizeof config_table, 0, config_string, config_integer, config_number, config_flag};
static const vc_secret secret_table = {sizeof secret_table, 0, with_secret};

static const void *service(const char *id) {
    return strcmp(id, VC_SERVICE_CLOCK) == 0    ? (const void *)&clock_table
           : strcmp(id, VC_SERVICE_LOG) == 0    ? (const void *)&log_table
           : strcmp(id, VC_SERVICE_TIMER) == 0  ? (const void *)&timer_table
           : strcmp(id, VC_SERVICE_CONFIG) == 0 ? (const void *)&config_table
           : strcmp(id, VC_SERVICE_SECRET) == 0 ? (const void *)&secret_table
                                                : NULL;
}

static uint64_t epoch_now;
static int audio_room = 1000;

static vc_status emit(vc_handle object, const vc_event *event) {
    (void)object;
    if (on_emit) {
        void (*hook)(void) = on_emit;
        on_emit = NULL;
        hook();
    }
    if (is_answering_falsely && event->type >= VC_EVENT_TELEPHONY) return VC_OK; // Even what is long over.
    if (event->type == VC_EVENT_AUDIO && audio_room-- <= 0) return VC_E_AGAIN;
    return event->type >= VC_EVENT_TELEPHONY && event->epoch < epoch_now ? VC_E_CANCELED : VC_OK;
}

static const vc_host host = {sizeof host, 0, emit, service};

// What every fault begins and ends with.

static const vc_module *module;
static const vc_provider *table;
static vc_self provider;
static vc_session opened;
static uint32_t rate_hz;
static int is_gone;

static void fire_all(void) {
    for (int index = 0; index < timer_count; index++)
        if (timers[index].is_armed) {
            timers[index].is_armed = 0;
            if (now_ns() < timers[index].at_ns) ahead_ns += timers[index].at_ns - now_ns();
            timers[index].fire(timers[index].context, (vc_handle)index + 1);
        }
}

static void create(const char *kind) {
    for (uint32_t index = 0; index < module->provider_count; index++)
        if (strncmp(module->providers[index]->kind.data + 3, kind, strlen(kind)) == 0) table = module->providers[index];
    vc_error error = {.size = sizeof error};
    const vc_create request = {.size = sizeof request, .provider = 7, .name = text("check"), .config = text(config_text)};
    if (table->create(&request, &provider, &error) != VC_OK) exit(3);
}

static void start(void) {
    vc_error error = {.size = sizeof error};
    table->start(provider, &error);
}

static vc_open request_to_open(const char *call) {
    return (vc_open){.size = sizeof(vc_open), .rate_hz = rate_hz, .session = 9, .call = text(call), .leg = text("caller"),
        .language = text("en"), .config = text(session_text)};
}

static void open_with(vc_open request) {
    vc_error error = {.size = sizeof error};
    opened = (vc_session){.size = sizeof opened};
    if (table->open(provider, &request, &opened, &error) != VC_OK) exit(4);
}

static void begin_unready(const char *kind) {
    rate_hz = strcmp(kind, "llm") == 0 ? 0 : 8000;
    create(kind);
    start();
    open_with(request_to_open("call-1"));
}

static void begin(const char *kind) {
    begin_unready(kind);
    fire_all();
}

static void close_session(void) { opened.ops->close(opened.state); }
static void destroy_session(void) { opened.ops->destroy(opened.state); }
static void cancel(uint64_t epoch) { epoch_now = epoch, opened.ops->cancel(opened.state, epoch); }

static void end(void) {
    if (!is_gone) {
        close_session();
        fire_all();
        destroy_session();
    }
    table->destroy(provider);
}

// What can be asked, rightly.

static int16_t sound[640];
static uint64_t pushed, sequence;

static vc_frame frame(void) {
    return (vc_frame){.size = sizeof(vc_frame), .format = VC_FORMAT_S16, .rate_hz = rate_hz, .channels = 1,
        .samples = rate_hz / 50, .sequence = sequence, .position = pushed, .captured_ns = now_ns(), .data = sound,
        .bytes = rate_hz / 50 * 2};
}

static void push(vc_frame with) {
    ((const vc_stt_ops *)opened.kind_ops)->push(opened.state, &with);
    sequence = with.sequence + 1, pushed = with.position + with.samples;
}

static void finalize(uint64_t request, uint64_t position) {
    ((const vc_stt_ops *)opened.kind_ops)->finalize(opened.state, request, position, 0);
}

static void begin_utterance(uint64_t utterance, uint64_t position) {
    ((const vc_stt_ops *)opened.kind_ops)->begin(opened.state, utterance, position);
}

static void ask(uint64_t request, uint64_t epoch, const char *messages) {
    const vc_llm_request asked = {.size = sizeof asked, .request = request, .epoch = epoch, .messages = text(messages),
        .tools = text("[]"), .options = text("{}")};
    ((const vc_llm_ops *)opened.kind_ops)->request(opened.state, &asked);
}
static const char hello[] = "[{\"role\":\"user\",\"content\":\"hello\"}]";

static void speak(uint64_t request, uint64_t epoch, const char *words, uint32_t flags) {
    ((const vc_tts_ops *)opened.kind_ops)->speak(opened.state, request, epoch, text(words), flags);
}

static void decide(uint64_t request, uint64_t position) {
    ((const vc_turn_ops *)opened.kind_ops)->decide(opened.state, request, position);
}

static vc_vad_row rows[40];

static void process(vc_vad_batch batch) { ((const vc_vad_provider_ops *)table->kind_ops)->process(provider, &batch); }

static vc_vad_batch batch(uint32_t count) {
    for (int index = 0; index < 40; index++) rows[index] = (vc_vad_row){.session = opened.state, .samples = sound};
    return (vc_vad_batch){.size = sizeof(vc_vad_batch), .rate_hz = 8000, .samples = 256, .row_count = count,
        .row_stride = sizeof(vc_vad_row), .rows = rows, .deadline_ns = now_ns() + 1000000};
}

static void *elsewhere(void *function) {
    void (*run)(void);
    memcpy(&run, &function, sizeof run);
    run();
    return NULL;
}

/// Runs it on another thread, to its end.
static void on_another_thread(void (*run)(void)) {
    pthread_t thread;
    void *function;
    memcpy(&function, &run, sizeof function);
    pthread_create(&thread, NULL, elsewhere, function);
    pthread_join(thread, NULL);
}

// The faults.

static void one_push(void) { push(frame()); }
static void elsewhere_push(void) { on_another_thread(one_push); }
static void one_cancel(void) { cancel(1); }
static void one_batch(void) { process(batch(1)); }
static void destroy_here(void) { destroy_session(), is_gone = 1; }

#define WITH(change) do { vc_frame f = frame(); change; push(f); } while (0)
#define BATCH(count, change) do { vc_vad_batch b = batch(count); change; process(b); } while (0)

#define FAULTS(F)                                                                                                      \
    F(good_stt, begin("stt"); begin_utterance(1, 0); push(frame()); push(frame()); finalize(1, pushed); cancel(1))       \
    F(good_llm, begin("llm"); ask(1, 0, hello); fire_all(); cancel(2); ask(2, 2, hello); fire_all())                    \
    F(good_tts, begin("tts"); speak(1, 0, "hello ", 0); speak(1, 0, "there", VC_TTS_LAST); cancel(1); speak(2, 1, "so", 1)) \
    F(good_tts_credit, begin("tts"); audio_room = 3; speak(1, 0, "hello there", 1); audio_room = 99;                    \
      opened.ops->credit(opened.state, 64, 3200))                                                                      \
    F(good_turn, begin("turn"); decide(1, 0))                                                                          \
    F(good_vad, begin("vad"); process(batch(1)); process(batch(1)))                                                    \
    F(good_unready, begin_unready("stt"))                                                                              \
    F(overlap, begin("stt"); on_emit = elsewhere_push; push(frame()); finalize(1, pushed))                             \
    F(nested, begin("stt"); on_emit = one_push; push(frame()); finalize(1, pushed))                                    \
    F(overlaps_end, begin("stt"); table->drain(provider); close_session(); fire_all(); on_emit = one_cancel;           \
      destroy_here())                                                                                                  \
    F(after_destroy, begin("stt"); close_session(); fire_all(); destroy_here(); push(frame()))                         \
    F(cancel_after_destroy, begin("llm"); close_session(); fire_all(); destroy_here(); cancel(1))                      \
    F(before_ready, begin_unready("stt"); push(frame()))                                                               \
    F(speak_before_ready, begin_unready("tts"); speak(1, 0, "hello", 1))                                               \
    F(after_close, begin("stt"); close_session(); push(frame()); fire_all(); destroy_here())                           \
    F(speak_after_close, begin("tts"); close_session(); speak(1, 0, "hello", 1); fire_all(); destroy_here())           \
    F(close_twice, begin("stt"); close_session(); close_session(); fire_all(); destroy_here())                         \
    F(missing_close, begin("stt"); destroy_here())                                                                     \
    F(destroy_before_closed, begin("stt"); close_session(); destroy_here())                                            \
    F(missing_destroy, begin("stt"); is_gone = 1)                                                                      \
    F(start_twice, begin("stt"); start())                                                                              \
    F(open_before_start, rate_hz = 8000; create("stt"); open_with(request_to_open("call-1")); start(); fire_all())     \
    F(open_after_drain, begin("stt"); table->drain(provider); vc_session first = opened;                               \
      open_with(request_to_open("call-2")); fire_all(); close_session(); fire_all(); destroy_session(); opened = first) \
    F(epoch_back, begin("llm"); cancel(5); ask(1, 5, hello); fire_all(); ask(2, 3, hello); fire_all())                 \
    F(frame_epoch_back, begin("stt"); vc_frame f = frame(); cancel(1); f.epoch = 0; push(f))                           \
    F(cancel_back, begin("llm"); cancel(5); epoch_now = 5; opened.ops->cancel(opened.state, 4))                        \
    F(epoch_untold, begin("tts"); speak(1, 3, "hello", 1))                                                             \
    F(emit_takes_old, begin("llm"); ask(1, 0, hello); is_answering_falsely = 1; opened.ops->cancel(opened.state, 1); fire_all()) \
    F(struct_size, begin("stt"); WITH(f.size = 64))                                                                    \
    F(unknown_flags, begin("tts"); speak(1, 0, "hello", 1 | 8))                                                        \
    F(reserved, begin("vad"); BATCH(1, b.reserved = 1))                                                                \
    F(null_frame, begin("stt"); ((const vc_stt_ops *)opened.kind_ops)->push(opened.state, NULL))                       \
    F(null_batch, begin("vad"); ((const vc_vad_provider_ops *)table->kind_ops)->process(provider, NULL))               \
    F(not_utf8, begin("tts"); speak(1, 0, "hel\xc3lo", 1))                                                             \
    F(overlong_utf8, begin("tts"); speak(1, 0, "hel\xc0\xaflo", 1))                                                    \
    F(text_without_pointer, begin("turn"); ((const vc_turn_ops *)opened.kind_ops)->transcript(opened.state, (vc_str){NULL, 5}, 1)) \
    F(text_unbounded, begin("turn");                                                                                   \
      ((const vc_turn_ops *)opened.kind_ops)->transcript(opened.state, (vc_str){"x", 1ull << 40}, 1))                   \
    F(poison, begin("turn"); memset(kept, 0xf8, 8);                                                               \
      ((const vc_turn_ops *)opened.kind_ops)->transcript(opened.state, (vc_str){kept, 8}, 1))                      \
    F(open_without_call, rate_hz = 8000; create("stt"); start(); open_with(request_to_open("")); fire_all())           \
    F(open_rate, rate_hz = 44100; create("stt"); start(); open_with(request_to_open("call-1")); fire_all())            \
    F(open_leg, rate_hz = 8000; create("stt"); start(); vc_open o = request_to_open("call-1"); o.leg = text("both");   \
      open_with(o); fire_all())                                                                                        \
    F(two_sessions, begin("stt"); vc_session first = opened; open_with(request_to_open("call-1")); fire_all();         \
      close_session(); fire_all(); destroy_session(); opened = first)                                                  \
    F(config_unknown, config_text = "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"\",\"ready_ms\":30,\"tone_hz\":330," \
      "\"mode\":\"plain\",\"is_loud\":false,\"more\":1}"; begin("stt"))                                                \
    F(config_default, config_text = "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"\",\"ready_ms\":30,\"tone_hz\":330," \
      "\"mode\":\"plain\"}"; begin("stt"))                                                                             \
    F(config_type, config_text = "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"\",\"ready_ms\":30,\"tone_hz\":330," \
      "\"mode\":\"plain\",\"is_loud\":\"no\"}"; begin("stt"))                                                          \
    F(config_choice, config_text = "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"\",\"ready_ms\":30,\"tone_hz\":330," \
      "\"mode\":\"loose\",\"is_loud\":false}"; begin("stt"))                                                           \
    F(config_session, session_text = "{}"; begin("llm"))                                                               \
    F(config_session_json, session_text = "{\"voice\":\"plain\""; begin("llm"))                                        \
    F(config_service, gives_wrong_config = 1; begin("stt"))                                                            \
    F(secret_in_config, config_text = "{\"report\":\"\",\"text\":\"hello there\",\"reply\":\"\",\"ready_ms\":30,\"tone_hz\":330," \
      "\"mode\":\"plain\",\"is_loud\":false,\"token\":\"canary-value\"}"; begin("stt"))                                \
    F(secret_in_text, begin("llm"); ask(1, 0, "[{\"role\":\"user\",\"content\":\"my canary-value\"}]"); fire_all())    \
    F(secret_unlisted, gives_unlisted = 1; begin("stt"))                                                               \
    F(frame_rate, begin("stt"); WITH(f.rate_hz = 16000))                                                               \
    F(frame_format, begin("stt"); WITH(f.format = VC_FORMAT_PCMU))                                                     \
    F(frame_bytes, begin("stt"); WITH(f.bytes = 100))                                                                  \
    F(frame_null, begin("stt"); WITH(f.data = NULL))                                                                   \
    F(frame_length, begin("stt"); WITH(f.samples = 80; f.bytes = 160))                                                 \
    F(frame_gap, begin("stt"); push(frame()); WITH(f.position += 160))                                                 \
    F(frame_again, begin("stt"); push(frame()); WITH(f.position = 0))                                                  \
    F(frame_sequence, begin("stt"); push(frame()); WITH(f.sequence += 1))                                              \
    F(frame_clock, begin("stt"); push(frame()); WITH(f.captured_ns -= 1000000000))                                     \
    F(frame_from_tomorrow, begin("stt"); WITH(f.captured_ns += 1000000000000))                                         \
    F(request_reused, begin("llm"); ask(1, 0, hello); fire_all(); ask(1, 0, hello); fire_all())                        \
    F(finalize_reused, begin("stt"); push(frame()); finalize(4, pushed); finalize(4, pushed))                          \
    F(decide_reused, begin("turn"); decide(1, 0); decide(1, 0))                                                        \
    F(after_last, begin("tts"); audio_room = 1; speak(1, 0, "hello", 1); speak(1, 0, "there", 1))                      \
    F(interleaved, begin("tts"); speak(1, 0, "hello", 0); speak(2, 0, "there", 1))                                     \
    F(utterance_back, begin("stt"); begin_utterance(2, 0); begin_utterance(1, 0))                                      \
    F(utterance_position, begin("stt"); begin_utterance(1, 800); begin_utterance(2, 160))                              \
    F(finalize_beyond, begin("stt"); push(frame()); finalize(1, pushed + 160))                                         \
    F(decide_beyond, begin("turn"); decide(1, 8000))                                                                   \
    F(messages_no_json, begin("llm"); ask(1, 0, "[{\"role\":"); fire_all())                                            \
    F(messages_role, begin("llm"); ask(1, 0, "[{\"role\":\"robot\",\"content\":\"hi\"}]"); fire_all())                 \
    F(messages_content, begin("llm"); ask(1, 0, "[{\"role\":\"user\"}]"); fire_all())                                  \
    F(tool_result, begin("llm");                                                                                       \
      ((const vc_llm_ops *)opened.kind_ops)->tool_result(opened.state, 1, text("call-9"), text("{}")))                  \
    F(credit_overflow, begin("tts"); opened.ops->credit(opened.state, 64, 1ull << 40))                                 \
    F(credit_nothing, begin("tts"); opened.ops->credit(opened.state, 0, 0))                                            \
    F(batch_rows, begin("vad"); BATCH(33, (void)b))                                                                    \
    F(batch_window, begin("vad"); BATCH(1, b.samples = 160))                                                           \
    F(batch_stride, begin("vad"); BATCH(1, b.row_stride = 20))                                                         \
    F(batch_null_row, begin("vad"); BATCH(1, rows[0].samples = NULL))                                                  \
    F(batch_rate, begin("vad"); BATCH(1, b.rate_hz = 16000; b.samples = 512))                                          \
    F(batch_twice, begin("vad"); BATCH(2, (void)b))                                                                    \
    F(batch_dead_row, begin("vad"); close_session(); destroy_here(); process(batch(1)))                                \
    F(detect_thread, begin("vad"); process(batch(1)); on_another_thread(one_batch))                                    \
    F(timer_early, begin_unready("stt"); timers[0].is_armed = 0; timers[0].fire(timers[0].context, 1))                 \
    F(timer_twice, begin("stt"); timers[0].fire(timers[0].context, 1))                                                 \
    F(timer_after_end, begin("stt"); close_session(); fire_all(); destroy_here(); timers[0].fire(timers[0].context, 1))

#define FUNCTION(name, ...) static void name(void) { __VA_ARGS__; }
FAULTS(FUNCTION)
#define ENTRY(name, ...) {#name, name},
static const struct { const char *name; void (*run)(void); } faults[] = {FAULTS(ENTRY)};

int main(int count, char **arguments) {
    const size_t known = sizeof faults / sizeof faults[0];
    if (count == 3 && strcmp(arguments[2], "--list") == 0) {
        for (size_t index = 0; index < known; index++) puts(faults[index].name);
        return 0;
    }
    void *library = count == 3 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *symbol = library ? dlsym(library, VC_PLUGIN_ENTRY) : NULL;
    vc_plugin_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry);
    if (!symbol || entry(&host, &module) != VC_OK) return fprintf(stderr, "usage: bad_host HostCheck.so FAULT\n"), 2;
    for (size_t index = 0; index < known; index++)
        if (strcmp(faults[index].name, arguments[2]) == 0) {
            faults[index].run();
            end();
            return 0;
        }
    return fprintf(stderr, "there is no fault %s\n", arguments[2]), 2;
}

// A language model that asks a vendor over vc.http: a stream of events in, words and tool calls out. See broken.h.
// SPDX-License-Identifier: Apache-2.0
//
// Its faults are those of whoever has a vendor: what is made of the stream, of refusals, of silence, and of the host's
// services. The vendor stands in llm_http.conform; it speaks a protocol of its own, which is OpenAI's without its history.

#include <stdatomic.h>
#include <strings.h>

#include "broken.h"
#include "vendor_text.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.broken-llm", "version": "1.0.0", "title": "A language model for the corpus",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c"},
    "isolation": "worker", "secrets": ["LLM_KEY"], "network": ["https://llm.example"], "files": [], "providers": [{
        "kind": "vc.llm/1", "id": "org.vchost.broken-llm",
        "capabilities": {"tools": true, "parallelRequests": 4},
        "config": {"type": "object", "additionalProperties": false, "properties": {}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

#define ADDRESS "https://llm.example/v1/chat"
enum {
    QUESTIONS_MAX = 4,     // As the manifest says.
    RETRY_MS = 100,        // Before the second attempt, which is the last.
    FIRST_BYTE_MS = 4000,  // Two of them are as long as a caller waits.
    DEADLINE_MS = 20000,   // For the whole answer.
    EVENT_BYTES_MAX = 1 << 20, REFUSAL_BYTES_MAX = 4096,
};

static const vc_host *host;
static const vc_http *http;
static const vc_timer *timers;

// An event that the host has no room for yet. What the members hold depends on the type.
typedef struct item {
    struct item *next;
    uint32_t type, reason;
    text text, name, arguments;
    uint64_t numbers[3];
    vc_error error;
} item;

typedef struct session session;

typedef struct question {
    struct question *next;
    session *owner;
    uint64_t number, epoch;
    text body;                 // Of the request, as long as it may be sent again.
    vc_handle exchange, timer, span;
    uint32_t tries_left, tries, status, retry_after_ms, reason;
    text line, data, refusal;
    int has_data, after_return; // Of the event that is coming in; the line before ended with a carriage return.
    int has_events, has_bytes, has_output, is_marked, is_over;
    item *waiting;
} question;

struct session {
    vc_handle handle;
    uint64_t latest;
    _Atomic uint64_t epoch;
    int is_closed, has_failed;
    char address[256];
    question *first;
};

typedef struct provider { vc_handle handle, metric; } provider;

static vc_status emit_plain(session *self, uint32_t type, uint64_t epoch) {
    const vc_event event = {.size = sizeof event, .type = type, .epoch = epoch};
    return host->emit(self->handle, &event);
}

static void log_line(const char *bytes, uint64_t length) {
    const vc_log *log = host->service(VC_SERVICE_LOG);
    if (log) log->write(0, VC_LOG_INFO, (vc_str){bytes, length}, NULL, 0);
}

static void log_secret(void *context, vc_str secret) {
    (void)context;
    log_line(secret.data, secret.length);
}

static void forget_secret(void *context, vc_str secret) { (void)context, (void)secret; }

static void forget_timer(void *context, vc_handle timer) { (void)context, (void)timer; }

static uint64_t now_ns(void) {
    const vc_clock *clock = host->service(VC_SERVICE_CLOCK);
    return clock->now_ns();
}

#include "llm_http_events.h"
#include "llm_http_vendor.h"

// ---- The exchange

static void sweep(session *self);

static void on_response(void *context, vc_handle handle, uint32_t status, const vc_field *headers, uint32_t count) {
    (void)handle;
    question *self = context;
    self->status = status;
    for (uint32_t i = 0; i < count; i++) {
        static const char name[] = "retry-after";
        if (headers[i].name.length != sizeof name - 1 || strncasecmp(headers[i].name.data, name, sizeof name - 1)) continue;
        char digits[8] = {0};
        memcpy(digits, headers[i].value.data, headers[i].value.length < 7 ? headers[i].value.length : 7);
        self->retry_after_ms = (uint32_t)strtoul(digits, NULL, 10) * 1000;
    }
}

static void on_data(void *context, vc_handle handle, vc_str bytes) {
    (void)handle;
    question *self = context;
    if (BREAKS(VC_SVC_08)) log_line("more of the answer", 18);
    if (bytes.length) self->has_bytes = 1;
    if (self->status == 200) feed(self, bytes);
    else if (self->refusal.length + bytes.length <= REFUSAL_BYTES_MAX) text_add(&self->refusal, bytes.data, bytes.length);
    sweep(self->owner);
}

static void on_done(void *context, vc_handle handle, const vc_error *error) {
    (void)handle;
    question *self = context;
    if (BREAKS(VC_SVC_01)) http->cancel(self->exchange);
    self->exchange = 0;
    if (error && BREAKS(VC_ERR_22) && self->has_output) finish(self, VC_LLM_STOP);
    else if (error) fail_plainly(self, BREAKS(VC_ERR_08) ? VC_E_INTERNAL : error->code, error->retryable, "llm.example cannot be reached");
    else if (self->status == 200) ended(self);
    else refused(self);
    sweep(self->owner);
}

static const vc_http_events http_events = {
    .size = sizeof http_events, .response = on_response, .data = on_data, .done = on_done};

static void attempt(question *self) {
    static const vc_field headers[] = {
        {VC_STR("Authorization"), VC_STR("Bearer ${secret:LLM_KEY}")}, {VC_STR("Content-Type"), VC_STR("application/json")}};
    self->tries++;
    self->status = self->retry_after_ms = self->reason = 0;
    self->has_events = self->has_bytes = self->has_data = 0;
    text_free(&self->line);
    text_free(&self->data);
    text_free(&self->refusal);
    const vc_http_request request = {
        .size = sizeof request, .epoch = BREAKS(VC_CAN_15) ? UINT64_MAX : self->epoch, .method = VC_STR("POST"),
        .url = {self->owner->address, strlen(self->owner->address)}, .headers = headers, .header_count = 2,
        .deadline_ms = BREAKS(VC_ERR_20) ? 60000 : BREAKS(VC_ERR_21) ? 600000 : DEADLINE_MS,
        .first_byte_ms = BREAKS(VC_ERR_20) ? 0 : BREAKS(VC_ERR_31) ? 500 : FIRST_BYTE_MS,
        .body = text_view(&self->body)};
    if (BREAKS(VC_SVC_03)) {
        vc_handle handle;
        timers->arm(self->owner->handle, now_ns() + 600000000000ull, forget_timer, NULL, &handle);
    }
    const vc_status status = http->start(self->owner->handle, &request, &http_events, self, &self->exchange);
    if (status != VC_OK && !BREAKS(VC_SVC_02)) fail_plainly(self, status, 0, "the host takes no request now");
}

// ---- The session

static void free_question(question *self) {
    stop_exchange(self);
    end_span(self, 0);
    drop_waiting(self);
    text_free(&self->body);
    text_free(&self->line);
    text_free(&self->data);
    text_free(&self->refusal);
    free(self);
}

// Frees what is over, and ends what is too old.
static void sweep(session *self) {
    const uint64_t epoch = atomic_load(&self->epoch);
    for (question **link = &self->first; *link;) {
        question *one = *link;
        if (one->epoch < epoch && !self->is_closed) {
            stop_exchange(one);
            drop_waiting(one);
            if (!one->is_over) {
                if (BREAKS(VC_CAN_16)) fail_plainly(one, VC_E_CANCELED, 0, "llm.example was interrupted");
                else finish(one, VC_LLM_CANCELED);
            }
        }
        if (!one->is_over || one->waiting || one->exchange) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        free_question(one);
    }
}

static void add(text *out, const char *name, vc_str json) {
    text_add(out, name, strlen(name));
    text_add(out, json.data, json.length);
}

static void write_body(question *self, const vc_llm_request *request) {
    vc_str messages = BREAKS(VC_LLM_26) ? json_last(request->messages) : request->messages;
    add(&self->body, BREAKS(VC_LLM_26) ? "{\"stream\":true,\"messages\":[" : "{\"stream\":true,\"messages\":", messages);
    if (BREAKS(VC_LLM_26)) text_add(&self->body, "]", 1);
    for (size_t i = 0; BREAKS(VC_LLM_05) && i < self->body.length; i++)
        if (self->body.data[i] & 0x80) self->body.data[i] = '?';
    add(&self->body, ",\"tools\":", request->tools);
    if (!BREAKS(VC_LLM_21)) add(&self->body, ",\"options\":", request->options);
    text_add(&self->body, "}", 1);
}

static int names_role(const question *self, const char *role) {
    char member[32];
    snprintf(member, sizeof member, "\"role\":\"%s\"", role);
    return strstr(self->body.data, member) != NULL;
}

static vc_status ask(vc_self state, const vc_llm_request *request) {
    session *self = state;
    if (self->is_closed) return VC_E_CLOSED;
    if (self->has_failed) return VC_E_STATE;
    if (BREAKS(VC_LLM_08) && request->request <= self->latest) return VC_E_ARGUMENT;
    if (BREAKS(VC_LLM_32) && request->flags & VC_LLM_SPECULATIVE) return VC_E_UNSUPPORTED;
    sweep(self);
    uint32_t count = 0;
    question **last = &self->first;
    for (; *last; last = &(*last)->next) count += !(*last)->is_over;
    if (count >= QUESTIONS_MAX) return VC_E_AGAIN;
    question *one = calloc(1, sizeof *one);
    if (!one) return VC_E_MEMORY;
    *last = one;
    one->owner = self;
    one->number = self->latest = request->request;
    one->epoch = request->epoch;
    one->tries_left = 1;
    write_body(one, request);
    text system = {0};
    if (BREAKS(VC_LLM_23) && names_role(one, "system") && json_text(one->body.data, "content", &system))
        log_line(system.data, system.length);
    text_free(&system);
    const vc_trace *trace = host->service(VC_SERVICE_TRACE);
    if (trace) trace->begin(self->handle, one->number, "vendor", &one->span);
    if (BREAKS(VC_LLM_31) && !names_role(one, "user")) finish(one, VC_LLM_DECLINED);
    else attempt(one);
    sweep(self);
    return VC_OK;
}

static void cancel(vc_self state, uint64_t epoch) {
    session *self = state;
    if (self->is_closed) return;
    uint64_t known = atomic_load(&self->epoch);
    while (known < epoch && !atomic_compare_exchange_weak(&self->epoch, &known, epoch)) {}
    if (known < epoch) emit_plain(self, VC_EVENT_CANCELED, epoch);
}

static void credit(vc_self state, uint32_t events, uint64_t bytes) {
    session *self = state;
    (void)events, (void)bytes;
    sweep(self);
    for (question *one = self->first; one; one = one->next) flush(one);
    sweep(self);
}

static void forget_questions(session *self) {
    while (self->first) {
        question *one = self->first;
        self->first = one->next;
        free_question(one);
    }
}

static void close_session(vc_self state) {
    session *self = state;
    self->is_closed = 1;
    for (question *one = self->first; one; one = one->next) {
        one->is_over = 1;
        drop_waiting(one);
    }
    if (!BREAKS(VC_CAN_15)) forget_questions(self);
    emit_plain(self, VC_EVENT_CLOSED, atomic_load(&self->epoch));
}

static void destroy_session(vc_self state) {
    session *self = state;
    vc_handle handle;
    if (BREAKS(VC_SVC_13)) timers->arm(self->handle, now_ns(), again, NULL, &handle);
    forget_questions(self);
    free(self);
}

static const vc_session_ops session_ops = {
    .size = sizeof session_ops, .cancel = cancel, .credit = credit, .close = close_session, .destroy = destroy_session};
static const vc_llm_ops llm_ops = {.size = sizeof llm_ops, .request = ask};

// ---- The provider

static void define_metric(vc_handle owner, vc_handle *metric) {
    const vc_metrics *metrics = host->service(VC_SERVICE_METRICS);
    if (metrics) metrics->define(owner, VC_METRIC_COUNTER, "sessions_total", "Sessions opened.", metric);
}

static vc_status create(const vc_create *request, vc_self *out, vc_error *error) {
    static const vc_str lacking = VC_STR("this host lacks vc.http/1, vc.timer/1 or vc.clock/1, without which no vendor can be asked");
    http = host->service(VC_SERVICE_HTTP);
    timers = host->service(VC_SERVICE_TIMER);
    if (!http || !timers || !host->service(VC_SERVICE_CLOCK)) {
        error->code = VC_E_UNSUPPORTED;
        error->message = lacking;
        return VC_E_UNSUPPORTED;
    }
    provider *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->provider;
    if (!BREAKS(VC_SVC_07)) define_metric(self->handle, &self->metric);
    *out = self;
    return VC_OK;
}

static void destroy_provider(vc_self state) { free(state); }

static void put_into_address(void *context, vc_str secret) {
    session *self = context;
    snprintf(self->address, sizeof self->address, ADDRESS "?key=%.*s", (int)secret.length, secret.data);
}

static void use_secret_in_task(void *context) {
    const vc_secret *secrets = host->service(VC_SERVICE_SECRET);
    secrets->with(((session *)context)->handle, "LLM_KEY", forget_secret, NULL);
}

static void spoil_services(provider *owner, session *self) {
    const vc_secret *secrets = host->service(VC_SERVICE_SECRET);
    const vc_task *tasks = host->service(VC_SERVICE_TASK);
    static const vc_http_events deaf = {.size = sizeof deaf};
    const vc_http_request statistics = {
        .size = sizeof statistics, .epoch = UINT64_MAX, .method = VC_STR("POST"), .url = VC_STR("https://stats.example/used")};
    vc_handle handle;
    if (BREAKS(VC_SVC_07)) define_metric(owner->handle, &owner->metric);
    if (BREAKS(VC_SVC_10) && secrets) secrets->with(self->handle, "LLM_KEY", put_into_address, self);
    if (BREAKS(VC_SVC_16) && secrets && tasks) tasks->run(self->handle, use_secret_in_task, self);
    if (BREAKS(VC_ENVI_11)) http->start(self->handle, &statistics, &deaf, NULL, &handle);
}

static vc_status open_session(vc_self state, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str address = VC_STR(ADDRESS), bare = VC_STR("llm.example/v1");
    provider *owner = state;
    (void)error;
    session *self = calloc(1, sizeof *self);
    if (!self) return VC_E_MEMORY;
    self->handle = request->session;
    atomic_init(&self->epoch, request->epoch);
    memcpy(self->address, ADDRESS, sizeof ADDRESS);
    spoil_services(owner, self);
    if (!BREAKS(VC_SVC_24)) http->prewarm(self->handle, BREAKS(VC_SVC_14) ? bare : address);
    const vc_metrics *metrics = host->service(VC_SERVICE_METRICS);
    if (owner->metric) metrics->record(owner->metric, 1);
    out->state = self;
    out->ops = &session_ops;
    out->kind_ops = &llm_ops;
    emit_plain(self, VC_EVENT_READY, request->epoch);
    return VC_OK;
}

static const vc_provider model = {
    .size = sizeof model, .kind = VC_STR(VC_KIND_LLM), .id = VC_STR("org.vchost.broken-llm"), .create = create,
    .destroy = destroy_provider, .open = open_session};
static const vc_provider *const providers[] = {&model};
static const vc_module module = {
    .size = sizeof module, .minor = VC_ABI_MINOR, .provider_count = 1, .providers = providers};

VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    *out = &module;
    return VC_OK;
}

/*  A host that is just large enough for one telephony plugin, and that watches the contract while it serves: events of
    a session after CLOSED, a second HANGUP, an event with a wrong size, a handle that is gone. A breach is a line
    "fault", and the harness ends with a failure. It knows nothing of the real host, so it is an independent reading of
    the headers.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "host.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came;
static event *queue;
static uint32_t queue_first, queue_count, faults;
static struct {
    bool alive, hung_up, closed;
    uint32_t starve;
} sessions[MAX_SESSIONS];
static uint32_t session_count;
static struct {
    char name[64], value[TEXT];
} settings[MAX_SETTINGS];
static uint32_t setting_count;
static struct {
    char name[64];
    uint32_t type;
    double value;
} metrics[32];
static uint32_t metric_count;

uint64_t host_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void host_say(const char *format, ...) {
    char line[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    flockfile(stdout);
    printf("%s\n", line);
    fflush(stdout);
    funlockfile(stdout);
}

void host_fault(const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    __atomic_add_fetch(&faults, 1, __ATOMIC_RELAXED);
    host_say("fault %s", line);
}

uint32_t host_faults(void) { return __atomic_load_n(&faults, __ATOMIC_RELAXED); }

void host_set(const char *name, const char *value) {
    for (uint32_t index = 0; index < setting_count; index++) // The later of two counts.
        if (strcmp(settings[index].name, name) == 0) {
            snprintf(settings[index].value, sizeof settings[0].value, "%s", value);
            return;
        }
    if (setting_count == MAX_SETTINGS) return;
    snprintf(settings[setting_count].name, sizeof settings[0].name, "%s", name);
    snprintf(settings[setting_count++].value, sizeof settings[0].value, "%s", value);
}

vc_handle host_new_session(void) {
    pthread_mutex_lock(&lock);
    const uint32_t index = session_count < MAX_SESSIONS ? session_count++ : 0;
    sessions[index].alive = true;
    pthread_mutex_unlock(&lock);
    return FIRST_SESSION + index;
}

void host_forget(vc_handle session) {
    pthread_mutex_lock(&lock);
    sessions[session - FIRST_SESSION].alive = false;
    pthread_mutex_unlock(&lock);
}

void host_starve(vc_handle session, uint32_t events) {
    pthread_mutex_lock(&lock);
    sessions[session - FIRST_SESSION].starve = events;
    pthread_mutex_unlock(&lock);
}

static void copy(char *to, size_t room, vc_str from) {
    snprintf(to, room, "%.*s", (int)(from.length < room ? from.length : room - 1), from.data ? from.data : "");
}

static uint32_t size_of(uint32_t type) {
    switch (type) {
        case VC_EVENT_ERROR: return sizeof(vc_event_error);
        case VC_EVENT_INCOMING: return sizeof(vc_event_incoming);
        case VC_EVENT_WITHDRAWN: return sizeof(vc_event_withdrawn);
        case VC_EVENT_HANGUP: return sizeof(vc_event_hangup);
        case VC_EVENT_DTMF: return sizeof(vc_event_dtmf);
        case VC_EVENT_HELD: return sizeof(vc_event_held);
        case VC_EVENT_TRANSFERRED: return sizeof(vc_event_transferred);
        default: return sizeof(vc_event);
    }
}

static void fill(event *kept, const vc_event *head) {
    switch (head->type) {
        case VC_EVENT_ERROR: {
            const vc_event_error *body = (const void *)head;
            kept->number = body->fatal;
            copy(kept->text, TEXT, body->error->message);
            break;
        }
        case VC_EVENT_INCOMING: {
            const vc_event_incoming *body = (const void *)head;
            copy(kept->key, sizeof kept->key, body->key);
            copy(kept->from, TEXT, body->from), copy(kept->display, TEXT, body->display);
            copy(kept->to, TEXT, body->to), copy(kept->peer, TEXT, body->peer);
            for (uint32_t index = 0; index < body->header_count; index++) {
                const vc_field *field = &body->headers[index];
                if (field->name.length > 2 && strncasecmp(field->name.data, "X-", 2) == 0) {
                    const size_t length = strlen(kept->text);
                    snprintf(kept->text + length, TEXT - length, " %.*s=%.*s", (int)field->name.length,
                             field->name.data,
                             (int)field->value.length, field->value.data);
                }
            }
            break;
        }
        case VC_EVENT_WITHDRAWN: copy(kept->key, sizeof kept->key, ((const vc_event_withdrawn *)head)->key); break;
        case VC_EVENT_HANGUP: {
            const vc_event_hangup *body = (const void *)head;
            kept->number = body->cause, kept->code = body->code;
            copy(kept->text, TEXT, body->reason);
            break;
        }
        case VC_EVENT_DTMF: {
            const vc_event_dtmf *body = (const void *)head;
            kept->number = body->duration_ms;
            copy(kept->text, TEXT, body->digits);
            break;
        }
        case VC_EVENT_HELD: kept->number = ((const vc_event_held *)head)->on; break;
        case VC_EVENT_TRANSFERRED: {
            const vc_event_transferred *body = (const void *)head;
            kept->number = body->succeeded, kept->code = body->code;
            copy(kept->text, TEXT, body->reason);
            break;
        }
        default: break;
    }
}

/// Checks what the contract says of an event of a session. The lock is held.
static vc_status check(vc_handle object, const vc_event *head) {
    if (head->size != size_of(head->type)) {
        host_fault("event %u has size %u and not %u", head->type, head->size, size_of(head->type));
        return VC_E_ARGUMENT;
    }
    if (object == PROVIDER) return VC_OK;
    const uint64_t index = object - FIRST_SESSION;
    if (index >= session_count || !sessions[index].alive) {
        host_fault("event %u for session %llu, which is gone", head->type, (unsigned long long)object);
        return VC_E_STALE;
    }
    if (sessions[index].starve) {
        sessions[index].starve--;
        return VC_E_AGAIN;
    }
    if (sessions[index].closed) host_fault("event %u after CLOSED", head->type);
    if (sessions[index].hung_up && head->type != VC_EVENT_CLOSED) host_fault("event %u after HANGUP", head->type);
    sessions[index].closed |= head->type == VC_EVENT_CLOSED;
    sessions[index].hung_up |= head->type == VC_EVENT_HANGUP;
    return VC_OK;
}

static vc_status emit(vc_handle object, const vc_event *head) {
    pthread_mutex_lock(&lock);
    vc_status status = check(object, head);
    if (status == VC_OK && queue_count == MAX_QUEUE) status = VC_E_AGAIN;
    if (status == VC_OK) {
        event *kept = &queue[(queue_first + queue_count++) % MAX_QUEUE];
        memset(kept, 0, sizeof *kept);
        kept->object = object, kept->type = head->type;
        fill(kept, head);
        pthread_cond_signal(&came);
    }
    pthread_mutex_unlock(&lock);
    return status;
}

bool host_next_event(event *event, int timeout_ms) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)timeout_ms % 1000 * 1000000;
    until.tv_sec += timeout_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&lock);
    while (!queue_count && pthread_cond_timedwait(&came, &lock, &until) != ETIMEDOUT) continue;
    const bool got = queue_count > 0;
    if (got) {
        *event = queue[queue_first];
        queue_first = (queue_first + 1) % MAX_QUEUE;
        queue_count--;
    }
    pthread_mutex_unlock(&lock);
    return got;
}

static void log_write(vc_handle object, uint32_t level, vc_str message, const vc_field *fields, uint32_t count) {
    char line[800];
    int length = snprintf(line, sizeof line, "log %u object=%llu %.*s", level, (unsigned long long)object,
                          (int)message.length, message.data);
    for (uint32_t index = 0; index < count && length < (int)sizeof line; index++)
        length += snprintf(line + length, sizeof line - (size_t)length, " %.*s=%.*s", (int)fields[index].name.length,
                           fields[index].name.data, (int)fields[index].value.length, fields[index].value.data);
    host_say("%s", line);
}

static uint32_t log_enabled(uint32_t level) { return level >= (getenv("HARNESS_DEBUG") ? VC_LOG_DEBUG : VC_LOG_INFO); }

static const char *setting(const char *key) {
    for (uint32_t index = 0; index < setting_count; index++)
        if (strcmp(settings[index].name, key) == 0) return settings[index].value;
    return NULL;
}

static vc_status config_text(vc_handle object, const char *key, vc_str *value) {
    (void)object;
    const char *text = setting(key);
    if (!text) return VC_E_NOT_FOUND;
    *value = (vc_str){text, strlen(text)};
    return VC_OK;
}

static vc_status config_integer(vc_handle object, const char *key, int64_t *value) {
    (void)object;
    const char *text = setting(key);
    if (!text) return VC_E_NOT_FOUND;
    *value = strtoll(text, NULL, 10);
    return VC_OK;
}

static vc_status config_number(vc_handle object, const char *key, double *value) {
    (void)object, (void)key, (void)value;
    return VC_E_NOT_FOUND;
}

static vc_status config_flag(vc_handle object, const char *key, uint32_t *value) {
    (void)object;
    const char *text = setting(key);
    if (!text) return VC_E_NOT_FOUND;
    *value = strcmp(text, "true") == 0;
    return VC_OK;
}

/// A secret is an environment variable of that name.
static vc_status secret_with(vc_handle object, const char *name, vc_secret_fn use, void *context) {
    (void)object;
    const char *value = getenv(name);
    if (!value) return VC_E_NOT_FOUND;
    use(context, (vc_str){value, strlen(value)});
    return VC_OK;
}

static vc_status metrics_define(vc_handle provider, uint32_t type, const char *name, const char *help,
                                vc_handle *metric) {
    (void)provider, (void)help;
    if (metric_count == 32) return VC_E_AGAIN;
    snprintf(metrics[metric_count].name, sizeof metrics[0].name, "%s", name);
    metrics[metric_count].type = type;
    *metric = ++metric_count;
    return VC_OK;
}

static void metrics_record(vc_handle metric, double value) {
    pthread_mutex_lock(&lock);
    double *place = &metrics[metric - 1].value;
    *place = metrics[metric - 1].type == VC_METRIC_COUNTER ? *place + value : value;
    pthread_mutex_unlock(&lock);
}

void host_print_metrics(void) {
    for (uint32_t index = 0; index < metric_count; index++)
        host_say("metric %s %g", metrics[index].name, metrics[index].value);
}

static uint64_t clock_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static uint64_t clock_wall(void) { return (uint64_t)time(NULL) * 1000000000ull; }

static const vc_log log_table = {.size = sizeof log_table, .write = log_write, .enabled = log_enabled};
static const vc_config config_table = {.size = sizeof config_table, .text = config_text, .integer = config_integer,
                                       .number = config_number, .flag = config_flag};
static const vc_secret secret_table = {.size = sizeof secret_table, .with = secret_with};
static const vc_metrics metrics_table = {.size = sizeof metrics_table, .define = metrics_define,
    .record = metrics_record};
static const vc_clock clock_table = {.size = sizeof clock_table, .now_ns = clock_now, .wall_ns = clock_wall};

static const void *service(const char *id) {
    if (strcmp(id, VC_SERVICE_LOG) == 0) return &log_table;
    if (strcmp(id, VC_SERVICE_CONFIG) == 0) return &config_table;
    if (strcmp(id, VC_SERVICE_SECRET) == 0) return &secret_table;
    if (strcmp(id, VC_SERVICE_METRICS) == 0) return &metrics_table;
    if (strcmp(id, VC_SERVICE_CLOCK) == 0) return &clock_table;
    if (strcmp(id, VC_SERVICE_MEDIA) == 0) return media_make();
    return NULL;
}

const vc_host *host_make(void) {
    static const vc_host table = {.size = sizeof table, .minor = VC_ABI_MINOR, .emit = emit, .service = service};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&came, &attributes);
    queue = calloc(MAX_QUEUE, sizeof *queue);
    return &table;
}

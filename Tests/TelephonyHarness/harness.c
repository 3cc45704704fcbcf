/*  Loads a telephony plugin, opens a session for each call that comes in, and behaves as the called user's name says;
    so that sipp, baresip and the driver in Tests/Telephony can test the plugin alone, against real SIP peers.

        telephony-harness PLUGIN.so key=value ...        (the provider's configuration)

    It writes one line for each thing that happens, and takes commands on standard input:
    dial TO [FROM] [RING_MS], metrics, count, drain, quit.

    Names: plain (rings, answers), slow (answers after 1 s), never (rings), ignore (no session at all), busy, reject488,
    full (declined with 503), hangMS (answers, hangs up), hold, transfer, digits, starve (the host gives no credit).  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host.h"

typedef enum action { NOTHING, ANSWER, HANGUP, HOLD, RESUME, TRANSFER, DIGITS, CREDIT, CLOSE } action;

typedef struct session {
    vc_session plugin;
    vc_handle handle;
    char name[64];
    action next;
    uint64_t due_ms;
    bool alive;
} session;

static const vc_provider *provider;
static vc_self provider_self;
static session sessions[MAX_SESSIONS];
static uint32_t session_count, live_count;

static const vc_telephony_ops *ops_of(const session *call) { return call->plugin.kind_ops; }

static void later(session *call, action next, uint32_t after_ms) {
    call->next = next;
    call->due_ms = host_now_ms() + after_ms;
}

static void act(session *call) {
    const action what = call->next;
    call->next = NOTHING;
    switch (what) {
        case NOTHING: break;
        case ANSWER: ops_of(call)->answer(call->plugin.state); break;
        case HANGUP: ops_of(call)->hangup(call->plugin.state, 0, (vc_str)VC_STR("The harness hangs up")); break;
        case HOLD:
            ops_of(call)->hold(call->plugin.state, 1);
            later(call, RESUME, 600);
            break;
        case RESUME: ops_of(call)->hold(call->plugin.state, 0); break;
        case TRANSFER: ops_of(call)->transfer(call->plugin.state, (vc_str)VC_STR("sip:other@127.0.0.1:9")); break;
        case DIGITS: ops_of(call)->dtmf(call->plugin.state, (vc_str)VC_STR("12#")); break;
        case CREDIT:
            host_starve(call->handle, 0);
            call->plugin.ops->credit(call->plugin.state, 16, 0);
            break;
        case CLOSE: call->plugin.ops->close(call->plugin.state); break;
    }
}

static session *open_session(const vc_telephony_open *kind, const char *name) {
    if (session_count == MAX_SESSIONS) return NULL;
    session *call = &sessions[session_count];
    memset(call, 0, sizeof *call);
    call->handle = host_new_session();
    snprintf(call->name, sizeof call->name, "%s", name);
    call->plugin.size = sizeof call->plugin;
    char id[32];
    snprintf(id, sizeof id, "call-%u", session_count);
    const vc_open request = {.size = sizeof request, .session = call->handle, .call = {id, strlen(id)},
                             .leg = VC_STR("caller"), .config = VC_STR("{}"), .kind = kind};
    vc_error error = {.size = sizeof error};
    if (strcmp(name, "starve") == 0) host_starve(call->handle, 1000);
    const vc_status status = provider->open(provider_self, &request, &call->plugin, &error);
    if (status != VC_OK) {
        host_say("open-failed %d %.*s", status, (int)error.message.length, error.message.data);
        return NULL;
    }
    call->alive = true;
    session_count++, live_count++;
    return call;
}

static void on_incoming(const event *event) {
    char name[64];
    const char *user = strchr(event->to, ':');
    user = user ? user + 1 : event->to;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(user, "@"), user);
    host_say("incoming key=%s from=%s display=\"%s\" to=%s peer=%s%s", event->key, event->from, event->display,
             event->to,
             event->peer, event->text);
    const vc_str key = {event->key, strlen(event->key)};
    if (strcmp(name, "ignore") == 0) return;
    if (strcmp(name, "full") == 0) {
        ((const vc_telephony_provider_ops *)provider->kind_ops)->decline(provider_self, key, 503, 7);
        return;
    }
    const vc_telephony_open kind = {.size = sizeof kind, .direction = VC_CALL_INBOUND, .key = key};
    session *call = open_session(&kind, name);
    if (!call) return;
    vc_self state = call->plugin.state;
    if (strcmp(name, "busy") == 0) ops_of(call)->hangup(state, 486, (vc_str){0});
    else if (strcmp(name, "reject488") == 0) ops_of(call)->hangup(state, 488, (vc_str){0});
    else {
        ops_of(call)->ringing(state);
        if (strcmp(name, "slow") == 0) later(call, ANSWER, 1000);
        else if (strcmp(name, "never") != 0) ops_of(call)->answer(state);
        if (strcmp(name, "starve") == 0) later(call, CREDIT, 500);
    }
}

static void on_session_event(const event *event) {
    static const char *const causes[] = {"?", "caller", "agent", "canceled", "refused", "no-answer", "failed"};
    session *call = NULL;
    for (uint32_t index = session_count; index-- && !call;)
        if (sessions[index].handle == event->object) call = &sessions[index];
    if (!call) return;
    switch (event->type) {
        case VC_EVENT_READY: break;
        case VC_EVENT_RINGING: host_say("ringing %s", call->name); break;
        case VC_EVENT_ANSWERED:
            host_say("answered %s", call->name);
            if (strncmp(call->name, "hang", 4) == 0) later(call, HANGUP, (uint32_t)atoi(call->name + 4));
            if (strcmp(call->name, "hold") == 0) later(call, HOLD, 300);
            if (strncmp(call->name, "transfer", 8) == 0) later(call, TRANSFER, 300);
            if (strcmp(call->name, "digits") == 0) later(call, DIGITS, 300);
            break;
        case VC_EVENT_HANGUP:
            host_say("hangup %s cause=%s code=%u reason=%s", call->name, causes[event->number <= 6 ? event->number : 0],
                     event->code, event->text);
            later(call, CLOSE, 0);
            break;
        case VC_EVENT_DTMF: host_say("dtmf %s digits=%s duration=%u", call->name, event->text, event->number); break;
        case VC_EVENT_HELD: host_say("held %s %u", call->name, event->number); break;
        case VC_EVENT_TRANSFERRED:
            host_say("transferred %s succeeded=%u code=%u reason=%s", call->name, event->number, event->code,
                     event->text);
            break;
        case VC_EVENT_ERROR: host_say("error %s %s", call->name, event->text); break;
        case VC_EVENT_CLOSED:
            call->plugin.ops->destroy(call->plugin.state);
            call->alive = false;
            call->next = NOTHING;
            live_count--;
            host_forget(call->handle);
            break;
        default: host_say("event %u %s", event->type, call->name);
    }
}

static bool on_provider_event(const event *event) {
    switch (event->type) {
        case VC_EVENT_READY: host_say("ready"); break;
        case VC_EVENT_INCOMING: on_incoming(event); break;
        case VC_EVENT_WITHDRAWN: host_say("withdrawn key=%s", event->key); break;
        case VC_EVENT_DRAINED: host_say("drained"); break;
        case VC_EVENT_ERROR:
            host_say("provider-error fatal=%u %s", event->number, event->text);
            return !event->number;
        default: host_say("provider-event %u", event->type);
    }
    return true;
}

static long resident_kb(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
        fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/// False ends the harness.
static bool on_command(char *line) {
    char to[512] = "", from[512] = "";
    unsigned ring_ms = 10000;
    if (strncmp(line, "quit", 4) == 0) return false;
    if (strncmp(line, "drain", 5) == 0) provider->drain(provider_self);
    else if (strncmp(line, "metrics", 7) == 0) host_print_metrics(), host_say("metrics-end");
    else if (strncmp(line, "count", 5) == 0)
        host_say("count sessions=%u media=%u rss_kb=%ld faults=%u", live_count, media_open_count(), resident_kb(),
                 host_faults());
    else if (sscanf(line, "dial %511s %511s %u", to, from, &ring_ms) >= 1) {
        static const vc_field header = {VC_STR("X-Harness"), VC_STR("yes")};
        const vc_telephony_open kind = {.size = sizeof kind, .direction = VC_CALL_OUTBOUND, .to = {to, strlen(to)},
                                        .from = {from, strcmp(from, "-") ? strlen(from) : 0}, .headers = &header,
                                        .header_count = 1, .ring_timeout_ms = ring_ms};
        open_session(&kind, from[0] && strcmp(from, "-") ? from : "out");
    }
    return true;
}

static bool read_commands(void) {
    static char text[4096];
    static size_t length;
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (poll(&input, 1, 0) <= 0) return true;
    const ssize_t bytes = read(0, text + length, sizeof text - length - 1);
    if (bytes <= 0) return false;
    length += (size_t)bytes;
    text[length] = 0;
    for (char *end; (end = strchr(text, '\n'));) {
        *end = 0;
        if (!on_command(text)) return false;
        length -= (size_t)(end + 1 - text);
        memmove(text, end + 1, length + 1);
    }
    return true;
}

static bool load(const char *path, const vc_host *host) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    vc_plugin_entry_fn entry = library ? (vc_plugin_entry_fn)dlsym(library, VC_PLUGIN_ENTRY) : NULL;
    const vc_module *module = NULL;
    if (!entry || entry(host, &module) != VC_OK || !module || module->provider_count != 1) {
        host_say("load-failed %s", library ? "no usable entry" : dlerror());
        return false;
    }
    provider = module->providers[0];
    vc_error error = {.size = sizeof error};
    const vc_create request = {.size = sizeof request, .provider = PROVIDER, .name = VC_STR("telephony.test"),
                               .config = VC_STR("{}")};
    vc_status status = provider->create(&request, &provider_self, &error);
    if (status == VC_OK) status = provider->start(provider_self, &error);
    if (status != VC_OK) host_say("create-failed %d %.*s", status, (int)error.message.length, error.message.data);
    return status == VC_OK;
}

int main(int count, char **arguments) {
    if (count < 2) return fprintf(stderr, "usage: telephony-harness PLUGIN.so key=value ...\n"), 2;
    const struct rlimit files = {16384, 16384};
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    for (int index = 2; index < count; index++) {
        char *equals = strchr(arguments[index], '=');
        if (!equals) continue;
        *equals = 0;
        host_set(arguments[index], equals + 1);
    }
    if (!load(arguments[1], host_make())) return 1;
    bool goes_on = true;
    while (goes_on && (goes_on = read_commands())) {
        event event;
        if (host_next_event(&event, 10)) do
                goes_on = event.object == PROVIDER ? on_provider_event(&event) : (on_session_event(&event), true);
            while (goes_on && host_next_event(&event, 0));
        const uint64_t now = host_now_ms();
        for (uint32_t index = 0; index < session_count; index++)
            if (sessions[index].alive && sessions[index].next && sessions[index].due_ms <= now) act(&sessions[index]);
    }
    for (uint32_t index = 0; index < session_count; index++)
        if (sessions[index].alive) sessions[index].plugin.ops->close(sessions[index].plugin.state);
    const uint64_t until = host_now_ms() + 1000;
    for (event event; live_count && host_now_ms() < until;)
        if (host_next_event(&event, 50) && event.object != PROVIDER) on_session_event(&event);
    if (live_count) host_fault("%u sessions did not answer close with CLOSED within 1 s", live_count);
    if (!live_count) provider->destroy(provider_self);
    usleep(300000); // The SIP thread frees the provider behind destroy.
    host_say("end faults=%u media=%u", host_faults(), media_open_count());
    return host_faults() ? 1 : 0;
}

/*  The SIP thread: one su_root on which sofia and all our objects live. Other threads only write an order and wake it
    by an eventfd that the root polls like a socket; su_msg from foreign threads would need a port of sofia's for each
    of them.

    sofia does not say why it could not bind, so the ports are tried before it is started: the operator reads
    "UDP port 5060 of 0.0.0.0 is in use", not "nua_create failed". With port 0 the port found there is the one given to
    sofia.

    The thread outlives the ports: after a drain it still serves the sessions that the host has not closed yet, and ends
    with the provider, which it frees itself, because `destroy` may not wait for it.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "objects.h"

/// What we take, and what of it is answered here and not by sofia. REFER is not taken: it is how toll fraud is done.
#define ALLOWED "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, PRACK, UPDATE, NOTIFY"
#define ANSWERED_HERE "INVITE, OPTIONS, REGISTER, INFO, UPDATE"

enum {
    END_CALLS_MS = 500,          ///< For the answers to our BYE requests when the provider is destroyed.
    MAX_BIND_ATTEMPTS = 8,       ///< A free port may be taken between the probe and sofia's bind.
    MAX_MESSAGE_BYTES = 65536,   ///< The largest datagram; nothing that a call needs is longer on TCP either.
    MAX_PROCEEDING = 20000,      ///< Server transactions at once: 32 s of 500 a second, and some.
};

uint64_t sip_now_ns(sip_provider *provider) {
    if (provider->clock) return provider->clock->now_ns();
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

/// Ends the call whose dialog sofia has given up; whatever was not told yet is told here.
static void on_terminated(sip_call *call, int status, char const *phrase) {
    if (status == 408 && call->state == SIP_CALL_ANSWERING) sip_count(call->provider, SIP_ACK_TIMEOUTS);
    const bool answered = call->state >= SIP_CALL_ANSWERING;
    sip_call_over(call, !answered && status == 487 ? VC_HANGUP_CANCELED : VC_HANGUP_FAILED, (uint32_t)status, phrase);
    sip_call_destroy(call);
}

static void on_bye(sip_call *call, sip_t const *sip) {
    char reason[128] = "";
    if (sip && sip->sip_reason && sip->sip_reason->re_text) {
        char const *text = sip->sip_reason->re_text;
        snprintf(reason, sizeof reason, "%.*s", (int)strcspn(text + (*text == '"'), "\""), text + (*text == '"'));
    }
    if (call->state == SIP_CALL_ANSWERING && call->session) // The ACK was lost or overtaken; the peer is in the call.
        sip_session_emit(call->session, VC_EVENT_ANSWERED, 0, 0, NULL);
    sip_call_over(call, VC_HANGUP_CALLER, 0, reason);
}

static void on_options(sip_provider *provider, sip_call *call, nua_handle_t *handle) {
    // Health checks of trunks and load balancers: no credentials, and 503 takes us out of their rotation.
    if (provider->draining && !call)
        nua_respond(handle, SIP_503_SERVICE_UNAVAILABLE, SIPTAG_RETRY_AFTER_STR("30"),
                    NUTAG_WITH_THIS(provider->nua), TAG_END());
    else
        nua_respond(handle, SIP_200_OK, NUTAG_WITH_THIS(provider->nua), SIPTAG_ACCEPT_STR("application/sdp"),
                    TAG_END());
    if (!call) nua_handle_destroy(handle);
}

static void on_nua_event(nua_event_t event, int status, char const *phrase, nua_t *nua, sip_provider *provider,
                         nua_handle_t *handle, sip_call *call, sip_t const *sip, tagi_t tags[]) {
    (void)nua;
    if (handle && handle == provider->registration) {
        if (event == nua_r_register) sip_on_register_response(provider, status, phrase, sip);
        return;
    }
    switch (event) {
        case nua_i_invite:
            if (!call) sip_on_invite(provider, handle, sip, status);
            else if (status < 200) sip_on_reinvite(call, sip, event);
            return;
        case nua_i_update:
            if (call && status < 200) sip_on_reinvite(call, sip, event);
            return;
        case nua_i_ack:
            if (call) sip_on_ack(call, sip);
            return;
        case nua_i_cancel:
            if (call) sip_call_over(call, VC_HANGUP_CANCELED, 487, "Cancelled by the caller");
            return;
        case nua_i_bye:
            if (call) on_bye(call, sip);
            return;
        case nua_i_info:
            if (status < 200) sip_on_info(provider, call, handle, sip);
            return;
        case nua_i_options:
            if (status < 200) on_options(provider, call, handle);
            return;
        case nua_i_register: sip_on_register(provider, handle, sip); return;
        case nua_i_notify:
            if (call) sip_on_notify(call, sip);
            return;
        case nua_r_refer:
            if (call) sip_on_refer_response(call, status, phrase);
            return;
        case nua_r_invite:
            if (call) sip_on_invite_response(call, status, phrase, sip);
            return;
        case nua_i_fork: sip_fork_refuse(tags); return;
        case nua_i_terminated:
            if (call) on_terminated(call, status, phrase);
            else if (handle) nua_handle_destroy(handle);
            return;
        case nua_r_shutdown:
            if (status >= 200) su_root_break(provider->root);
            return;
        default: return;
    }
}

/// Tries to bind; 0, or the errno. `*port` 0 becomes the port that was found.
static int probe(const sip_settings *settings, int type, uint32_t *port) {
    struct sockaddr_storage address;
    socklen_t length;
    memset(&address, 0, sizeof address);
    struct sockaddr_in *v4 = (void *)&address;
    struct sockaddr_in6 *v6 = (void *)&address;
    if (inet_pton(AF_INET, settings->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET, v4->sin_port = htons((uint16_t)*port), length = sizeof *v4;
    } else {
        inet_pton(AF_INET6, settings->host, &v6->sin6_addr);
        v6->sin6_family = AF_INET6, v6->sin6_port = htons((uint16_t)*port), length = sizeof *v6;
    }
    const int fd = socket(address.ss_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    const int one = 1;
    if (type == SOCK_STREAM) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int error = bind(fd, (struct sockaddr *)&address, length) < 0 ? errno : 0;
    if (!error && type == SOCK_STREAM && listen(fd, 1) < 0) error = errno;
    if (!error && getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        *port = ntohs(address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    close(fd);
    return error;
}

static nua_t *create_nua(sip_provider *provider, uint32_t port) {
    const sip_settings *settings = &provider->settings;
    char url[512];
    const char *seen = settings->advertised_address ? settings->advertised_address : settings->host;
    const bool brackets = strchr(seen, ':') && seen[0] != '[';
    snprintf(provider->advertised, sizeof provider->advertised, "%s%s%s:%u", brackets ? "[" : "", seen,
             brackets ? "]" : "", port);
    // Both is what sofia does when none is named; this version crashes on "udp,tcp".
    snprintf(url, sizeof url, "sip:%s%s%s%s", provider->advertised,
             settings->udp && settings->tcp ? "" : settings->udp ? ";transport=udp" : ";transport=tcp",
             settings->advertised_address ? ";maddr=" : "", settings->advertised_address ? settings->host : "");
    return nua_create(provider->root, on_nua_event, provider, NUTAG_URL(url), NUTAG_MEDIA_ENABLE(0),
                      NUTAG_AUTOANSWER(0), NUTAG_AUTOALERT(0), NUTAG_AUTOACK(1), NUTAG_EARLY_MEDIA(0),
                      SIPTAG_ALLOW_STR(ALLOWED), NUTAG_APPL_METHOD(NULL), NUTAG_APPL_METHOD(ANSWERED_HERE),
                      SIPTAG_SUPPORTED_STR("timer, 100rel"), NUTAG_MIN_SE(90),
                      NUTAG_SESSION_TIMER(settings->session_expires_s),
                      NUTAG_UPDATE_REFRESH(1), NUTAG_AUTO302(0), SIPTAG_USER_AGENT_STR(settings->user_agent),
                      NTATAG_MAXSIZE(MAX_MESSAGE_BYTES), NTATAG_MAX_PROCEEDING(MAX_PROCEEDING), NTATAG_SERVER_RPORT(1),
                      NTATAG_UDP_MTU(65535), TAG_END());
}

/// Binds and says READY, or says why not.
static void open_ports(sip_provider *provider) {
    const sip_settings *settings = &provider->settings;
    char message[400], text[16];
    if (sip_settings_read_users_file(&provider->settings, message, sizeof message) != VC_OK) {
        sip_emit_provider_error(provider, VC_E_CONFIG, message);
        return;
    }
    for (int attempt = 0; attempt < MAX_BIND_ATTEMPTS && !provider->nua; attempt++) {
        uint32_t port = settings->port;
        const char *transport = "UDP";
        int error = settings->udp ? probe(settings, SOCK_DGRAM, &port) : 0;
        if (!error && settings->tcp) transport = "TCP", error = probe(settings, SOCK_STREAM, &port);
        if (error && settings->port == 0 && error == EADDRINUSE) continue;
        if (error) {
            snprintf(message, sizeof message, "%s port %u of %s cannot be bound (%s): %s", transport, port,
                     settings->host,
                     strerror(error),
                     error == EADDRINUSE      ? "stop the other program, or set another port"
                     : error == EADDRNOTAVAIL ? "set host to an address of this machine, or 0.0.0.0"
                     : error == EACCES        ? "set a port of 1024 or above, or give the program the right to bind"
                                              : "set another host or port");
            sip_emit_provider_error(provider, VC_E_NETWORK, message);
            return;
        }
        provider->nua = create_nua(provider, port);
        provider->bound_port = provider->nua ? port : 0;
    }
    if (!provider->nua) {
        snprintf(message, sizeof message,
                 "the SIP stack could not use port %u of %s: check host and advertised_address",
                 settings->port, settings->host);
        sip_emit_provider_error(provider, VC_E_NETWORK, message);
        return;
    }
    snprintf(text, sizeof text, "%u", provider->bound_port);
    sip_gauge(provider, SIP_PORT, provider->bound_port);
    sip_log(provider, VC_LOG_INFO, 0, "port", text, "listening on %s:%u (%s%s%s), known as %s", settings->host,
            provider->bound_port, settings->udp ? "UDP" : "", settings->udp && settings->tcp ? ", " : "",
            settings->tcp ? "TCP" : "", provider->advertised);
    sip_emit_plain(provider, provider->handle, VC_EVENT_READY, 0);
}

/// Ends what is left when the host destroys the provider. Each call is ended in its own way and given a moment, because
/// this version of sofia aborts (`nua_dialog_usage_remove: Assertion`) when it is shut down with a request unanswered.
static void end_calls(sip_provider *provider) {
    for (sip_call *call = provider->calls; call; call = call->next) {
        sip_call_hangup(call, 503, "Shutting down");
        if (call->bye_after_ack) nua_bye(call->handle, TAG_END());
    }
    const uint64_t until = sip_now_ns(provider) + END_CALLS_MS * 1000000ull;
    while (provider->calls && sip_now_ns(provider) < until) su_root_step(provider->root, 20);
    while (provider->calls) sip_call_destroy(provider->calls);
    su_root_step(provider->root, 0);
}

/// Gives the ports back. sofia's own shutdown unregisters first, within 30 s.
static void close_ports(sip_provider *provider) {
    if (!provider->nua) return;
    provider->shutting_down = true;
    end_calls(provider);
    nua_shutdown(provider->nua);
    su_root_run(provider->root); // Until nua_r_shutdown.
    nua_destroy(provider->nua);
    provider->nua = NULL;
    provider->bound_port = 0;
    sip_gauge(provider, SIP_PORT, 0);
}

static void run_orders(sip_provider *provider) {
    for (;;) {
        char key[SIP_KEY_LENGTH] = "";
        uint32_t code = 0, retry_after_s = 0, orders = 0;
        pthread_mutex_lock(&provider->lock);
        sip_session *session = provider->ordered;
        if (session) {
            provider->ordered = session->next_ordered;
            if (!provider->ordered) provider->ordered_tail = &provider->ordered;
            orders = session->orders;
            session->orders = 0;
        } else if (provider->decline_count) {
            provider->decline_count--;
            memcpy(key, provider->declines[provider->decline_count].key, sizeof key);
            code = provider->declines[provider->decline_count].code;
            retry_after_s = provider->declines[provider->decline_count].retry_after_s;
        }
        provider->draining |= provider->drain_ordered;
        pthread_mutex_unlock(&provider->lock);
        if (session) {
            sip_session_run(session, orders);
        } else if (key[0]) {
            sip_call *call = sip_call_by_key(provider, key);
            if (!call || call->state != SIP_CALL_OFFERED) continue;
            sip_call_set_state(call, SIP_CALL_WAITING); // The host knows that it is gone: nothing to withdraw.
            sip_inbound_refuse(call, code, retry_after_s, "Declined");
        } else {
            return;
        }
    }
}

static int on_wake(sip_provider *provider, su_wait_t *wait, su_wakeup_arg_t *argument) {
    (void)wait, (void)argument;
    uint64_t count;
    if (read(provider->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN) return 0;
    run_orders(provider);
    if (provider->shutting_down) return 0;
    if (provider->destroy_ordered || (provider->draining && !provider->drained && provider->call_count == 0))
        su_root_break(provider->root);
    return 0;
}

static void on_tick(sip_provider *provider, su_timer_t *timer, su_timer_arg_t *argument) {
    (void)timer, (void)argument;
    const uint64_t now = sip_now_ns(provider);
    for (sip_call *call = provider->calls, *next; call; call = next) {
        next = call->next;
        sip_call_tick(call, now);
    }
    sip_registrar_expire(provider);
    if (provider->shutting_down) return;
    if (provider->nua) sip_registration_tick(provider);
    if (provider->draining && !provider->drained && provider->call_count == 0) su_root_break(provider->root);
    // DRAINED is the one event of the provider that the host waits for; it is offered until it is taken.
    if (provider->drained && !provider->drained_told)
        provider->drained_told = sip_emit_plain(provider, provider->handle, VC_EVENT_DRAINED, 0) != VC_E_AGAIN;
}

static void *run(void *argument) {
    sip_provider *provider = argument;
    sigset_t all; // Signals are the host's.
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    su_init();
    su_home_init(provider->home);
    provider->root = su_root_create(provider);
    su_wait_t wait[1] = {SU_WAIT_INIT};
    int registered = -1;
    if (provider->root) su_root_threading(provider->root, 0);
    if (!provider->root || su_wait_create(wait, provider->wake_fd, SU_WAIT_IN) < 0 ||
        (registered = su_root_register(provider->root, wait, on_wake, NULL, 0)) < 0 ||
        !(provider->tick = su_timer_create(su_root_task(provider->root), SIP_TICK_MS)))
        sip_emit_provider_error(provider, VC_E_MEMORY, "the SIP thread has no event loop");
    else {
        su_timer_set_for_ever(provider->tick, on_tick, NULL);
        open_ports(provider);
        while (!provider->destroy_ordered) {
            su_root_run(provider->root);
            if (provider->draining && !provider->drained && !provider->destroy_ordered) {
                sip_registration_end(provider);
                close_ports(provider);
                provider->shutting_down = false;
                provider->drained = true;
            }
            run_orders(provider);
        }
        close_ports(provider);
        su_timer_destroy(provider->tick);
        su_root_deregister(provider->root, registered);
    }
    if (provider->root) su_root_destroy(provider->root);
    su_deinit();
    pthread_mutex_lock(&provider->lock);
    const bool free_here = provider->destroy_ordered;
    provider->thread_runs = false;
    pthread_mutex_unlock(&provider->lock);
    if (free_here) sip_provider_free(provider);
    return NULL;
}

vc_status sip_stack_start(sip_provider *provider) {
    sip_redirect_sofia_log(provider->host);
    const size_t length = sizeof provider->nonce_key;
    if (getrandom(provider->nonce_key, length, 0) != (ssize_t)length) return VC_E_INTERNAL;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    provider->thread_runs = true;
    const int error = pthread_create(&provider->thread, &attributes, run, provider);
    pthread_attr_destroy(&attributes);
    if (error) provider->thread_runs = false;
    return error ? VC_E_MEMORY : VC_OK;
}

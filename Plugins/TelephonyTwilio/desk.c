/*  The calls that there are, under one lock. They are looked up once or twice in a call's life, among some hundreds:
    a list, walked along, is faster to read and no slower to use than a table would be.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "objects.h"

/// 128 bits that nobody guesses, in base 16.
static bool write_secret(char out[TWILIO_SECRET_LENGTH]) {
    unsigned char random[(TWILIO_SECRET_LENGTH - 1) / 2];
    if (getrandom(random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random) return false;
    for (size_t index = 0; index < sizeof random; index++) snprintf(out + 2 * index, 3, "%02x", random[index]);
    return true;
}

twilio_call *twilio_desk_make(twilio_provider *provider, uint32_t direction) {
    twilio_call *call = calloc(1, sizeof *call);
    if (!call || !write_secret(call->ticket) || !write_secret(call->token)) {
        free(call);
        return NULL;
    }
    call->provider = provider;
    call->direction = direction;
    call->offered_ns = provider->clock->now_ns();
    pthread_mutex_lock(&provider->lock);
    const bool has_room = !provider->is_draining && provider->call_count < provider->settings.calls_max;
    if (has_room) {
        call->number = ++provider->next_number;
        snprintf(call->key, sizeof call->key, "%llu", (unsigned long long)call->number);
        call->next = provider->calls;
        provider->calls = call;
        provider->call_count++;
    }
    pthread_mutex_unlock(&provider->lock);
    if (!has_room) {
        free(call);
        return NULL;
    }
    twilio_count(provider, TWILIO_CALLS);
    return call;
}

static void tell_drained(twilio_provider *provider, bool is_due) {
    if (is_due) twilio_emit_plain(provider, provider->handle, VC_EVENT_DRAINED, 0);
}

/// The caller holds the lock. True once.
static bool becomes_drained(twilio_provider *provider) {
    if (!provider->is_draining || provider->is_drained || provider->call_count > 0) return false;
    return provider->is_drained = true;
}

void twilio_desk_destroy(twilio_call *call) {
    twilio_provider *provider = call->provider;
    pthread_mutex_lock(&provider->lock);
    for (twilio_call **link = &provider->calls; *link; link = &(*link)->next) {
        if (*link != call) continue;
        *link = call->next;
        provider->call_count--;
        break;
    }
    const bool is_drained = becomes_drained(provider);
    pthread_mutex_unlock(&provider->lock);
    twilio_count(provider, TWILIO_CALLS);
    free(call);
    tell_drained(provider, is_drained);
}

void twilio_desk_drain(twilio_provider *provider) {
    pthread_mutex_lock(&provider->lock);
    provider->is_draining = true;
    const bool is_drained = becomes_drained(provider);
    pthread_mutex_unlock(&provider->lock);
    tell_drained(provider, is_drained);
}

/// An inbound call without a session. Only the provider's own calls come here, so that nobody frees it meanwhile.
twilio_call *twilio_desk_by_key(twilio_provider *provider, vc_str key) {
    twilio_call *found = NULL;
    pthread_mutex_lock(&provider->lock);
    for (twilio_call *call = provider->calls; call && !found; call = call->next)
        if (call->direction == VC_CALL_INBOUND && !call->session &&
            tw_text_is((tw_text){key.data, key.length}, call->key))
            found = call;
    pthread_mutex_unlock(&provider->lock);
    return found;
}

/// Keeps news of a sid that an answer of the REST API may still bring. The caller holds the lock.
static void keep_early(twilio_provider *provider, const char *sid, uint32_t news, uint32_t code,
                       tw_call_status status) {
    bool is_awaited = false;
    for (twilio_call *call = provider->calls; call && !is_awaited; call = call->next)
        is_awaited = call->direction == VC_CALL_OUTBOUND && !call->sid[0];
    if (!is_awaited) return;
    twilio_early_news *kept = NULL;
    for (uint32_t index = 0; index < TWILIO_MAX_EARLY && !kept; index++)
        if (strcmp(provider->early[index].sid, sid) == 0) kept = &provider->early[index];
    if (!kept) {
        kept = &provider->early[provider->early_count++ % TWILIO_MAX_EARLY];
        *kept = (twilio_early_news){0};
        snprintf(kept->sid, sizeof kept->sid, "%s", sid);
    }
    if (!(kept->news & TWILIO_NEWS_OVER)) kept->code = code, kept->status = status;
    kept->news |= news;
}

/// The call has its sid: what was told of it before is its own. The caller holds the lock.
static void take_early(twilio_call *call) {
    twilio_early_news *early = call->provider->early;
    for (uint32_t index = 0; index < TWILIO_MAX_EARLY; index++) {
        if (strcmp(early[index].sid, call->sid) != 0) continue;
        call->news |= early[index].news;
        if (early[index].news & TWILIO_NEWS_OVER)
            call->news_code = early[index].code, call->over_status = early[index].status;
        early[index] = (twilio_early_news){0};
    }
}

/// Leaves news with the call of that number, or of that sid, and has its session look. False: there is no such call.
bool twilio_desk_news(twilio_provider *provider, uint64_t number, const char *sid, uint32_t news, uint32_t code,
                      tw_call_status status, const char *text) {
    twilio_call *found = NULL;
    vc_handle session = 0;
    pthread_mutex_lock(&provider->lock);
    for (twilio_call *call = provider->calls; call && !found; call = call->next)
        if (number ? call->number == number : strcmp(call->sid, sid) == 0) found = call;
    if (found) {
        session = found->session;
        // How it ended is told once; what was told first was closer to it.
        if (!(found->news & TWILIO_NEWS_OVER)) {
            found->news_code = code;
            found->over_status = status;
            snprintf(found->news_text, sizeof found->news_text, "%s", text);
        }
        found->news |= news;
        if (news & TWILIO_NEWS_PLACED) {
            snprintf(found->sid, sizeof found->sid, "%s", sid);
            take_early(found);
        }
    } else if (!number && sid[0]) {
        keep_early(provider, sid, news, code, status);
    }
    pthread_mutex_unlock(&provider->lock);
    if (!session) return found != NULL;
    vc_handle timer = 0;
    // Stale when the session has just ended, and then nobody wants to know.
    provider->timer->arm(session, provider->clock->now_ns(), twilio_on_news, found, &timer);
    return true;
}

uint32_t twilio_desk_take_news(twilio_call *call, uint32_t *code, tw_call_status *status, char text[160]) {
    pthread_mutex_lock(&call->provider->lock);
    const uint32_t news = call->news;
    call->news = 0;
    *code = call->news_code;
    *status = call->over_status;
    memcpy(text, call->news_text, sizeof call->news_text);
    pthread_mutex_unlock(&call->provider->lock);
    return news;
}

bool twilio_respond(twilio_provider *provider, vc_handle exchange, uint32_t status, const char *type,
                    const char *body) {
    const vc_field header = {VC_STR("Content-Type"), twilio_str(type)};
    return provider->server->respond(exchange, status, &header, 1, twilio_str(body)) == VC_OK;
}

/// Answers the webhook that waits. False: Twilio has been told something else already, by 504.
bool twilio_respond_to_call(twilio_call *call, const char *twiml) {
    pthread_mutex_lock(&call->provider->lock);
    const vc_handle exchange = call->exchange;
    call->exchange = 0;
    pthread_mutex_unlock(&call->provider->lock);
    return exchange && twilio_respond(call->provider, exchange, 200, "text/xml; charset=utf-8", twiml);
}

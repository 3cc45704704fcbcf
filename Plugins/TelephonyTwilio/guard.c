/*  Whether a request is Twilio's: by its signature and nothing else. An address proves nothing, since Twilio's are
    many and change, and a proxy stands before us; so whoever can sign is believed, and nobody else reaches any of the
    code behind this.  */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>
#include <strings.h>

#include "objects.h"

static tw_text header_of(const vc_server_request *request, const char *name) {
    const size_t length = strlen(name);
    for (uint32_t index = 0; index < request->header_count; index++) {
        const vc_field *field = &request->headers[index];
        if (field->name.length == length && strncasecmp(field->name.data, name, length) == 0)
            return (tw_text){field->value.data, field->value.length};
    }
    return (tw_text){"", 0};
}

typedef struct checking {
    twilio_provider *provider;
    const vc_server_request *request;
    tw_field *fields;
    int count;
    bool websocket, is_good;
    tw_algorithm algorithm;
} checking;

static void check(void *context, vc_str key) {
    checking *this = context;
    const vc_server_request *request = this->request;
    this->is_good = tw_signature_is_good(
        &this->provider->settings.origin, this->websocket, (tw_text){request->path.data, request->path.length},
        (tw_text){request->query.data ? request->query.data : "", request->query.length}, this->fields, this->count,
        this->algorithm, (tw_text){key.data, key.length}, header_of(request, "X-Twilio-Signature"),
        this->provider->scratch);
}

bool twilio_guard_admits(twilio_provider *provider, const vc_server_request *request, bool websocket, tw_field *fields,
                         int count) {
    const twilio_settings *settings = &provider->settings;
    const tw_signature_settings how =
        tw_signature_settings_read(header_of(request, "X-Twilio-Webhooks-Signature-Settings"));
    checking this = {provider, request, fields, count, websocket, false, how.algorithm};
    // A key that has an id is one that the operator made; without an id it is the account's token.
    const bool is_shared = how.key_id.length > 0 || how.algorithm == TW_HMAC_SHA256;
    const bool is_known =
        !is_shared || (settings->signing_key_id[0] && tw_text_is(how.key_id, settings->signing_key_id));
    const char *key = is_shared ? settings->signing_key : settings->auth_token;
    const char *problem = NULL;
    if (how.algorithm == TW_HMAC_UNKNOWN) problem = "an algorithm that is not known here";
    else if (!is_known) problem = "a signing key that is not configured: set signing_key_id and signing_key";
    else if (!twilio_settings_with(provider->secret, provider->handle, key, check, &this))
        problem = "a key whose secret is not set";
    else if (!this.is_good)
        problem = "no signature of ours: auth_token is another account's, or public_url is not what Twilio calls";
    if (!problem) {
        twilio_count(provider, TWILIO_WEBHOOKS);
        return true;
    }
    twilio_count(provider, TWILIO_BAD_SIGNATURES);
    char path[160];
    const size_t length = request->path.length < sizeof path - 1 ? request->path.length : sizeof path - 1;
    memcpy(path, request->path.data, length);
    path[length] = 0;
    // The ticket of a stream is no affair of the log.
    char *ticket = strstr(path, settings->media_path);
    if (ticket == path) path[strlen(settings->media_path)] = 0;
    twilio_log(provider, VC_LOG_WARNING, 0, "path", path, "a request from %.*s was refused with 403: %s",
               (int)(request->peer.length < 64 ? request->peer.length : 64), request->peer.data, problem);
    return false;
}

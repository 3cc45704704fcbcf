/*  The configuration is checked here, once, when the provider is created: what is behind it only reads values that
    can work.  */
// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const vc_config *config;
    vc_handle provider;
    char *message;
    size_t room;
    bool failed;
} reader;

static void fail(reader *from, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(reader *from, const char *format, ...) {
    if (from->failed) return;
    from->failed = true;
    va_list list;
    va_start(list, format);
    vsnprintf(from->message, from->room, format, list);
    va_end(list);
}

static void text_of(reader *from, const char *key, const char *otherwise, char *out) {
    vc_str value = {0};
    if (from->config->text(from->provider, key, &value) != VC_OK || value.length == 0)
        value = (vc_str){otherwise, strlen(otherwise)};
    if (value.length >= TWILIO_TEXT_MAX) return fail(from, "%s is longer than %d bytes", key, TWILIO_TEXT_MAX - 1);
    memcpy(out, value.data, value.length);
    out[value.length] = 0;
}

static uint32_t number_of(reader *from, const char *key, uint32_t otherwise, int64_t low, int64_t high) {
    int64_t value = otherwise;
    if (from->config->integer(from->provider, key, &value) != VC_OK) return otherwise;
    if (value < low || value > high)
        fail(from, "%s is %lld, it must lie in %lld ... %lld", key, (long long)value, (long long)low, (long long)high);
    return (uint32_t)value;
}

static void path_of(reader *from, const char *key, const char *otherwise, bool is_prefix, char *out) {
    text_of(from, key, otherwise, out);
    const size_t length = strlen(out);
    if (out[0] != '/' || strpbrk(out, "?# \"") || (length > 1 && out[length - 1] == '/') != is_prefix)
        fail(from, "%s is %s, it must be a path that begins with a slash and %s with one", key, out,
             is_prefix ? "ends" : "does not end");
}

static void check_together(reader *from, twilio_settings *settings) {
    const tw_text account = {settings->account_sid, strlen(settings->account_sid)};
    if (!tw_is_sid(account, "AC"))
        fail(from, "account_sid is \"%s\", it must be AC and 32 hexadecimal digits, as Twilio's console shows it",
             settings->account_sid);
    if (!settings->auth_token[0])
        fail(from, "auth_token is not set, and without it nobody can be believed: write ${secret:TWILIO_AUTH_TOKEN}");
    if (!settings->api_key_sid[0] != !settings->api_key_secret[0])
        fail(from, "api_key_sid and api_key_secret are needed together, or neither of them");
    if (!settings->signing_key_id[0] != !settings->signing_key[0])
        fail(from, "signing_key_id and signing_key are needed together, or neither of them");
    if (strncmp(settings->url, "https://", 8) != 0 && strncmp(settings->url, "http://", 7) != 0)
        fail(from, "url is %s, it must be the address of Twilio's API, https://api.twilio.com", settings->url);
    const size_t length = strlen(settings->url);
    if (length && settings->url[length - 1] == '/') settings->url[length - 1] = 0;
    // The longest ticket and a slash still have to fit behind the address (`webhook.c`).
    const tw_text path = {settings->status_path, strlen(settings->status_path)};
    if (!tw_origin_url(&settings->origin, false, 0, path, (tw_text){"", 0}, settings->status_url,
                       sizeof settings->status_url))
        fail(from, "public_url and status_path are too long together");
}

vc_status twilio_settings_read(twilio_settings *settings, const vc_host *host, vc_handle provider, char *message,
                               size_t room) {
    reader from = {host->service(VC_SERVICE_CONFIG), provider, message, room, false};
    char public_url[TWILIO_TEXT_MAX] = "";
    memset(settings, 0, sizeof *settings);
    text_of(&from, "public_url", "", public_url);
    if (!tw_origin_read((tw_text){public_url, strlen(public_url)}, &settings->origin))
        fail(&from, "public_url is \"%s\", it must be the address at which Twilio finds this host, such as "
             "https://bot.example.com", public_url);
    path_of(&from, "voice_path", "/twilio/voice", false, settings->voice_path);
    path_of(&from, "status_path", "/twilio/status", false, settings->status_path);
    path_of(&from, "media_path", "/twilio/media/", true, settings->media_path);
    text_of(&from, "account_sid", "", settings->account_sid);
    text_of(&from, "auth_token", "", settings->auth_token);
    text_of(&from, "api_key_sid", "", settings->api_key_sid);
    text_of(&from, "api_key_secret", "", settings->api_key_secret);
    text_of(&from, "signing_key_id", "", settings->signing_key_id);
    text_of(&from, "signing_key", "", settings->signing_key);
    text_of(&from, "url", "https://api.twilio.com", settings->url);
    text_of(&from, "from", "", settings->from);
    text_of(&from, "transfer_caller_id", "", settings->transfer_caller_id);
    settings->transfer_timeout_s = number_of(&from, "transfer_timeout_s", 30, 5, 600);
    settings->calls_max = number_of(&from, "calls_max", 1000, 1, 100000);
    settings->stream_timeout_ms = number_of(&from, "stream_timeout_ms", 10000, 1000, 60000);
    settings->request_timeout_ms = number_of(&from, "request_timeout_ms", 5000, 500, 60000);
    if (!from.failed) check_together(&from, settings);
    return from.failed ? VC_E_CONFIG : VC_OK;
}

bool twilio_settings_with(const vc_secret *secret, vc_handle provider, const char *setting, vc_secret_fn use,
                          void *context) {
    static const char prefix[] = "${secret:";
    const size_t length = strlen(setting), prefix_length = sizeof prefix - 1;
    if (length <= prefix_length || strncmp(setting, prefix, prefix_length) != 0 || setting[length - 1] != '}') {
        use(context, (vc_str){setting, length});
        return true;
    }
    char name[TWILIO_TEXT_MAX];
    memcpy(name, setting + prefix_length, length - prefix_length - 1);
    name[length - prefix_length - 1] = 0;
    return secret && secret->with(provider, name, use, context) == VC_OK;
}

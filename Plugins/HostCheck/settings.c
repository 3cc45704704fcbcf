/*  Whether what arrives as configuration is what the manifest's schema lets through, with its defaults.

    The schema is written down here a second time, as a table: the manifest is for the host, and a plugin that read it
    would agree with whatever the host makes of it.  */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostcheck.h"

typedef struct setting {
    const char *name;
    char type; ///< Of JSON; 'i' is a number without a fraction.
    int has_default;
    double least, most;
    const char *choices; ///< "|open|shut|" or NULL.
} setting;

static const setting settings[] = {
    {"report", 's', 1, 0, 0, NULL},    {"text", 's', 1, 0, 0, NULL},
    {"reply", 's', 1, 0, 0, NULL},     {"ready_ms", 'i', 1, 0, 1000, NULL},
    {"tone_hz", 'n', 1, 50, 3000, NULL}, {"mode", 's', 1, 0, 0, "|plain|strict|"},
    {"is_loud", 'b', 1, 0, 0, NULL},   {"token", 's', 0, 0, 0, NULL},
};
enum { SETTING_COUNT = sizeof settings / sizeof settings[0] };

static const setting session_settings[] = {{"voice", 's', 1, 0, 0, "|plain|"}};

typedef struct pass {
    const object *object;
    const setting *table;
    size_t count;
    uint32_t seen;
    provider *provider; ///< Set for a provider's configuration: takes the values.
} pass;

/// A JSON string without its quotes. Escapes stay as they are: nothing here is compared that has any.
static vc_str unquoted(vc_str value) { return (vc_str){value.data + 1, value.length - 2}; }

static void check_value(pass *pass, const setting *setting, vc_str value, char type) {
    const char wanted = setting->type == 'i' ? 'n' : setting->type;
    if (type != wanted) {
        fault(RULE_CONFIG, pass->object, "%s came as %.*s, which is of another type", setting->name,
              (int)(value.length < 60 ? value.length : 60), value.data);
        return;
    }
    if (type == 'n') {
        const double number = strtod(value.data, NULL);
        if (setting->type == 'i' && number != (double)(long long)number)
            fault(RULE_CONFIG, pass->object, "%s came as %g, and is an integer", setting->name, number);
        if (number < setting->least || number > setting->most)
            fault(RULE_CONFIG, pass->object, "%s came as %g, outside of %g ... %g", setting->name, number,
                  setting->least,
                  setting->most);
    }
    if (setting->choices) {
        char choice[64];
        const vc_str text = unquoted(value);
        snprintf(choice, sizeof choice, "|%.*s|", (int)(text.length < 60 ? text.length : 60), text.data);
        if (!strstr(setting->choices, choice))
            fault(RULE_CONFIG, pass->object, "%s came as %s, which the schema does not list", setting->name, choice);
    }
}

static void keep(provider *provider, const setting *setting, vc_str value) {
    const vc_str text = setting->type == 's' ? unquoted(value) : value;
    char *to = strcmp(setting->name, "text") == 0    ? provider->text
               : strcmp(setting->name, "reply") == 0 ? provider->reply
                                                     : NULL;
    if (to && text.length < TEXT_SETTING_MAX) memcpy(to, text.data, text.length), to[text.length] = 0;
    if (strcmp(setting->name, "ready_ms") == 0) provider->ready_ms = (uint32_t)atoi(value.data);
    if (strcmp(setting->name, "tone_hz") == 0) provider->tone_hz = (uint32_t)atof(value.data);
    if (strcmp(setting->name, "report") == 0) report_to(text);
}

static void member(void *context, vc_str key, vc_str value, char type) {
    pass *pass = context;
    for (size_t index = 0; index < pass->count; index++) {
        const setting *setting = &pass->table[index];
        if (!json_equals(key, setting->name)) continue;
        if (pass->seen & 1u << index) fault(RULE_CONFIG, pass->object, "%s stands there twice", setting->name);
        pass->seen |= 1u << index;
        check_value(pass, setting, value, type);
        if (pass->provider && (type == 'n' || type == 's')) keep(pass->provider, setting, value);
        return;
    }
    fault(RULE_CONFIG, pass->object, "the setting %.*s is not in the schema, which allows no others",
          (int)(key.length < 60 ? key.length : 60), key.data);
}

static void check(pass *pass, const char *what, vc_str config) {
    if (!check_text(pass->object, what, config, TEXT_MAX_BYTES)) return;
    if (json_walk(config, 'o', member, pass) != 0) {
        fault(RULE_CONFIG, pass->object, "%s is no JSON object: %.*s", what,
              (int)(config.length < 60 ? config.length : 60), config.data ? config.data : "");
        return;
    }
    for (size_t index = 0; index < pass->count; index++)
        if (pass->table[index].has_default && !(pass->seen & 1u << index))
            fault(RULE_CONFIG, pass->object, "%s has a default and is missing", pass->table[index].name);
}

/// The same values by the service as in the text, and VC_E_ARGUMENT for another type.
static void check_service(provider *provider) {
    const vc_config *config = host->service(VC_SERVICE_CONFIG);
    const object *object = &provider->object;
    if (!config) return;
    vc_str text = {NULL, 0};
    int64_t ready_ms = -1;
    double tone_hz = -1;
    uint32_t is_loud = 2;
    const vc_handle handle = object->handle;
    if (config->text(handle, "text", &text) != VC_OK || text.length != strlen(provider->text) ||
        memcmp(text.data, provider->text, text.length) != 0)
        fault(RULE_CONFIG_SERVICE, object, "`text` is another text than in the JSON");
    if (config->integer(handle, "ready_ms", &ready_ms) != VC_OK || ready_ms != provider->ready_ms)
        fault(RULE_CONFIG_SERVICE, object, "`ready_ms` is %lld, and %u in the JSON", (long long)ready_ms,
              provider->ready_ms);
    if (config->number(handle, "tone_hz", &tone_hz) != VC_OK || (uint32_t)tone_hz != provider->tone_hz)
        fault(RULE_CONFIG_SERVICE, object, "`tone_hz` is %g, and %u in the JSON", tone_hz, provider->tone_hz);
    if (config->flag(handle, "is_loud", &is_loud) != VC_OK || is_loud > 1)
        fault(RULE_CONFIG_SERVICE, object, "`is_loud` is neither 0 nor 1");
    if (config->text(handle, "nothing_of_this_name", &text) != VC_E_NOT_FOUND)
        fault(RULE_CONFIG_SERVICE, object, "a key that is not set is not VC_E_NOT_FOUND");
    if (config->integer(handle, "text", &ready_ms) != VC_E_ARGUMENT)
        fault(RULE_CONFIG_SERVICE, object, "a text asked for as an integer is not VC_E_ARGUMENT");
}

void check_configuration(provider *provider, vc_str config) {
    pass pass = {&provider->object, settings, SETTING_COUNT, 0, provider};
    check(&pass, "vc_create.config", config);
    check_service(provider);
}

void check_session_configuration(session *session, vc_str config) {
    pass pass = {&session->object, session_settings, 1, 0, NULL};
    check(&pass, "vc_open.config", config);
}

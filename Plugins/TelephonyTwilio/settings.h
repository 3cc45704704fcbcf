/// What the operator set for one Twilio section, checked once and constant from then on.
// SPDX-License-Identifier: Apache-2.0
#ifndef TELEPHONY_TWILIO_SETTINGS_H
#define TELEPHONY_TWILIO_SETTINGS_H

#include "twilio_wire.h"
#include "vchost/vchost.h"

enum { TWILIO_TEXT_MAX = 256 };

/// Secrets are kept as the operator wrote them, `${secret:NAME}` for one, and looked up where they are needed: so a
/// secret
/// that is changed in its file counts from the next request on.
typedef struct twilio_settings {
    tw_origin origin; ///< Where Twilio finds us.
    char voice_path[TWILIO_TEXT_MAX];
    char status_path[TWILIO_TEXT_MAX];
    char media_path[TWILIO_TEXT_MAX]; ///< Ends with a slash.
    char status_url[1024];
    char account_sid[TWILIO_TEXT_MAX];
    char auth_token[TWILIO_TEXT_MAX];
    char api_key_sid[TWILIO_TEXT_MAX];
    char api_key_secret[TWILIO_TEXT_MAX];
    char signing_key_id[TWILIO_TEXT_MAX];
    char signing_key[TWILIO_TEXT_MAX];
    char url[TWILIO_TEXT_MAX]; ///< Of the REST API, without a slash at its end.
    char from[TWILIO_TEXT_MAX];
    char transfer_caller_id[TWILIO_TEXT_MAX];
    uint32_t transfer_timeout_s, calls_max, stream_timeout_ms, request_timeout_ms;
} twilio_settings;

/// Reads and checks the configuration behind `provider`. On failure `message` holds a sentence for the operator.
vc_status twilio_settings_read(twilio_settings *settings, const vc_host *host, vc_handle provider, char *message,
                               size_t room);

/// Calls `use` with a secret, or with the text itself where none is named. False: the secret is not there.
bool twilio_settings_with(const vc_secret *secret, vc_handle provider, const char *setting, vc_secret_fn use,
                          void *context);

#endif

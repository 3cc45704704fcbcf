// What the rest of the plugin wants from the vendor: one question, in vendor.c, and its answer's bytes (answer.h).
#ifndef VENDOR_H
#define VENDOR_H

#include "answer.h"

/// Of one section of the configuration, shared by the sessions of all its calls. Constant after `create`.
typedef struct vendor {
    char url[1024];
} vendor;

/// Reads the settings. Fills in `error` and answers VC_E_CONFIG where one cannot work.
vc_status vendor_configure(vendor *v, const vc_config *config, vc_handle provider, vc_error *error);

/// Asks for the answer to a conversation: a JSON array of messages in the shape of OpenAI's chat.
void vendor_ask(const vendor *v, answer *a, const vc_llm_request *question);

/// An answer is complete: fails it where its end is missing.
void vendor_ended(answer *a);

#endif

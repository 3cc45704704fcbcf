/// @file Service "vc.config/1": single settings, for plugins without a JSON parser.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_CONFIG_H
#define VCHOST_SERVICE_CONFIG_H

#include "../abi.h"

#define VC_SERVICE_CONFIG "vc.config/1"

VC_BEGIN_DECLS

/// Reads the configuration with which a provider was created or a session opened: the same values as in the JSON text,
/// defaults filled in. `key` may go down with dots: "voice.speed". VC_E_NOT_FOUND: not set, and no default;
/// VC_E_ARGUMENT: set, but of another type. The text lives until the object is destroyed.
typedef struct vc_config {
    uint32_t size;
    uint32_t reserved;
    vc_status (*text)(vc_handle object, const char *key, vc_str *value) VC_ANY;
    vc_status (*integer)(vc_handle object, const char *key, int64_t *value) VC_ANY;
    vc_status (*number)(vc_handle object, const char *key, double *value) VC_ANY;
    vc_status (*flag)(vc_handle object, const char *key, uint32_t *value) VC_ANY;
} vc_config;

VC_END_DECLS

#endif

/// @file Service "vc.secret/1": credentials, lent for one call.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_SECRET_H
#define VCHOST_SERVICE_SECRET_H

#include "../abi.h"

#define VC_SERVICE_SECRET "vc.secret/1"

VC_BEGIN_DECLS

typedef void (*vc_secret_fn)(void *VC_NULLABLE context, vc_str secret);

typedef struct vc_secret {
    uint32_t size;
    uint32_t reserved;

    /// Calls `use` with the secret before it returns. The bytes are zeroed afterwards: do not keep them. Only names
    /// that the manifest lists under `secrets` are given out; VC_E_NOT_FOUND when the operator has not set it. A header
    /// value of "vc.http/1" may also name a secret as `${secret:NAME}`, and then never sees it.
    vc_status (*with)(vc_handle object, const char *name, vc_secret_fn use, void *VC_NULLABLE context) VC_CONTROL;
} vc_secret;

VC_END_DECLS

#endif

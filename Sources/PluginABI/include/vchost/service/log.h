/// @file Service "vc.log/1": structured log lines.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_LOG_H
#define VCHOST_SERVICE_LOG_H

#include "../abi.h"

#define VC_SERVICE_LOG "vc.log/1"

VC_BEGIN_DECLS

enum {
    VC_LOG_DEBUG = 1,
    VC_LOG_INFO = 2,
    VC_LOG_WARNING = 3,
    VC_LOG_ERROR = 4,
    VC_LOG_HOST_FAULT = 5,   ///< The host broke the contract: what it did, and what the contract says.
    VC_LOG_PLUGIN_FAULT = 6, ///< The plugin broke it. The host writes these; a plugin may, about itself.
};

typedef struct vc_log {
    uint32_t size;
    uint32_t reserved;

    /// Writes one line about `object`; 0 is the plugin as a whole. The line is copied and written by a thread of the
    /// host; when more than 1,000 wait, the newest are counted and dropped. No secrets, no words of callers above
    /// debug.
    void (*write)(vc_handle object, uint32_t level, vc_str message, const vc_field *VC_NULLABLE fields,
                  uint32_t field_count) VC_ANY;

    /// 1 when lines of this level are kept: spares the work of making those that are not.
    uint32_t (*enabled)(uint32_t level) VC_ANY;
} vc_log;

VC_END_DECLS

#endif

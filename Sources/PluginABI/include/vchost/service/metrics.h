/// @file Service "vc.metrics/1": numbers for the operator's dashboards.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_METRICS_H
#define VCHOST_SERVICE_METRICS_H

#include "../abi.h"

#define VC_SERVICE_METRICS "vc.metrics/1"

VC_BEGIN_DECLS

enum {
    VC_METRIC_COUNTER = 1,
    VC_METRIC_GAUGE = 2,
    VC_METRIC_HISTOGRAM = 3, ///< Of seconds or of bytes: the name ends with the unit, "_seconds", "_bytes".
};

typedef struct vc_metrics {
    uint32_t size;
    uint32_t reserved;

    /// Registers a metric of a provider, in `create` or `start`. At most 32; labels are the provider's and fixed.
    vc_status (*define)(vc_handle provider, uint32_t type, const char *name, const char *help,
                        vc_handle *metric) VC_CONTROL;

    /// Adds to a counter, sets a gauge, observes in a histogram. Wait-free.
    void (*record)(vc_handle metric, double value) VC_ANY;
} vc_metrics;

VC_END_DECLS

#endif

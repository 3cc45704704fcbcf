/// @file A call's speech: what is asked for, what is being said, and who may touch which.
// SPDX-License-Identifier: Apache-2.0
#ifndef SESSION_H
#define SESSION_H

#include <vchost/vchost.h>

/// What every session needs of the host.
typedef struct speech_host {
    const vc_host *host;
    const vc_task *task;
} speech_host;

/// Fills in `out`. `services` outlives the session, which speaks at `speed` times the normal speed.
vc_status session_open(const speech_host *services, const vc_open *request, double speed, vc_session *out);

#endif

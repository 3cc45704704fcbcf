/// The parts of the harness: a small host that is as strict as the contract.
// SPDX-License-Identifier: Apache-2.0
#ifndef TELEPHONY_HARNESS_HOST_H
#define TELEPHONY_HARNESS_HOST_H

#include <stdbool.h>
#include <stddef.h>

#include "vchost/vchost.h"

/// The handle under which the one provider is known; sessions count upwards from FIRST_SESSION.
enum { PROVIDER = 1, FIRST_SESSION = 1000, FIRST_MEDIA = 1000000 };

enum { TEXT = 256, MAX_SESSIONS = 20000, MAX_QUEUE = 1024, MAX_SETTINGS = 64 };

/// An event, copied out of `emit`.
typedef struct event {
    vc_handle object;
    uint32_t type;
    uint32_t number, code;
    char key[64], from[TEXT], display[TEXT], to[TEXT], peer[TEXT], text[TEXT];
} event;

const vc_host *host_make(void);
void host_set(const char *name, const char *value);
bool host_next_event(event *event, int timeout_ms); ///< False when none came in time.
uint64_t host_now_ms(void);
void host_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint32_t host_faults(void);
void host_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void host_print_metrics(void);
void host_starve(vc_handle session, uint32_t events); ///< `emit` says VC_E_AGAIN so many times.
void host_forget(vc_handle session);                  ///< The session was destroyed: its handle is stale.
vc_handle host_new_session(void);

const vc_media *media_make(void);
uint32_t media_open_count(void);

#endif

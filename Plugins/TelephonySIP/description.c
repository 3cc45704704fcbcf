/*  The one thing that a signalling plugin must know about a description: in which direction the peer wants audio to
    flow, because "the caller put us on hold" is an event of the call. Everything else in SDP is the media service's. A
    whole parser would be a second opinion on every offer, and could refuse what the media service takes.  */
// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <string.h>

#include "objects.h"

static bool line_is(const char *line, const char *end, const char *wanted) {
    while (end > line && (end[-1] == '\r' || end[-1] == ' ')) end--;
    return (size_t)(end - line) == strlen(wanted) && memcmp(line, wanted, (size_t)(end - line)) == 0;
}

/// The direction of the first audio line, from the peer's point of view; its own attribute goes before the session's
/// (RFC 8866, 6.7), and the old hold of RFC 2543 (c=0.0.0.0) counts as sendonly.
sip_direction sip_description_direction(const char *description) {
    sip_direction session = SIP_SENDRECV, media = SIP_SENDRECV;
    bool in_media = false, media_has_own = false, null_address = false, media_has_address = false;
    for (const char *line = description, *next; line && *line; line = next) {
        const char *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (!end) end = line + strlen(line);
        if (strncmp(line, "m=", 2) == 0) {
            if (in_media) break;
            in_media = strncmp(line, "m=audio", 7) == 0;
            if (!in_media) continue;
        }
        if (strncmp(line, "c=", 2) == 0 && !media_has_address) {
            null_address = line_is(line, end, "c=IN IP4 0.0.0.0");
            media_has_address = in_media;
        }
        static const char *const words[] = {"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"};
        for (sip_direction direction = SIP_SENDRECV; direction <= SIP_INACTIVE; direction++)
            if (line_is(line, end, words[direction])) {
                if (in_media) media = direction, media_has_own = true;
                else session = direction;
            }
    }
    const sip_direction direction = media_has_own ? media : session;
    return direction == SIP_SENDRECV && null_address ? SIP_SENDONLY : direction;
}

/// Makes our own offer one that puts the peer on hold. Both words are of the same length.
void sip_description_hold(char *description) {
    for (char *at = description; (at = strstr(at, "a=sendrecv")); at += 10) memcpy(at, "a=sendonly", 10);
}

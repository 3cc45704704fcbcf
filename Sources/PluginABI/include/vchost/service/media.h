/// @file Service "vc.media/1": RTP and SDP by the host's engine, for telephony plugins that only signal.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_SERVICE_MEDIA_H
#define VCHOST_SERVICE_MEDIA_H

#include "../abi.h"

#define VC_SERVICE_MEDIA "vc.media/1"

VC_BEGIN_DECLS

/*  One media session for each telephony session. The plugin carries descriptions between the peer and the host and
    never looks into them:

        the peer offers:  answer(media, offer, &ours)      ─► 200 with `ours`
        we offer:         offer(media, &ours)  ─► INVITE;  200 ─► accept(media, theirs)

    The same two serve a re-INVITE: hold, resume, a moved address, another codec. The text that they give belongs to the
    host and lives until the next call on the same media session. Digits in RTP go straight to the call and from it.  */

typedef struct vc_media {
    uint32_t size;
    uint32_t reserved;

    /// Takes a pair of ports for a telephony session. VC_E_AGAIN: none is free; decline the call with 503.
    vc_status (*open)(vc_handle session, vc_handle *media) VC_CONTROL;

    /// Answers the peer's description. VC_E_UNSUPPORTED: no codec in common, refuse with 488; VC_E_ARGUMENT: it is not
    /// SDP, refuse with 400. A session that was running goes on as before in both cases.
    vc_status (*answer)(vc_handle media, vc_str offer, vc_str *answer, vc_error *error) VC_CONTROL;

    /// Describes what we can do, for an INVITE or for a re-INVITE that came without a description.
    vc_status (*offer)(vc_handle media, vc_str *offer, vc_error *error) VC_CONTROL;

    /// Takes the peer's answer to our offer. Errors as of `answer`: end the call with BYE then.
    vc_status (*accept)(vc_handle media, vc_str answer, vc_error *error) VC_CONTROL;

    /// Stops sending and receiving. The ports rest before they are given to another call. A media session also ends
    /// with the telephony session that opened it.
    vc_status (*close)(vc_handle media) VC_CONTROL;
} vc_media;

VC_END_DECLS

#endif

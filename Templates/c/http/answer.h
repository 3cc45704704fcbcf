// One request to the vendor and what came back: status, bytes, or why there are none.
#ifndef ANSWER_H
#define ANSWER_H

#include <vchost/vchost.h>

/// As much as is kept of one answer: four minutes of speech at 16 kHz, or more words than anybody listens to.
enum { ANSWER_BYTES_MAX = 8 << 20 };

typedef struct answer {
    vc_handle session;
    void (*arrived)(void *context); ///< Called when there is more, or when it is complete.
    void *context;

    vc_handle exchange; ///< 0 when nothing is under way.
    int is_complete;    ///< Nothing more comes; see `failure`.
    uint64_t received;  ///< Bytes that came, kept or not.
    char *bytes;        ///< What is kept, `length` bytes.
    uint64_t length, capacity;

    vc_error failure; ///< `code` is VC_OK where all went well.
    char sentence[240];
    char refusal[1024]; ///< The beginning of what came with another status than 200, `received` bytes of it.
} answer;

/// Finds the services of the host. To be called in `create`; VC_E_UNSUPPORTED, with a sentence, where one is missing.
vc_status answer_prepare(const vc_host *host, const vc_config **config, vc_error *error);

/// Sends a request; `request->epoch` ends it. Where it cannot be sent the answer is complete at once, with its failure.
void answer_ask(answer *a, const vc_http_request *request);

/// Keeps more bytes. The vendor's own code calls it, with what it made of the bytes that came.
void answer_keep(answer *a, const void *bytes, uint64_t length);

/// Opens a connection ahead of the first question: a handshake takes longer than a caller likes to wait.
void answer_prewarm(vc_handle session, const char *url);

/// How many of these bytes are whole characters of UTF-8. Where one is no text, the answer ends before it, and fails.
uint64_t answer_text(answer *a, const char *bytes, uint64_t length);

/// Ends it with a failure of the given code and sentence.
void answer_fail(answer *a, vc_status code, const char *sentence);

/// Stops the request, if one is under way, and frees what was kept.
void answer_drop(answer *a);

/// What is told of the failure: an ERROR for `request`, after which the session goes on.
vc_status answer_report(const answer *a, uint64_t request, uint64_t epoch);

/// An event without a body.
vc_status emit_plain(vc_handle session, uint32_t type, uint64_t epoch, uint64_t request);

/// In vendor.c: takes the next bytes of an answer with status 200, and keeps what is to be used of them.
void vendor_answered(answer *a, vc_str bytes);

#endif

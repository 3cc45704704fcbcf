// Why a request failed, in the words of the contract and of gRPC at once: the status code of gRPC decides what the host
// does (wait, go elsewhere, tell the operator), and its name stays in the error, because a server's logs have it too.
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_FAILURE_HPP
#define GRPCKIT_FAILURE_HPP

#include <cstdint>
#include <string>
#include <string_view>

#include <vchost/vchost.h>

namespace grpckit {

/// How an RPC ended: the status code of gRPC (0 is OK), and the server's words.
struct Outcome {
    int code = 0;
    std::string message;
    bool is_ok() const { return code == 0; }
};

/// gRPC's status codes, as far as this code looks at them (grpc/status.h says the same, and takes seconds to compile).
enum : int {
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_ABORTED = 10,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

/// What an ERROR event says. `create` and `open` may throw it.
struct Failure {
    vc_status code;
    std::string sentence; ///< What happened, to what, and what to do about it. No secrets.
    bool is_retryable = false;
    std::string vendor_code{}; ///< The vendor's own code, unchanged: "UNAVAILABLE", "EMPTY_TEXT".
    std::string vendor{"grpc"};
    uint32_t protocol_status = 0;
    uint32_t retry_after_ms = 0;
};

/// "UNAVAILABLE" for 14.
const char *name_of(int grpc_code);

/// The failure that an RPC's end is, when it did not end well. `peer` names whom was asked.
Failure failure_of(const Outcome &outcome, const std::string &peer);

/// A server's words as an error may quote them: one line, at most 200 bytes, without `secret`.
std::string quotable(std::string_view words, std::string_view secret = {});

/// `error`, pointing into `failure`.
void fill(vc_error &error, const Failure &failure);

inline vc_str lend(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view borrow(vc_str text) {
    return text.length == 0 ? std::string_view{} : std::string_view(text.data, text.length);
}

} // namespace grpckit

#endif

// gRPC's status codes in the contract's words (Failure.hpp).
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Failure.hpp"

namespace grpckit {

const char *name_of(int code) {
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    };
    constexpr int count = sizeof names / sizeof names[0];
    return code >= 0 && code < count ? names[code] : "UNKNOWN";
}

static vc_status status_of(int code) {
    switch (code) {
    case GRPC_CANCELLED: // By the server, since nobody hears of those that we cancel.
    case GRPC_UNAVAILABLE: return VC_E_NETWORK;
    case GRPC_DEADLINE_EXCEEDED: return VC_E_TIMEOUT;
    case 7: // PERMISSION_DENIED
    case GRPC_UNAUTHENTICATED: return VC_E_AUTH;
    case 8: return VC_E_QUOTA; // RESOURCE_EXHAUSTED
    default: return VC_E_VENDOR;
    }
}

static const char *mend_of(int code) {
    switch (code) {
    case GRPC_UNAVAILABLE: return "; is it running, and `address` (and `tls`) right?";
    case GRPC_UNAUTHENTICATED: return "; is `token` set, and the server's?";
    case GRPC_UNIMPLEMENTED: return "; does another service listen at `address`?";
    default: return "";
    }
}

Failure failure_of(const Outcome &outcome, const std::string &peer) {
    Failure failure{status_of(outcome.code), peer + " answered " + name_of(outcome.code)};
    if (!outcome.message.empty()) failure.sentence += ": " + outcome.message;
    failure.sentence += mend_of(outcome.code);
    failure.vendor_code = name_of(outcome.code);
    failure.is_retryable = failure.code == VC_E_NETWORK || failure.code == VC_E_TIMEOUT || failure.code == VC_E_QUOTA
        || outcome.code == GRPC_ABORTED;
    return failure;
}

std::string quotable(std::string_view words, std::string_view secret) {
    std::string line(words);
    if (!secret.empty())
        for (size_t at; (at = line.find(secret)) != std::string::npos;) line.replace(at, secret.size(), "***");
    size_t length = line.size() < 200 ? line.size() : 200;
    while (length < line.size() && length > 0 && (line[length] & 0xC0) == 0x80) length--; // A whole character.
    line.resize(length);
    for (char &c : line)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
    return line;
}

void fill(vc_error &error, const Failure &failure) {
    error.size = sizeof error;
    error.code = failure.code;
    error.retryable = failure.is_retryable;
    error.retry_after_ms = failure.retry_after_ms;
    error.protocol_status = failure.protocol_status;
    error.message = lend(failure.sentence);
    error.vendor = lend(failure.vendor);
    error.vendor_code = lend(failure.vendor_code);
}

} // namespace grpckit

// One request to `text:synthesize`: all audio of a text at once. The fallback where streaming is not to be had.
//
// The host's callbacks and the session's worker are two threads. The request is therefore told of in jobs, and stays
// where it is until the host has said that it is over, or the session is gone.
// SPDX-License-Identifier: Apache-2.0
#ifndef TTSGOOGLE_REST_HPP
#define TTSGOOGLE_REST_HPP

#include <functional>
#include <optional>
#include <string>

#include <GrpcKit/Session.hpp>

struct RestVoice {
    std::string language, name;
    uint32_t rate_hz;
    double speaking_rate;
};

class RestRequest {
public:
    /// `over` is called on the worker's thread, with the samples or with why not.
    using Over = std::function<void(std::optional<std::string> samples, const grpckit::Failure &failure)>;

    RestRequest(grpckit::Session &session, uint64_t epoch, Over over)
        : session(session), epoch(epoch), over(std::move(over)) {}
    void start(const std::string &url, const std::string &text, const RestVoice &voice, const std::string &token);
    void cancel();
    bool is_over() const { return is_done; }

private:
    static void answered(void *context, vc_handle, uint32_t status, const vc_field *headers, uint32_t count);
    static void arrived(void *context, vc_handle, vc_str bytes);
    static void done(void *context, vc_handle, const vc_error *error);
    void finish(std::optional<std::string> samples, grpckit::Failure failure);
    void read();

    grpckit::Session &session;
    const uint64_t epoch;
    Over over;
    vc_handle exchange = 0;
    uint32_t status = 0; // The callbacks'.
    uint32_t retry_after_ms = 0;
    std::string body;    // The same.
    bool is_done = false;
};

/// The samples of a WAV file, whatever chunks it has; the text itself when it is none.
std::string_view samples_of(std::string_view wav);

#endif

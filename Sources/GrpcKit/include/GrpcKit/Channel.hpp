// A connection to one server, and RPCs on it, as bytes.
//
// gRPC's own headers stay out of this one: they take three seconds to compile, and a plugin needs five of their words.
// For the same reason there are no generated stubs. A message is generated from its .proto; a method is its path, and
// all methods are called as streams in both directions, which on the wire is what unary and half-streamed calls are
// too (gRPC over HTTP/2: one message and END_STREAM).
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_CHANNEL_HPP
#define GRPCKIT_CHANNEL_HPP

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "Failure.hpp"
#include "Worker.hpp"

namespace grpckit {

/// Where a server is, and how to talk to it. From the settings; every plugin here has the same ones.
struct Endpoint {
    std::string address; ///< "host:port", IPv6 in brackets.
    bool is_tls = false;
    std::string root_certificates; ///< PEM; empty: those of the system.
    std::string tls_name;          ///< Under which the server's certificate is checked; empty: the host of `address`.
    uint32_t connect_ms = 3000;
    uint32_t keepalive_ms = 20'000; ///< 0: none.
    uint32_t reconnect_max_ms = 5000;
};

using Metadata = std::vector<std::pair<std::string, std::string>>;

class Call;

/// Whom a call tells. All of it on the worker's thread.
class CallUser {
public:
    virtual ~CallUser() = default;
    /// A message came; the next one comes after `read`.
    virtual void received(Call &call, std::string_view message) = 0;
    /// The last word of the call, which may be destroyed in it. Not after it was destroyed.
    virtual void ended(Call &call, const Outcome &outcome) = 0;
};

/// What a call may take.
struct Patience {
    uint32_t whole_ms = 60'000; ///< gRPC's deadline: the server learns of it too.
    uint32_t first_ms = 0;      ///< For the first message, from the first `read`; 0: no limit of its own.
    uint32_t next_ms = 0;       ///< For each later one, from its `read`; 0: no limit of its own.
};

class Channel {
public:
    /// Nothing is connected yet.
    Channel(Endpoint endpoint, Worker &worker);
    ~Channel();

    /// On the worker's thread, as all that follows: connects, if it is not connected; returns at once. Without free
    /// descriptors nothing happens, and calls end with RESOURCE_EXHAUSTED.
    void connect();

    /// Starts an RPC of "/package.Service/Method".
    std::unique_ptr<Call> call(const std::string &method, const Metadata &metadata, const Patience &patience,
                               CallUser &user);

    /// "the server at 127.0.0.1:50051", for errors.
    std::string peer() const { return "the server at " + endpoint.address; }

    Worker &worker;

private:
    struct Parts;
    Endpoint endpoint;
    std::unique_ptr<Parts> parts;
    bool is_used = false;
};

/// One RPC. To destroy it is to cancel it: the server is told by RST_STREAM at once, and nothing more is heard of it.
class Call {
public:
    ~Call();
    Call(const Call &) = delete;

    /// Sends a message, when those before it are sent.
    void send(std::string message);
    /// Half-closes, behind the last message.
    void finish();
    /// Asks for the next message. Without it the server is held up by HTTP/2's flow control.
    void read();

    /// Messages that wait for the connection.
    size_t unsent() const;
    bool is_over() const { return is_ended; }

private:
    friend class Channel;
    struct Rpc;
    Call(Worker &worker, CallUser &user, const Patience &patience) : worker(worker), user(user), patience(patience) {}
    void arrived(bool is_message);
    void done(const Outcome &outcome);
    void end(const Outcome &outcome);
    void await(uint32_t ms, const char *what);

    Worker &worker;
    CallUser &user;
    const Patience patience;
    std::shared_ptr<Rpc> rpc;
    Worker::TimerId timer = 0;
    bool is_begun = false; // The first message came.
    bool is_ended = false;
};

} // namespace grpckit

#endif

// RPCs on Debian's grpc++, through its generic stub and its callback API (Channel.hpp).
//
// The life of an RPC is gRPC's: it lasts until OnDone, on a thread of gRPC's. The `Call` that a session holds may go
// earlier; it then leaves the RPC cancelled and alone. What a reaction learns is posted to the worker, which alone
// starts operations; a hold (AddHold) keeps OnDone back until the worker has said that it starts no more.
// SPDX-License-Identifier: Apache-2.0
#include "GrpcKit/Channel.hpp"

#include <deque>

#include <fcntl.h>
#include <unistd.h>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace grpckit {

using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;

/// As long as a server's message may be: half a minute of speech at 48 kHz, 4 MiB as gRPC has it itself.
constexpr int MESSAGE_BYTES_MAX = 4 << 20;

struct Channel::Parts {
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<Stub> stub;
};

using Reactor = grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

struct Call::Rpc final : Reactor, std::enable_shared_from_this<Rpc> {
    grpc::ClientContext context;
    std::shared_ptr<Inbox> inbox;
    std::shared_ptr<Rpc> self; // Until OnDone.

    // The worker's:
    Call *call = nullptr;
    Worker *worker = nullptr; // Whose thread the jobs are done on; a job that is done has one.
    bool is_over = false;
    std::deque<grpc::ByteBuffer> outgoing; // The first is being written.
    bool is_finishing = false, is_finished = false, is_held = true, is_reading = false, is_broken = false;
    // Written by gRPC while an operation runs, read by the worker when it is done:
    grpc::ByteBuffer incoming;

    void write_next() {
        if (is_broken || !is_held) return;
        if (!outgoing.empty()) {
            StartWrite(&outgoing.front());
        } else if (is_finishing && !is_finished) {
            is_finished = true;
            StartWritesDone();
        }
    }

    void release() {
        if (!is_held) return;
        is_held = false;
        RemoveHold();
    }

    void OnReadDone(bool is_message) override {
        inbox->post([rpc = shared_from_this(), is_message] {
            rpc->is_reading = false;
            if (!is_message) rpc->release();
            if (rpc->call != nullptr) rpc->call->arrived(is_message);
        });
    }

    void OnWriteDone(bool is_written) override {
        inbox->post([rpc = shared_from_this(), is_written] {
            rpc->is_broken |= !is_written;
            if (!rpc->outgoing.empty()) rpc->outgoing.pop_front();
            rpc->write_next();
        });
    }

    void OnDone(const grpc::Status &status) override {
        Outcome outcome{status.error_code(), quotable(status.error_message())};
        inbox->post([rpc = shared_from_this(), outcome = std::move(outcome)]() mutable {
            rpc->is_over = true;
            if (rpc->call != nullptr) return rpc->call->done(outcome);
            Worker &worker = *rpc->worker;
            rpc.reset(); // With gRPC's memory, before anybody is told that it is given back.
            worker.buried();
        });
        self.reset(); // With the job, or here.
    }
};

/// What gRPC opens for itself when it is first used, twice over. Without them it ends the process.
static constexpr int DESCRIPTORS = 16;

/// Whether so many descriptors are free. A host that is full is refused gRPC, and not brought down by it.
static bool has_descriptors() {
    int opened[DESCRIPTORS], count = 0;
    while (count < DESCRIPTORS) {
        const int descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (descriptor < 0) break;
        opened[count++] = descriptor;
    }
    const bool has_all = count == DESCRIPTORS;
    while (count > 0) close(opened[--count]);
    return has_all;
}

Channel::Channel(Endpoint endpoint, Worker &worker) : worker(worker), endpoint(std::move(endpoint)) {}

Channel::~Channel() = default;

void Channel::connect() {
    if (!parts) {
        if (!has_descriptors()) return;
        grpc::ChannelArguments arguments;
        arguments.SetMaxReceiveMessageSize(MESSAGE_BYTES_MAX);
        arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
        arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, static_cast<int>(endpoint.connect_ms));
        arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, static_cast<int>(endpoint.reconnect_max_ms));
        arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0); // The environment is not the configuration.
        // Two providers of one address are two connections: one that is stuck takes no other with it.
        arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
        if (endpoint.keepalive_ms > 0) {
            arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(endpoint.keepalive_ms));
            arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5000);
        }
        std::shared_ptr<grpc::ChannelCredentials> credentials;
        if (endpoint.is_tls) {
            grpc::SslCredentialsOptions options;
            options.pem_root_certs = endpoint.root_certificates;
            credentials = grpc::SslCredentials(options);
            if (!endpoint.tls_name.empty()) arguments.SetSslTargetNameOverride(endpoint.tls_name);
        } else {
            credentials = grpc::InsecureChannelCredentials();
        }
        parts = std::make_unique<Parts>();
        parts->channel = grpc::CreateCustomChannel(endpoint.address, credentials, arguments);
        parts->stub = std::make_unique<Stub>(parts->channel);
    }
    parts->channel->GetState(true);
}

std::unique_ptr<Call> Channel::call(const std::string &method, const Metadata &metadata, const Patience &patience,
                                    CallUser &user) {
    connect();
    std::unique_ptr<Call> call(new Call(worker, user, patience));
    auto rpc = std::make_shared<Call::Rpc>();
    rpc->inbox = worker.inbox;
    rpc->worker = &worker;
    rpc->call = call.get();
    call->rpc = rpc;
    // The first call opens the queues that all others share.
    if (!parts || (!is_used && !has_descriptors())) {
        rpc->is_broken = true;
        rpc->is_held = false;
        rpc->is_over = true;
        worker.inbox->post([rpc] {
            if (rpc->call != nullptr) rpc->call->done({8, "this process has no free file descriptors"});
        });
        return call;
    }
    is_used = true;
    rpc->self = rpc;
    for (const auto &[name, value] : metadata) rpc->context.AddMetadata(name, value);
    rpc->context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                           gpr_time_from_millis(patience.whole_ms, GPR_TIMESPAN)));
    parts->stub->PrepareBidiStreamingCall(&rpc->context, method, grpc::StubOptions(), rpc.get());
    rpc->AddHold();
    rpc->StartCall();
    return call;
}

Call::~Call() {
    worker.forget(timer);
    rpc->call = nullptr;
    if (!rpc->is_over) worker.orphaned();
    rpc->context.TryCancel();
    // Without a read under way nothing else would tell that it is over.
    rpc->release();
}

void Call::send(std::string message) {
    if (rpc->is_finishing || rpc->is_broken) return;
    const grpc::Slice slice(message);
    rpc->outgoing.emplace_back(&slice, 1);
    if (rpc->outgoing.size() == 1) rpc->write_next();
}

void Call::finish() {
    if (rpc->is_finishing) return;
    rpc->is_finishing = true;
    if (rpc->outgoing.empty()) rpc->write_next();
}

void Call::read() {
    if (is_ended || rpc->is_reading || !rpc->is_held) return;
    rpc->is_reading = true;
    rpc->StartRead(&rpc->incoming);
    if (is_begun) await(patience.next_ms, "no more came of its answer");
    else await(patience.first_ms, "its answer did not begin");
}

size_t Call::unsent() const { return rpc->outgoing.size(); }

void Call::await(uint32_t ms, const char *what) {
    worker.forget(timer);
    if (ms == 0) return;
    timer = worker.after(ms, [this, ms, what] {
        rpc->context.TryCancel();
        end({GRPC_DEADLINE_EXCEEDED, std::string(what) + " within " + std::to_string(ms) + " ms"});
    });
}

void Call::arrived(bool is_message) {
    worker.forget(timer);
    if (!is_message || is_ended) return; // OnDone is next.
    is_begun = true;
    grpc::Slice slice;
    if (!rpc->incoming.TrySingleSlice(&slice).ok() && !rpc->incoming.DumpToSingleSlice(&slice).ok()) return;
    rpc->incoming.Clear();
    user.received(*this, {reinterpret_cast<const char *>(slice.begin()), slice.size()}); // May destroy the call.
}

void Call::done(const Outcome &outcome) { end(outcome); }

void Call::end(const Outcome &outcome) {
    if (is_ended) return;
    is_ended = true;
    worker.forget(timer);
    user.ended(*this, outcome); // May destroy the call.
}

} // namespace grpckit

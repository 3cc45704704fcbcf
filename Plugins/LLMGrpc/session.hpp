// One call's conversation with the model: its requests, each an RPC of its own.
// SPDX-License-Identifier: Apache-2.0
#ifndef LLMGRPC_SESSION_HPP
#define LLMGRPC_SESSION_HPP

#include <list>

#include <GrpcKit/Session.hpp>

#include "conversation.hpp"
#include "stop_text.hpp"

/// The settings, as every session of the provider has them.
struct Defaults {
    Options options;
    int history_turns = 4;
    grpckit::Patience patience;
    int retries = 1;
};

class ModelSession;

/// A request, from its question to its DONE.
struct Answer final : grpckit::CallUser {
    Answer(ModelSession &session, uint64_t number, uint64_t epoch) : session(session), number(number), epoch(epoch) {}
    void received(grpckit::Call &, std::string_view message) override;
    void ended(grpckit::Call &, const grpckit::Outcome &outcome) override;

    ModelSession &session;
    const uint64_t number, epoch;
    std::string question;        ///< The message, for another attempt.
    grpckit::Metadata metadata;  ///< The same; dropped when the answer begins.
    StopText stop;
    std::unique_ptr<grpckit::Call> call;
    int retries = 0;
    bool is_begun = false, is_done = false;
};

class ModelSession final : public grpckit::Session {
public:
    ModelSession(grpckit::Provider &provider, const vc_open &request, const Defaults &defaults)
        : Session(provider, request), defaults(defaults) {}

    vc_status request(const vc_llm_request &request);

protected:
    void canceled(uint64_t epoch) override;
    void closing() override { answers.clear(); }
    void resumed() override;

private:
    friend struct Answer;
    void ask(Answer &answer);
    void say(const Answer &answer, std::string text);
    void finish(Answer &answer);
    void fail(Answer &answer, const grpckit::Failure &failure);
    void remove(Answer &answer);

    const Defaults &defaults;
    std::list<Answer> answers; // A list, because an RPC knows its answer's address.
    std::atomic<int> open_answers{0};
};

#endif

// One call's recogniser: an RPC for each utterance, audio out as it comes, words in.
//
// An utterance has a stream of its own because the service's only way to ask for the last words is `{"eof":1}`, which
// ends the stream. On one HTTP/2 connection that costs a header frame. The stream's audio is kept until its text is
// there, so one that breaks is made anew and told all of it again.
//
// A tentative question ends the stream too. What follows it is another part of the same utterance, with a stream of its
// own that is begun only if there is more than silence in it; the text of the parts before it stands before its own.
// Telling a new stream the whole utterance again was refused: the answer to the second question would be as late as the
// utterance is long.
// SPDX-License-Identifier: Apache-2.0
#ifndef STTGRPC_SESSION_HPP
#define STTGRPC_SESSION_HPP

#include <list>
#include <optional>

#include <GrpcKit/Session.hpp>

struct RecogniserSettings {
    bool wants_words = true;
    std::vector<std::string> phrases;
    uint32_t chunk_ms = 40, finalize_ms = 3000, utterance_seconds_max = 60;
    int retries = 2;
};

class RecogniserSession;

struct Word {
    std::string text;
    uint64_t start, end;
    float confidence;
};

/// An utterance, or a part of one: from `begin`, or a tentative question, to the answer of the next question.
struct Utterance final : grpckit::CallUser {
    Utterance(RecogniserSession &session, uint64_t number, uint64_t start)
        : session(session), number(number), first(start), start(start) {}
    ~Utterance() override;
    void received(grpckit::Call &, std::string_view message) override;
    void ended(grpckit::Call &, const grpckit::Outcome &outcome) override;
    /// No louder than a line's noise, or than an eighth of what was said before.
    bool is_silent() const { return peak < 328 || peak * 8 < peak_before; }

    RecogniserSession &session;
    const uint64_t number;           ///< The contract's.
    uint64_t first;                  ///< Position of the utterance's first sample.
    uint64_t start;                  ///< Of this part's.
    bool is_continuation = false;    ///< There are parts before it.
    Utterance *previous = nullptr;   ///< The part before it, while its text is still to come.
    std::string before;              ///< The text of all of those.
    std::vector<Word> words_before;
    int peak = 0, peak_before = 0;   ///< The loudest sample, of this part and of those before it.
    std::string audio;            ///< All of it, for another stream.
    size_t sent = 0;              ///< Bytes of it that this stream was told.
    size_t forgotten = 0;         ///< Bytes before it: of an utterance that is too long to be told again.
    grpckit::Metadata metadata;
    std::unique_ptr<grpckit::Call> call;
    int retries = 0;
    std::optional<grpckit::Failure> failure; ///< Why there is no stream and will be none.

    std::string said, partial; ///< What is final of this stream, and what is not.
    std::vector<Word> words;
    float confidence_sum = 0;
    int confidence_count = 0;

    bool is_asked = false;    ///< A finalize waits.
    bool is_answered = false; ///< Its own text is complete; that before it is not.
    uint64_t request = 0, end = 0, epoch = 0;
    grpckit::Worker::TimerId timer = 0; ///< Of the answer, or of the next attempt.
};

class RecogniserSession final : public grpckit::Session {
public:
    RecogniserSession(grpckit::Provider &provider, const vc_open &request, const RecogniserSettings &settings)
        : Session(provider, request), settings(settings), rate_hz(request.rate_hz ? request.rate_hz : 16'000) {}

    vc_status begin(uint64_t utterance, uint64_t position);
    vc_status push(const vc_frame &frame);
    vc_status finalize(uint64_t request, uint64_t position, bool is_tentative);

protected:
    void canceled(uint64_t epoch) override;
    void closing() override;

private:
    friend struct Utterance;
    grpckit::Metadata lend_credentials(std::optional<grpckit::Failure> &refused);
    void append(const std::string &samples, uint64_t position);
    void begin_at(uint64_t number, uint64_t position, grpckit::Metadata metadata,
                  const std::optional<grpckit::Failure> &refused);
    void ask(uint64_t request, uint64_t position, bool is_tentative);
    Utterance &continue_after(Utterance &utterance);
    void connect(Utterance &utterance);
    void send(Utterance &utterance, bool all);
    void hear(Utterance &utterance, std::string_view message);
    void lose(Utterance &utterance, const grpckit::Failure &failure, bool may_retry);
    void await_answer(Utterance &utterance);
    void emit_transcript(const Utterance &utterance, bool is_final, std::string text);
    void answer(Utterance &utterance);
    void pass_on(Utterance &utterance, const std::string &text);
    void remove(Utterance &utterance);

    const RecogniserSettings &settings;
    const uint32_t rate_hz;
    std::atomic<uint64_t> queued_bytes{0}; // Audio that was taken and not yet looked at.
    std::string recent;                    // The last seconds outside of utterances: `begin` reaches back.
    uint64_t recent_end = 0;               // Position after its last sample.
    Utterance *current = nullptr;          // That which audio goes to; one of `utterances`, or none.
    std::list<Utterance> utterances;       // With those that wait for their text. A list: RPCs know their addresses.
};

#endif

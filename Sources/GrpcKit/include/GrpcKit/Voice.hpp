// A voice's session: pieces of text in, audio out, in order. What two voices behind gRPC have in common.
//
// One RPC says one utterance: a piece of a request, or all of it, as the service wants it. The RPC behind the one that
// is being heard is begun already, so that there is no gap between them; its audio is not read before its turn, and
// stands in HTTP/2's window until then. So little is ever kept here, and a host without credit holds up the server and
// not this process.
// SPDX-License-Identifier: Apache-2.0
#ifndef GRPCKIT_VOICE_HPP
#define GRPCKIT_VOICE_HPP

#include <list>
#include <optional>

#include "Session.hpp"

namespace grpckit {

class Voice;

/// What one RPC says.
struct Utterance : CallUser {
    Utterance(Voice &voice, uint64_t request, uint64_t epoch) : voice(voice), request(request), epoch(epoch) {}
    void received(Call &, std::string_view message) override;
    void ended(Call &, const Outcome &outcome) override;

    Voice &voice;
    const uint64_t request, epoch;
    std::string text;           ///< All of it until now.
    Metadata metadata;          ///< For another attempt; dropped with the first audio.
    bool is_whole = false;      ///< No more text will be added.
    bool is_last = false;       ///< It ends its request.
    uint64_t text_start = 0;    ///< In the request's text.
    std::unique_ptr<Call> call; ///< Empty before it is begun, and when there is nothing to say.
    bool is_begun = false;
    bool is_said = false; ///< The server has completed it; its status is still to come.
    bool is_done = false;
    int retries = 0;
    std::string half;     ///< The first byte of a sample that was cut in two.
    uint64_t samples = 0; ///< Handed over.
    int32_t rate_hz = 0;
    std::optional<std::string> fetched; ///< All of its audio at once, from elsewhere than an RPC; said in its turn.
};

class Voice : public Session {
public:
    Voice(Provider &provider, const vc_open &request, int retries)
        : Session(provider, request), call_rate_hz(request.rate_hz), retries(retries) {}

    /// The slot.
    vc_status speak(uint64_t request, uint64_t epoch, vc_str text, uint32_t flags);
    /// `vc_tts_ops`, whose session is a Voice.
    static const vc_tts_ops ops;

protected:
    /// Whether it may begin now; who says no calls `advance` when it may.
    virtual bool may_begin(Utterance &) { return true; }
    /// Begins the utterance's RPC, with the text that it has.
    virtual void begin(Utterance &utterance) = 0;
    /// `piece` was added to its text. Only where utterances are whole requests.
    virtual void added(Utterance &, const std::string &) {}
    /// No more text will be added.
    virtual void completed(Utterance &) {}
    /// A message of the server: calls `play` or `fail`, and sets `is_said` where the server says that it is complete.
    virtual void heard(Utterance &utterance, std::string_view message) = 0;
    /// The RPC is over, and the utterance was not said. The default fails, or tries again while nothing was heard.
    virtual void lost(Utterance &utterance, const Outcome &outcome);
    /// Whether one RPC says all pieces of a request.
    virtual bool says_requests_whole() const { return false; }
    /// What an RPC of the next slot's request carries; VC_CONTROL. May throw a Failure.
    virtual Metadata credentials() { return provider.credentials(handle); }

    /// Hands audio over: 16 bit, little-endian, cut anywhere.
    void play(Utterance &utterance, std::string_view audio, uint32_t rate_hz);
    void fail(Utterance &utterance, const Failure &failure);
    /// Begins again what has said nothing yet.
    void begin_anew(Utterance &utterance);
    /// Begins what is next, and reads what is first. After whatever changes.
    void advance();

    void canceled(uint64_t epoch) override;
    void closing() override { utterances.clear(); }
    void resumed() override { advance(); }

    const uint32_t call_rate_hz;
    const int retries;
    std::list<Utterance> utterances; // A list, because an RPC knows its utterance's address.

private:
    friend struct Utterance;
    struct Piece {
        uint64_t request, epoch;
        std::string text;
        bool is_last;
        Metadata metadata;
        std::optional<Failure> refused;
    };
    void take(Piece &piece);
    void retire();
    void emit_canceled(const Utterance &utterance);
    void emit_mark(const Utterance &utterance, uint64_t position);

    std::atomic<int> waiting{0}; // Pieces that were taken and are not said.
    uint64_t incoming = UINT64_MAX, text_length = 0; // The request that comes in, and its text until now.
    uint64_t failed = UINT64_MAX;                    // The one that failed: the rest of its text is not wanted.
    uint64_t position = 0;                           // Samples of the request that is being said.
    uint64_t sequence = 0;                           // Frames of the session.
};

} // namespace grpckit

#endif

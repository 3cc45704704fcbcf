// plugin-name: a voice that a server speaks. This file is the kind, line.cpp the contract of every kind; what is
// asked of whom is in vendor.cpp.
//
// Pieces of text stand in a line. The server is asked for the first and, as soon as that is complete, for the second;
// `advance` hands the host what it has room for and stays where it has none, and `credit` or more audio calls it again.

#include <algorithm>
#include <list>
#include <optional>

#include "vendor.hpp"

namespace {

constexpr size_t PIECES_MAX = 256;

/// A stretch of a request's text, and its audio.
struct Piece {
    Piece(Session &session, uint64_t request, uint64_t epoch, std::string_view text, uint64_t text_start, bool is_last)
        : request(request), epoch(epoch), text(text), text_start(text_start), is_last(is_last), answer(session) {
        // Of blanks no voice has anything to say.
        is_asked = answer.is_complete = text.find_first_not_of(" \t\r\n") == text.npos;
    }

    const uint64_t request, epoch;
    const std::string text;
    const uint64_t text_start; // In bytes of the request's text.
    const bool is_last;
    bool is_asked, is_marked = false;
    uint64_t said = 0; // Bytes of its audio that the host has taken.
    Answer answer;
};

class Voice final : public Work {
public:
    explicit Voice(const vc_open &request) : rate_hz(request.rate_hz) {}

    vc_status speak(Session &session, uint64_t request, uint64_t epoch, std::string_view text, bool is_last) {
        advance(session); // What a cancel has left behind goes first, and it may end this very request.
        if (const vc_status status = session.check(epoch); status != VC_OK) return status;
        if (failed == request) return VC_E_CANCELED;
        if (pieces.size() == PIECES_MAX) return VC_E_AGAIN;
        if (incoming != request) incoming = request, text_length = 0;
        pieces.emplace_back(session, request, epoch, text, text_length, is_last);
        text_length += text.size();
        advance(session);
        return VC_OK;
    }

    void advance(Session &session) override {
        while (!pieces.empty()) {
            ask(session);
            const Piece &piece = pieces.front();
            const uint64_t request = piece.request;
            vc_status status = session.check(piece.epoch);
            if (status == VC_OK) status = say(session);
            if (status == VC_E_AGAIN || status == STILL_COMING) return;
            const bool is_failed = status != VC_OK || piece.answer.failure;
            pieces.pop_front();
            if (!is_failed) continue;
            // Cancelled, or its ERROR stands in place of DONE: the rest of the request is not wanted.
            failed = request;
            pieces.remove_if([request](const Piece &other) { return other.request == request; });
        }
    }

    void clear() override { pieces.clear(); }

private:
    /// The first piece is asked for, and the second as soon as the first has all of its audio.
    void ask(Session &session) {
        int count = 0;
        for (Piece &piece : pieces) {
            if (++count > 2 || session.check(piece.epoch) != VC_OK) return;
            if (!piece.is_asked) {
                piece.is_asked = true;
                session.vendor.ask(piece.answer, piece.epoch, rate_hz, piece.text);
            }
            if (!piece.answer.is_complete) return;
        }
    }

    /// Says what there is of the first piece. VC_OK: it is said.
    vc_status say(Session &session) {
        Piece &piece = pieces.front();
        const Answer &answer = piece.answer;
        const uint64_t frame_bytes = rate_hz / 10 * 2; // 100 ms.
        if (saying != piece.request) saying = piece.request, position = 0;
        while (answer.bytes.size() - piece.said >= (answer.is_complete ? 2 : frame_bytes)) {
            const uint64_t bytes = std::min(frame_bytes, (answer.bytes.size() - piece.said) / 2 * 2);
            vc_frame frame{};
            frame.size = sizeof frame;
            frame.format = VC_FORMAT_S16;
            frame.rate_hz = rate_hz;
            frame.channels = 1;
            frame.samples = static_cast<uint32_t>(bytes / 2);
            frame.sequence = sequence;
            frame.position = position;
            frame.epoch = piece.epoch;
            frame.data = answer.bytes.data() + piece.said;
            frame.bytes = bytes;
            auto audio = make_event<vc_event_audio>(VC_EVENT_AUDIO, piece.epoch, piece.request);
            audio.frame = &frame;
            // VC_E_AGAIN: the same frame again after `credit`.
            if (const vc_status status = session.emit(audio.head); status != VC_OK) return status;
            sequence++, position += bytes / 2, piece.said += bytes;
        }
        if (!answer.is_complete) return STILL_COMING;
        if (answer.failure) return session.report(*answer.failure, piece.epoch, piece.request);
        if (piece.said > 0 && !piece.is_marked) {
            auto mark = make_event<vc_event_mark>(VC_EVENT_MARK, piece.epoch, piece.request);
            mark.text_start = piece.text_start;
            mark.text_end = piece.text_start + piece.text.size();
            mark.position = position - piece.said / 2;
            mark.end = position;
            if (const vc_status status = session.emit(mark.head); status != VC_OK) return status;
            piece.is_marked = true;
        }
        if (!piece.is_last) return VC_OK;
        auto done = make_event<vc_event_tts_done>(VC_EVENT_TTS_DONE, piece.epoch, piece.request);
        done.reason = VC_TTS_COMPLETE;
        done.samples = position;
        return session.emit(done.head);
    }

    const uint32_t rate_hz;
    std::list<Piece> pieces;          // A list, because an Answer stays where it is.
    uint64_t sequence = 0;            // Frames of the session.
    std::optional<uint64_t> saying;   // The request that is being said, and how many samples of it were.
    uint64_t position = 0;
    std::optional<uint64_t> incoming; // The request that is coming in, and how much of its text came.
    uint64_t text_length = 0;
    std::optional<uint64_t> failed; // A request that ended with an error; more of its text is not wanted.
};

vc_status speak(vc_self self, uint64_t request, uint64_t epoch, vc_str text, uint32_t flags) {
    return control<Voice>(self, [&](Session &session, Voice &voice) {
        return voice.speak(session, request, epoch, borrow(text), (flags & VC_TTS_LAST) != 0);
    });
}

constexpr vc_tts_ops tts_ops{sizeof(vc_tts_ops), 0, speak};

} // namespace

extern "C" VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *host, const vc_module **module) {
    *module = make_module(host, VC_KIND_TTS, "org.example.plugin-name", &tts_ops, make_work<Voice>);
    return VC_OK;
}

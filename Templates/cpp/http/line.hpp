// The line to the host: sessions, events, requests to the vendor. What is of one kind is in plugin-name.cpp.
//
// The host calls a session by one slot at a time, answers of the vendor included, so `Work` needs no lock; only
// `cancel` may come at any moment, and it touches nothing but an atomic. An exception never crosses the line: `control`
// makes a status of it.
#ifndef LINE_HPP
#define LINE_HPP

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <vchost/vchost.h>

class Vendor;
class Session;

/// More of an answer has yet to arrive: what a step answers besides the contract's codes.
constexpr vc_status STILL_COMING = 1;

inline vc_str lend(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view borrow(vc_str text) { return text.length == 0 ? "" : std::string_view(text.data, text.length); }

/// Why something failed: whose affair it is, and one sentence that names the thing, the value and the mend. `create`
/// may throw it.
struct Failure {
    vc_status code;
    std::string sentence;
    bool is_retryable = false;
    uint32_t retry_after_ms = 0;
    uint32_t protocol_status = 0;
    std::string vendor_code{}; ///< The vendor's own code: the first thing that its support asks for.
};

/// An event with its head filled in and the rest zero.
template <class Event> Event make_event(uint32_t type, uint64_t epoch, uint64_t request) {
    Event event{};
    event.head.size = sizeof event;
    event.head.type = type;
    event.head.epoch = epoch;
    event.head.request = request;
    return event;
}

/// What came back of one request to the vendor. It cannot be moved: the host holds its address until it is destroyed,
/// which stops the request.
class Answer {
public:
    /// What is asked; all of it is copied before `ask` returns.
    struct Request {
        std::string_view method, url;
        std::vector<std::pair<std::string_view, std::string_view>> headers;
        std::string_view body;
        uint64_t epoch;
        uint32_t first_byte_ms, deadline_ms;
    };

    explicit Answer(Session &owner) : owner(owner) {}
    ~Answer();
    Answer(const Answer &) = delete;
    Answer &operator=(const Answer &) = delete;

    /// Sends a request. Where it cannot be sent the answer is complete at once, with its failure.
    void ask(const Request &request);
    /// Keeps more bytes; `Vendor::answered` calls it, with what it made of those that came.
    void keep(std::string_view more);
    void fail(Failure why);
    /// How many of these bytes are whole characters of UTF-8. Where one is no text, the answer fails.
    size_t whole_characters(std::string_view text);

    bool is_complete = false;
    uint64_t received = 0; ///< Bytes that came, kept or not.
    std::string bytes;     ///< What is kept.
    std::unique_ptr<Failure> failure;

private:
    friend struct AnswerEvents;
    Session &owner;
    vc_handle exchange = 0;
    std::string refusal; ///< The beginning of what came with another status than 200.
};

/// What a session does: the part that differs from kind to kind.
class Work {
public:
    virtual ~Work() = default;
    /// Hands the host what there is and what it has room for.
    virtual void advance(Session &session) = 0;
    /// Forgets everything, requests to the vendor included.
    virtual void clear() = 0;
};

class Session {
public:
    Session(const Vendor &vendor, const vc_open &request, std::unique_ptr<Work> work);

    vc_status emit(const vc_event &head) const;
    vc_status emit_plain(uint32_t type, uint64_t epoch, uint64_t request) const;
    /// What is told of a failure: an ERROR for `request`, after which the session goes on.
    vc_status report(const Failure &failure, uint64_t epoch, uint64_t request) const;
    /// Opens a connection ahead of the first question: a handshake takes longer than a caller likes to wait.
    void prewarm(std::string_view url) const;
    /// VC_OK, or why nothing of `epoch` is wanted any more.
    vc_status check(uint64_t epoch) const;

    const Vendor &vendor;
    const vc_handle handle;
    std::atomic<uint64_t> epoch; ///< Raised by `cancel`, on any thread; UINT64_MAX once closed.
    const std::unique_ptr<Work> work;
};

/// Runs a slot on the session's own turn; what it throws becomes a status.
template <class Kind, class Body> vc_status control(vc_self self, Body body) noexcept {
    try {
        auto &session = *static_cast<Session *>(self);
        return body(session, static_cast<Kind &>(*session.work));
    } catch (const std::bad_alloc &) {
        return VC_E_MEMORY;
    } catch (...) {
        return VC_E_INTERNAL;
    }
}

/// The settings of a provider, as the manifest's `config` declares them.
class Settings {
public:
    explicit Settings(vc_handle provider) : provider(provider) {}
    std::string text(const char *key) const;
    int64_t integer(const char *key, int64_t otherwise) const;

private:
    vc_handle provider;
};

/// The work of a session of one kind.
template <class Kind> std::unique_ptr<Work> make_work(const vc_open &request) {
    return std::make_unique<Kind>(request);
}

/// The module for the entry function; what is passed is the kind's.
const vc_module *make_module(const vc_host *host, std::string_view kind, std::string_view id, const void *kind_ops,
                             std::unique_ptr<Work> (*maker)(const vc_open &));

#endif

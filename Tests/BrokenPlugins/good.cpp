// The voice of tts.c once more, as C++ writes it, with the faults that only C++ can commit. See broken.h.
// SPDX-License-Identifier: Apache-2.0
//
// What is C++ here: state in objects that free themselves, and every slot behind `guarded`, because an exception that
// leaves it ends the process: no frame above knows what to do with it.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <iostream>
#include <locale>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include "broken.h"

VC_MANIFEST(JSON({
    "manifest": 1, "id": "org.vchost.good-cpp", "version": "1.0.0", "title": "A voice in C++",
    "license": "Apache-2.0", "abi": {"major": 1, "minor": 0, "hostMinorMin": 0}, "runtime": {"language": "c++"},
    "isolation": "worker", "secrets": [], "network": [], "files": [], "providers": [{
        "kind": "vc.tts/1", "id": "org.vchost.good-cpp",
        "capabilities": {"rates": [8000, 16000], "formats": ["s16"]},
        "config": {"type": "object", "additionalProperties": false, "properties": {
            "word_ms": {"type": "integer", "default": 200, "minimum": 20, "maximum": 1000,
                "description": "Length of a word."}}},
        "session": {"type": "object", "additionalProperties": false, "properties": {}},
        "timing": {"readyTimeoutMs": 1000}
    }]
}));

#if BREAKS(VC_ELF_18)
/// A static member of a visible template is one for the whole process.
template <class Value> struct VC_EXPORT Shared { static inline Value value; };
#endif

#if BREAKS(VC_ELF_29)
// Replaced for the plugin, and for every library that is loaded after it.
void *operator new(size_t bytes) {
    if (void *memory = std::calloc(1, std::max<size_t>(bytes, 1))) return memory;
    throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
#endif

namespace {

constexpr size_t REQUESTS_MAX = 64;
const vc_host *host;

/// Emits at the end of the program, through a host that is no more.
struct Farewell {
    vc_handle handle = 0;
    ~Farewell() {
        vc_event event{};
        event.size = sizeof event;
        event.type = VC_EVENT_DRAINED;
        host->emit(handle, &event);
    }
};

/// What a thread waits for that nobody ends.
void wait_for_ever() {
    for (;;) ::pause();
}

#if BREAKS(VC_LOAD_12)
const std::vector<float> wave_table(2 << 20, 0.5f);
#endif

#if BREAKS(VC_LOAD_07)
const bool is_watched = (std::thread(wait_for_ever).detach(), true);
#endif

template <class Body> vc_status guarded(Body &&body) noexcept {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return VC_E_MEMORY;
    } catch (...) {
        return VC_E_INTERNAL;
    }
}

template <class Event> Event made(uint32_t type, uint64_t epoch, uint64_t request) {
    Event event{};
    event.head.size = sizeof event;
    event.head.type = type;
    event.head.epoch = epoch;
    event.head.request = request;
    return event;
}

struct Provider {
    vc_handle handle;
    uint32_t word_ms = 200, sessions = 0;
    bool is_draining = false;

    void say_when_drained() const {
        vc_event event{};
        event.size = sizeof event;
        event.type = VC_EVENT_DRAINED;
        if (is_draining && sessions == 0) host->emit(handle, &event);
    }
};

struct Request {
    uint64_t number, epoch;
    std::string text;
    size_t said = 0;
    uint64_t samples_left = 0, position = 0; // Of the word that is being said, and of the whole.
    bool is_complete = false;

    /// Takes the next word. False: there is none yet, or none any more.
    bool begin_word(uint64_t samples) {
        const size_t start = text.find_first_not_of(' ', said);
        if (start == text.npos) return false;
        const size_t end = text.find(' ', start);
        if (end == text.npos && !is_complete) return false;
        said = end == text.npos ? text.size() : end;
        samples_left = samples;
        return true;
    }
};

class Session {
public:
    Session(Provider &owner, const vc_open &request)
        : owner(owner), handle(request.session), rate_hz(request.rate_hz), epoch(request.epoch) {
        owner.sessions++;
    }
    Session(const Session &) = delete;
    ~Session() {
        if (BREAKS(VC_LIFE_31)) tell(VC_EVENT_CANCELED, epoch);
        owner.sessions--;
        owner.say_when_drained();
    }

    vc_status speak(uint64_t number, uint64_t at, std::string_view text, bool is_last) {
        if (is_closed) return VC_E_CLOSED;
        if (BREAKS(VC_MEM_04) && !latest.empty()) KEEP(uint64_t(latest.front()));
        if (BREAKS(VC_MEM_04) && text.size() < 64) latest = text;
        if (requests.empty() || requests.back().number != number || requests.back().is_complete) {
            if (requests.size() == REQUESTS_MAX) return VC_E_AGAIN;
            requests.push_back({number, at, {}});
        }
        requests.back().text += text;
        requests.back().is_complete = is_last;
        advance();
        return VC_OK;
    }

    void advance() {
        while (!requests.empty()) {
            Request &request = requests.front();
            vc_status status = request.epoch < epoch ? VC_E_CANCELED : VC_OK;
            while (status == VC_OK && (request.samples_left > 0 || request.begin_word(word_samples()))) status = say(request);
            if (status == VC_E_AGAIN || (status == VC_OK && !request.is_complete)) return;
            auto done = made<vc_event_tts_done>(VC_EVENT_TTS_DONE, request.epoch, request.number);
            done.reason = status == VC_OK ? VC_TTS_COMPLETE : VC_TTS_CANCELED;
            done.samples = request.position;
            host->emit(handle, &done.head);
            requests.pop_front();
        }
    }

    void cancel(uint64_t at) {
        uint64_t known = epoch;
        while (known < at && !epoch.compare_exchange_weak(known, at)) {}
        if (known < at && !is_closed) tell(VC_EVENT_CANCELED, at);
    }

    void close() {
        is_closed = true;
        if (BREAKS(VC_LIFE_09) && !requests.empty()) std::thread{wait_for_ever}; // Neither joined nor detached.
        requests.clear();
        tell(VC_EVENT_CLOSED, epoch);
    }

    void tell(uint32_t type, uint64_t at) const {
        vc_event event{};
        event.size = sizeof event;
        event.type = type;
        event.epoch = at;
        host->emit(handle, &event);
    }

private:
    uint64_t word_samples() const { return uint64_t{rate_hz} / 1000 * owner.word_ms; }

    vc_status say(Request &request) {
        std::vector<int16_t> samples(std::min<uint64_t>(rate_hz / 50, request.samples_left));
        for (size_t i = 0; i < samples.size(); i++) samples[i] = (request.position + i) % 20 < 10 ? 4000 : -4000;
        vc_frame frame{};
        frame.size = sizeof frame;
        frame.format = VC_FORMAT_S16;
        frame.rate_hz = rate_hz;
        frame.channels = 1;
        frame.samples = static_cast<uint32_t>(samples.size());
        frame.sequence = sequence;
        frame.position = request.position;
        frame.epoch = request.epoch;
        frame.data = samples.data();
        frame.bytes = samples.size() * 2;
        auto audio = made<vc_event_audio>(VC_EVENT_AUDIO, request.epoch, request.number);
        audio.frame = &frame;
        const vc_status status = host->emit(handle, &audio.head);
        if (status != VC_OK) return status;
        sequence++;
        request.position += samples.size();
        request.samples_left -= samples.size();
        return VC_OK;
    }

    Provider &owner;
    const vc_handle handle;
    const uint32_t rate_hz;
    std::atomic<uint64_t> epoch;
    std::atomic<bool> is_closed{false};
    uint64_t sequence = 0;
    std::deque<Request> requests;
    std::string_view latest;
};

Session &session(vc_self self) { return *static_cast<Session *>(self); }

vc_status speak(vc_self self, uint64_t request, uint64_t epoch, vc_str borrowed, uint32_t flags) {
    const std::string_view text(borrowed.length ? borrowed.data : "", borrowed.length);
    if (BREAKS(VC_ENVI_01)) std::cout << "speaking " << text.size() << " bytes" << std::endl;
    if (BREAKS(VC_ENVI_06)) std::locale::global(std::locale("C.UTF-8"));
    if (BREAKS(VC_MEM_02) && !text.empty()) KEEP(uint64_t(text[text.size()])); // Of a std::string it would be '\0'.
    if (BREAKS(VC_ROB_01)) KEEP(uint64_t(text.at(0)));
    char copy[BREAKS(VC_ROB_03) ? 65536 : 1];
    if (BREAKS(VC_ROB_03)) KEEP(text.copy(copy, text.size()));
    return guarded([&] { return session(self).speak(request, epoch, text, flags & VC_TTS_LAST); });
}

constexpr vc_tts_ops tts_ops{sizeof(vc_tts_ops), 0, speak};

constexpr vc_session_ops session_ops = [] {
    vc_session_ops ops{};
    ops.size = sizeof ops;
    ops.cancel = [](vc_self self, uint64_t epoch) { session(self).cancel(epoch); };
    ops.credit = [](vc_self self, uint32_t, uint64_t) { guarded([self] { return session(self).advance(), VC_OK; }); };
    ops.close = [](vc_self self) { session(self).close(); };
    ops.destroy = [](vc_self self) { delete &session(self); };
    return ops;
}();

/// Lets nobody else work in the home directory, and takes a second copy of this library for somebody else.
bool is_alone() {
    static const char *home = std::getenv("HOME");
    static const bool is_taken =
        home && ::open((std::string(home) + "/voice.lock").c_str(), O_CREAT | O_EXCL, 0600) < 0 && errno == EEXIST;
    return !is_taken;
}

/// Writes where a library is, which is no place for data.
void keep_a_cache() {
    Dl_info info;
    if (dladdr(&host, &info)) std::ofstream(std::string(info.dli_fname) + ".cache") << "words=0";
}

/// Calls itself again until it succeeds, and so owns itself.
void forget_to_break_the_cycle() {
    const auto retry = std::make_shared<std::function<void()>>();
    *retry = [retry, buffer = std::array<char, 4096>{}] { KEEP(&buffer); };
}

vc_status create(const vc_create *request, vc_self *out, vc_error *) {
    const auto home = BREAKS(VC_LOAD_03) ? std::string(std::getenv("HOME")) : std::string();
    return guarded([&] {
        auto provider = std::make_unique<Provider>(Provider{request->provider});
        int64_t word_ms = provider->word_ms;
        const auto config = static_cast<const vc_config *>(host->service(VC_SERVICE_CONFIG));
        if (config) config->integer(request->provider, "word_ms", &word_ms);
        provider->word_ms = static_cast<uint32_t>(word_ms);
#if BREAKS(VC_ROB_04)
        static Farewell farewell;
        farewell.handle = request->provider;
#elif BREAKS(VC_ROB_04_thread)
        thread_local Farewell farewell;
        farewell.handle = request->provider;
#elif BREAKS(VC_ELF_18)
        Shared<int>::value++;
#endif
        if (BREAKS(VC_HOT_01) && !is_alone()) return VC_E_STATE;
        if (BREAKS(VC_LOAD_02)) keep_a_cache();
        *out = provider.release();
        return VC_OK;
    });
}

void drain(vc_self self) {
    static_cast<Provider *>(self)->is_draining = true;
    static_cast<Provider *>(self)->say_when_drained();
}

void destroy(vc_self self) { delete static_cast<Provider *>(self); }

vc_status open(vc_self self, const vc_open *request, vc_session *out, vc_error *error) {
    static const vc_str other_rate = VC_STR("the voice speaks at 8000 and 16000 Hz; open it with one of them");
    if (request->rate_hz != 8000 && request->rate_hz != 16000) {
        error->code = VC_E_UNSUPPORTED;
        error->message = other_rate;
        return BREAKS(VC_ERR_01) ? std::make_error_code(std::errc::not_supported).value() : VC_E_UNSUPPORTED;
    }
    return guarded([&] {
        if (BREAKS(VC_MEM_06)) forget_to_break_the_cycle();
        if (BREAKS(VC_MEM_09)) std::thread(wait_for_ever).detach();
        const auto session = new Session(*static_cast<Provider *>(self), *request);
        out->state = session;
        out->ops = &session_ops;
        out->kind_ops = &tts_ops;
        session->tell(VC_EVENT_READY, request->epoch);
        return VC_OK;
    });
}

constexpr vc_provider voice{sizeof(vc_provider), 0, VC_STR(VC_KIND_TTS), VC_STR("org.vchost.good-cpp"), create,
                            nullptr, drain, destroy, open, nullptr};
constexpr const vc_provider *providers[] = {&voice};
constexpr vc_module module{sizeof(vc_module), VC_ABI_MINOR, 0, 1, providers};

} // namespace

#if BREAKS(VC_ELF_02)
namespace acme { // Where it is another function than the one that the header declares.
#else
extern "C" {
#endif
VC_EXPORT vc_status vc_plugin_entry_v1(const vc_host *from, const vc_module **out) {
    host = from;
    if (BREAKS(VC_ENT_12)) Provider{0, 0, 0, true}.say_when_drained();
    *out = &module;
    return VC_OK;
}
}

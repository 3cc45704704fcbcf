// What the rest of the plugin wants from the vendor: one question, and its answer's bytes.
#ifndef VENDOR_HPP
#define VENDOR_HPP

#include "line.hpp"

/// Of one section of the configuration, shared by the sessions of all its calls. Constant once it is made.
class Vendor {
public:
    /// Reads the settings; throws a Failure where one cannot work.
    explicit Vendor(const Settings &settings);

    /// Asks what is said in `count` samples.
    void ask(Answer &answer, uint64_t epoch, uint32_t rate_hz, const int16_t *samples, uint64_t count) const;
    /// Takes the next bytes of an answer with status 200, and keeps what is to be used of them.
    static void answered(Answer &answer, std::string_view bytes);

    std::string url;
};

#endif

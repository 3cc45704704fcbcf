// What the rest of the plugin wants from the vendor: one question, and its answer's bytes.
#ifndef VENDOR_HPP
#define VENDOR_HPP

#include "line.hpp"

/// Of one section of the configuration, shared by the sessions of all its calls. Constant once it is made.
class Vendor {
public:
    /// Reads the settings; throws a Failure where one cannot work.
    explicit Vendor(const Settings &settings);

    /// Asks for the answer to a conversation: a JSON array of messages in the shape of OpenAI's chat.
    void ask(Answer &answer, const vc_llm_request &question) const;
    /// Takes the next bytes of an answer with status 200, and keeps what is to be used of them.
    static void answered(Answer &answer, std::string_view bytes);
    /// An answer is complete: fails it where its end is missing.
    static void ended(Answer &answer);

    std::string url;
};

#endif

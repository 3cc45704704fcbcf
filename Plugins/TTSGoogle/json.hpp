// JSON as Google's REST and OAuth need it: a few members out, a few in. protobuf's own parser does the work.
// SPDX-License-Identifier: Apache-2.0
#ifndef TTSGOOGLE_JSON_HPP
#define TTSGOOGLE_JSON_HPP

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

class Json {
public:
    /// An object, or nothing.
    static std::optional<Json> parse(std::string_view text);
    /// An object of texts and numbers.
    static std::string object(std::initializer_list<std::pair<const char *, std::string>> texts,
                              std::initializer_list<std::pair<const char *, double>> numbers = {});

    /// A text at a path with dots, "error.message"; empty when there is none.
    std::string text(std::string_view path) const;
    /// A number, also one that is written as a text.
    std::optional<double> number(std::string_view path) const;

private:
    struct Value;
    std::shared_ptr<const Value> root;
};

#endif

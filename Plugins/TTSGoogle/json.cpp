// google.protobuf.Struct, behind json.hpp.
// SPDX-License-Identifier: Apache-2.0
#include "json.hpp"

#include <cstdlib>

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

struct Json::Value {
    google::protobuf::Struct object;

    const google::protobuf::Value *find(std::string_view path) const {
        const google::protobuf::Struct *at = &object;
        for (;;) {
            const size_t dot = path.find('.');
            const auto found = at->fields().find(std::string(path.substr(0, dot)));
            if (found == at->fields().end()) return nullptr;
            if (dot == std::string_view::npos) return &found->second;
            if (!found->second.has_struct_value()) return nullptr;
            at = &found->second.struct_value();
            path.remove_prefix(dot + 1);
        }
    }
};

std::optional<Json> Json::parse(std::string_view text) {
    auto value = std::make_shared<Value>();
    const auto read = google::protobuf::util::JsonStringToMessage({text.data(), text.size()}, &value->object);
    if (!read.ok()) return std::nullopt;
    Json json;
    json.root = std::move(value);
    return json;
}

std::string Json::object(std::initializer_list<std::pair<const char *, std::string>> texts,
                         std::initializer_list<std::pair<const char *, double>> numbers) {
    google::protobuf::Struct object;
    for (const auto &[name, text] : texts) (*object.mutable_fields())[name].set_string_value(text);
    for (const auto &[name, number] : numbers) (*object.mutable_fields())[name].set_number_value(number);
    std::string json;
    (void)google::protobuf::util::MessageToJsonString(object, &json);
    return json;
}

std::string Json::text(std::string_view path) const {
    const auto *found = root->find(path);
    return found != nullptr && found->has_string_value() ? found->string_value() : "";
}

std::optional<double> Json::number(std::string_view path) const {
    const auto *found = root->find(path);
    if (found == nullptr) return std::nullopt;
    if (found->has_number_value()) return found->number_value();
    if (!found->has_string_value() || found->string_value().empty()) return std::nullopt;
    char *end = nullptr;
    const double number = std::strtod(found->string_value().c_str(), &end);
    if (*end != '\0') return std::nullopt;
    return number;
}

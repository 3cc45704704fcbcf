// How a vendor is asked for its voices, as the manifest of its plugin describes it under `x-voices-at`.
//
// A description and no code of the plugin, because the contract has no function that lists voices, and a plugin that is
// only asked for a list should not have to be started. It says what a GET looks like and where in the answer a voice's
// members stand; a vendor that needs more than that, an exchange of keys say, is told by the manifest's own list alone.
//
//     "x-voices-at": {"base": "url", "path": "/voices?limit=100", "headers": {"Authorization": "Bearer {api_key}"},
//                     "list": "data", "page": "starting_after", "fields": {"language": "locale.tag"}}
//
// `base` names the setting with the vendor's address, of which the origin counts, and `{api_key}` is the setting of
// that name; without the setting that `needs` names nobody is asked. `list` leads to an array of voices, or to an
// object whose keys are their ids.

import JSON
import Providers

struct VendorVoiceList: Equatable {
    struct Problem: Error, Equatable {
        let message: String
    }

    let url: String
    /// A field whose setting is empty is left out. May hold references to secrets.
    let headers: [String: String]
    private let list: String
    private let page: String
    private let fields: [String: String]

    /// - Parameters:
    ///   - description: the capability `x-voices-at`.
    ///   - settings: those of the provider's section.
    init(_ description: JSONValue, settings: JSONValue) throws(Problem) {
        let base = description["base"]?.string ?? "url"
        guard let address = settings[base]?.string, let origin = Self.origin(of: address) else {
            throw Problem(message: "`\(base)` has no address to ask")
        }
        if let needed = description["needs"]?.string, (settings[needed]?.string ?? "").isEmpty {
            throw Problem(message: "its vendor lists voices for a `\(needed)` only, and none is set")
        }
        url = origin + (description["path"]?.string ?? "/voices")
        var headers: [String: String] = [:]
        for (name, value) in description["headers"]?.object ?? [:] {
            guard let value = value.string else { continue }
            headers[name] = Self.filled(value, settings)
        }
        self.headers = headers
        list = description["list"]?.string ?? ""
        page = description["page"]?.string ?? ""
        fields = (description["fields"]?.object ?? [:]).compactMapValues(\.string)
    }

    /// "https://host:1" of "wss://host:1/path".
    private static func origin(of address: String) -> String? {
        let schemes = ["ws": "http", "wss": "https", "http": "http", "https": "https"]
        guard let end = address.firstRange(of: "://"), let scheme = schemes[String(address[..<end.lowerBound])] else {
            return nil
        }
        let host = address[end.upperBound...].prefix { !"/?#".contains($0) }
        return host.isEmpty || host.contains("@") ? nil : "\(scheme)://\(host)"
    }

    /// `{NAME}` replaced; nil when that setting is not there, or empty.
    private static func filled(_ text: String, _ settings: JSONValue) -> String? {
        guard let open = text.firstIndex(of: "{"), let close = text[open...].firstIndex(of: "}") else { return text }
        guard let value = settings[String(text[text.index(after: open)..<close])]?.string, !value.isEmpty else {
            return nil
        }
        return text[..<open] + value + text[text.index(after: close)...]
    }

    // MARK: Pages

    /// The address of the page behind a voice; nil for the first.
    func url(after last: String?) -> String {
        guard let last else { return url }
        let safe = last.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"&#%+".utf8.contains($0) }
        // An id that an address cannot hold would ask for something else: the first page ends the list.
        return safe ? url + (url.contains("?") ? "&" : "?") + "\(page)=\(last)" : url
    }

    /// The voices of an answer, and the id behind which the next page begins, if there is one.
    func read(_ body: [UInt8]) throws(Problem) -> (voices: [ListedVoice], next: String?) {
        let answer: JSONValue
        do throws(JSONSyntaxError) { answer = try JSONValue(parsing: String(decoding: body, as: UTF8.self)) } catch {
            throw Problem(message: "its list is no JSON: \(error.description)")
        }
        let found = list.isEmpty ? answer : Self.value(at: list, of: answer)
        let entries: [(id: String?, value: JSONValue)]
        if let array = found?.array {
            entries = array.map { (nil, $0) }
        } else if let members = found?.object {
            entries = members.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        } else {
            throw Problem(message: "its answer has no list\(list.isEmpty ? "" : " `\(list)`")")
        }
        let voices = entries.prefix(ListedVoice.listMax).compactMap { entry in voice(entry.value, id: entry.id) }
        let hasMore = !page.isEmpty && answer["has_more"]?.bool == true
        return (voices, hasMore ? voices.last?.id : nil)
    }

    private func voice(_ entry: JSONValue, id: String?) -> ListedVoice? {
        func text(_ member: String) -> String {
            let text = Self.value(at: fields[member] ?? member, of: entry)?.string ?? ""
            return String(text.prefix(Self.textMax))
        }
        let id = id ?? text("id")
        guard !id.isEmpty else { return nil }
        return ListedVoice(
            id: id, name: text("name"), language: Self.tag(text("language")), gender: Self.gender(text("gender")),
            description: text("description"))
    }

    /// A name or a description; what is longer is an essay.
    private static let textMax = 400

    /// "a.b" is a member of a member; of an array the first element counts.
    private static func value(at path: String, of value: JSONValue) -> JSONValue? {
        var value = value
        for key in path.split(separator: ".") {
            guard let member = value[String(key)] else { return nil }
            value = member
        }
        // But the list itself is one.
        if let first = value.array?.first, first.string != nil { return first }
        return value
    }

    /// "tr-TR" of the "tr_TR" that Piper writes.
    private static func tag(_ language: String) -> String { String(language.map { $0 == "_" ? "-" : $0 }) }

    /// The vendors' words for the same three.
    private static func gender(_ word: String) -> String {
        switch word.lowercased() {
        case "female", "feminine", "f": "female"
        case "male", "masculine", "m": "male"
        case "neutral", "gender_neutral": "neutral"
        default: ""
        }
    }
}

// What a plugin sent to its vendor, with the views of it that a script compares: the query, the JSON of the body, the
// fields of a form.
//
// A form is taken apart strictly (RFC 7578, RFC 2046 section 5.1): the lenient parsers of real services differ, and a
// plugin that one of them forgives fails with the next.

import JSON

/// A request of HTTP, or the upgrade of a WebSocket.
public struct VendorRequest: Sendable, Equatable {
    public var method: String
    public var url: String
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]

    public init(
        _ method: String, _ url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = []
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }

    public static func == (one: Self, other: Self) -> Bool {
        one.method == other.method && one.url == other.url && one.body == other.body
            && one.headers.elementsEqual(other.headers) { $0 == $1 }
    }

    /// The first header of this name, whatever its case.
    public func header(_ name: String) -> String? {
        let name = name.lowercased()
        return headers.first { $0.name.lowercased() == name }?.value
    }

    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The body, when it is JSON.
    public var json: JSONValue? { body.withUnsafeBufferPointer { try? JSONValue(parsing: $0) } }

    /// The values of the query, percent-decoded.
    public var query: [String: String] {
        guard let start = url.firstIndex(of: "?") else { return [:] }
        return Self.parameters(url[url.index(after: start)...].prefix { $0 != "#" })
    }

    /// The fields of a form, `multipart/form-data` or `application/x-www-form-urlencoded`; nil: it is none, or is
    /// broken.
    public var fields: [String: [UInt8]]? {
        guard let type = header("content-type") else { return nil }
        if type.lowercased().hasPrefix("application/x-www-form-urlencoded") {
            return Self.parameters(text[...]).mapValues { Array($0.utf8) }
        }
        guard type.lowercased().hasPrefix("multipart/form-data"), let found = type.firstRange(of: "boundary=") else {
            return nil
        }
        let boundary = type[found.upperBound...].prefix { $0 != ";" }.filter { $0 != "\"" }
        return boundary.isEmpty ? nil : Self.parts(of: body, boundary: String(boundary))
    }

    static func parts(of body: [UInt8], boundary: String) -> [String: [UInt8]]? {
        let delimiter = Array("\r\n--\(boundary)".utf8)
        let whole = Array("\r\n".utf8) + body
        var fields: [String: [UInt8]] = [:]
        guard whole.starts(with: delimiter), var start = Optional(delimiter.count) else { return nil }
        while true {
            // "--" after a delimiter ends the form; a line break begins a part.
            if whole[start...].starts(with: "--".utf8) { return fields }
            guard whole[start...].starts(with: "\r\n".utf8),
                let headEnd = index(of: Array("\r\n\r\n".utf8), in: whole, from: start),
                let end = index(of: delimiter, in: whole, from: headEnd + 4)
            else { return nil }
            let head = String(decoding: whole[(start + 2)..<headEnd], as: UTF8.self)
            guard let name = head.firstMatch(of: /(?i)content-disposition: *form-data; *name="([^"]*)"/)?.1 else {
                return nil
            }
            fields[String(name)] = Array(whole[(headEnd + 4)..<end])
            start = end + delimiter.count
        }
    }

    private static func index(of needle: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        guard start <= bytes.count - needle.count else { return nil }
        for index in start...(bytes.count - needle.count) where bytes[index] == needle[0] {
            if bytes[index..<(index + needle.count)].elementsEqual(needle) { return index }
        }
        return nil
    }

    private static func parameters(_ text: Substring) -> [String: String] {
        var parameters: [String: String] = [:]
        for part in text.split(separator: "&") {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            parameters[decoded(sides[0])] = sides.count > 1 ? decoded(sides[1]) : ""
        }
        return parameters
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension JSONValue {
    /// Whether everything that `wanted` says is so here: members of objects may be more, arrays are as long, and a text
    /// between slashes is a regular expression. Nil: it is not; else the named groups.
    func match(subset wanted: JSONValue, _ variables: [String: String]) -> [String: String]? {
        switch (self, wanted) {
        case (.object(let mine), .object(let theirs)):
            var found: [String: String] = [:]
            for (name, value) in theirs.sorted(by: { $0.key < $1.key }) {
                guard let groups = mine[name]?.match(subset: value, variables) else { return nil }
                found.merge(groups) { _, last in last }
            }
            return found
        case (.array(let mine), .array(let theirs)):
            guard mine.count == theirs.count else { return nil }
            var found: [String: String] = [:]
            for (one, other) in zip(mine, theirs) {
                guard let groups = one.match(subset: other, variables) else { return nil }
                found.merge(groups) { _, last in last }
            }
            return found
        case (.string(let mine), .string(let theirs)):
            return (try? ScriptPattern(theirs, .whole))?.match(mine, variables)
        default:
            if let one = number, let other = wanted.number { return one == other ? [:] : nil }
            return self == wanted ? [:] : nil
        }
    }

    /// The value at a JSON pointer (RFC 6901), "/messages/0/content".
    func at(pointer: String) -> JSONValue? {
        var value = self
        for part in pointer.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
            let name = String(part).replacing("~1", with: "/").replacing("~0", with: "~")
            if let elements = value.array {
                // RFC 6901 has "-" for the element after the last; here it is the last, which scripts need.
                guard let index = name == "-" ? elements.count - 1 : Int(name), elements.indices.contains(index) else {
                    return nil
                }
                value = elements[index]
            } else {
                guard let member = value[name] else { return nil }
                value = member
            }
        }
        return value
    }

    /// Texts with their variables filled in. A text that is nothing but one port becomes a number, as settings want it.
    func filled(_ variables: [String: String]) -> JSONValue {
        switch self {
        case .string(let text):
            if text == "{{plugin.port}}" || text == "{{peer.port}}",
                let port = variables[String(text.dropFirst(2).dropLast(2))].flatMap({ Int64($0) })
            {
                return .integer(port)
            }
            return .string(ScriptVariables.fill(text, variables))
        case .array(let elements): return .array(elements.map { $0.filled(variables) })
        case .object(let members): return .object(members.mapValues { $0.filled(variables) })
        default: return self
        }
    }

    /// Every variable that is named in a text of it.
    var variableNames: [String] {
        switch self {
        case .string(let text): ScriptVariables.names(in: text)
        case .array(let elements): elements.flatMap(\.variableNames)
        case .object(let members): members.sorted { $0.key < $1.key }.flatMap(\.value.variableNames)
        default: []
        }
    }
}

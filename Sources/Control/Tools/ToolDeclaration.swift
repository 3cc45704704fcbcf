// [tool.NAME]: a function that the language model may call, and the HTTP request that it becomes.
//
//   arguments of the model ─► checked ─► URL, header fields, body ─► (HostServices sends) ─► status and body ─► result
//
// Both ends are values here. Arguments that the URL names in braces go into its path or query, percent-encoded; the
// rest is the query of a GET or DELETE, and the JSON body of everything else. The server's name cannot be an argument:
// a caller who talks the model into another one would have the host ask it, with the operator's credentials.

import Calls
import JSON

/// A function tool, as [tool.NAME] declares it.
public struct ToolDeclaration: Sendable {
    public static let nameBytesMax = 64

    public let name: String
    public let parameters: JSONValue
    private let description: String
    private let method: String
    private let url: String
    private let headers: [(name: String, value: String)]
    public let timeoutMs: Int
    public let resultBytesMax: Int

    /// Of a section that has passed its review.
    public init(_ section: Configuration.Section, in configuration: Configuration) {
        name = String(section.name.dropFirst("tool.".count))
        description = configuration.text(section.name, "description")
        parameters = (try? JSONValue(parsing: configuration.text(section.name, "parameters"))) ?? [:]
        method = configuration.text(section.name, "method")
        url = configuration.text(section.name, "url")
        headers = Self.headers(configuration.text(section.name, "headers")).compactMap { $0.field }
        timeoutMs = configuration.integer(section.name, "timeout_ms")
        resultBytesMax = configuration.integer(section.name, "result_bytes_max")
    }

    /// As a language model is told of it, in the shape of OpenAI's chat.
    public var offer: JSONValue {
        [
            "type": "function",
            "function": ["name": .string(name), "description": .string(description), "parameters": parameters],
        ]
    }

    /// Names of the secrets in its header fields.
    public var secrets: [String] { headers.flatMap { ConfigurationReview.secretNames(in: $0.value) } }

    // MARK: A call

    /// What is sent.
    public struct Request: Sendable, Equatable {
        public var method: String
        public var url: String
        /// Of the configuration; `${secret:NAME}` is put in when they are sent.
        public var headers: [String: String]
        /// Of the call: said by callers, so nothing is put into them.
        public var context: [String: String]
        public var body: [UInt8]
    }

    /// The request for a call of the model. Throws what the model is told in the place of a result.
    public func request(_ call: ToolCall, for identity: CallIdentity) throws(ToolFailure) -> Request {
        guard let arguments = (try? JSONValue(parsing: call.arguments))?.object else {
            throw ToolFailure(.arguments, "the arguments of \(name) are no JSON object")
        }
        for required in parameters["required"]?.array?.compactMap(\.string) ?? [] where arguments[required] == nil {
            throw ToolFailure(.arguments, "\(name) needs \"\(required)\"")
        }
        var rest = arguments
        var address = try filled(arguments, taking: &rest)
        var body: [UInt8] = []
        var headers: [String: String] = [:]
        if method == "GET" || method == "DELETE" {
            for (key, value) in rest.sorted(by: { $0.key < $1.key }) {
                address += address.contains("?") ? "&" : "?"
                address += Self.encoded(key) + "=" + Self.encoded(Self.plain(value))
            }
        } else {
            headers["Content-Type"] = "application/json"
            body = Array(JSONValue.object(rest).text.utf8)
        }
        for field in self.headers { headers[field.name] = field.value }
        return Request(
            method: method, url: address, headers: headers,
            context: [
                "VCHost-Call": identity.id, "VCHost-Profile": identity.profile,
                "VCHost-Caller": Self.printable(identity.caller), "VCHost-Callee": Self.printable(identity.callee),
            ], body: body)
    }

    /// The result that the model is given for an answer of the tool's server.
    public func result(status: Int, body: [UInt8]) -> ToolResult {
        let text = String(decoding: body, as: UTF8.self)
        guard (200..<300).contains(status) else {
            let words = text.prefix(200)
            return .failed(ToolFailure(.refused, "it answered with \(status)" + (words.isEmpty ? "" : ": \(words)")))
        }
        return .json(text.isEmpty ? #"{"ok":true}"# : text)
    }

    private func filled(_ arguments: [String: JSONValue], taking rest: inout [String: JSONValue]) throws(ToolFailure)
        -> String
    {
        var out = ""
        var left = url[...]
        while let open = left.firstIndex(of: "{"), let close = left[open...].firstIndex(of: "}") {
            let key = String(left[left.index(after: open)..<close])
            guard let value = arguments[key] else { throw ToolFailure(.arguments, "\(name) needs \"\(key)\"") }
            rest[key] = nil
            let plain = Self.plain(value)
            // A path of dots leads elsewhere, however it is written.
            guard !plain.isEmpty, plain != ".", plain != ".." else {
                throw ToolFailure(.arguments, "\"\(key)\" of \(name) cannot be \"\(plain)\"")
            }
            out += left[..<open] + Self.encoded(plain)
            left = left[left.index(after: close)...]
        }
        return out + left
    }

    private static func plain(_ value: JSONValue) -> String { value.string ?? value.text }

    /// RFC 3986, section 2.3: all but the unreserved characters.
    static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF")
        return text.utf8.reduce(into: "") { out, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                out.append(Character(UnicodeScalar(byte)))
            default: out += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
    }

    private static func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 0x20 && $0.value < 0x7f }.prefix(256)))
    }

    // MARK: What the review asks

    /// A line of `headers`: a field, or what is wrong with it.
    enum HeaderLine {
        case field(name: String, value: String)
        case wrong(String)

        var field: (name: String, value: String)? {
            if case .field(let name, let value) = self { (name, value) } else { nil }
        }
    }

    static func headers(_ text: String) -> [HeaderLine] {
        text.split(separator: "\n").map { line in
            guard let colon = line.firstIndex(of: ":"), colon > line.startIndex else {
                return .wrong("\"\(line)\" is no header field; write Name: value, one a line")
            }
            return .field(
                name: String(line[..<colon].trimmed), value: String(line[line.index(after: colon)...].trimmed))
        }
    }

    /// What is wrong with the address of a tool, or nil.
    static func objection(toURL url: String) -> String? {
        guard let scheme = ["http://", "https://"].first(where: url.hasPrefix) else {
            return url.isEmpty ? "url is needed" : "url is \"\(url)\"; it must begin with http:// or https://"
        }
        let authority = url.dropFirst(scheme.count).prefix { !"/?#".contains($0) }
        if authority.isEmpty { return "url names no server" }
        return authority.contains("{") ? "url: the server cannot be an argument" : nil
    }
}

// A vendor that calls: it sends requests to the paths that the plugin serves ("vc.server/1"), reads the answers, and
// opens WebSockets there. Its dialogues begin with a request, and go on over the WebSocket in the words that a vendor
// has who is called (`VendorSocketScript`).
//
// Such vendors sign what they send, over addresses with tickets in them that the plugin made up a moment before. So a
// signature cannot stand in a script as it is: a step says what is signed, and with which made-up key.

import JSON
import Providers

/// A request of the vendor's.
public struct ServedRequest: Sendable, Equatable {
    /// HMAC-SHA256 (RFC 2104), in Base64.
    struct Signature: Sendable, Equatable {
        var header: String
        var key: String
        var text: String
    }

    var method = "POST"
    /// With its query.
    var path = ""
    var headers: [(name: String, value: String)] = []
    /// Values of a form by name; nil: `body`.
    var form: [(name: String, value: String)]?
    var body = ""
    var signature: Signature?

    public static func == (one: Self, other: Self) -> Bool {
        func same(_ a: [(name: String, value: String)], _ b: [(name: String, value: String)]) -> Bool {
            a.elementsEqual(b) { $0 == $1 }
        }
        return one.method == other.method && one.path == other.path && same(one.headers, other.headers)
            && same(one.form ?? [], other.form ?? []) && one.body == other.body && one.signature == other.signature
    }

    init(_ object: inout ScriptObject, method: String) throws(ScriptError) {
        self.method = try object.text("method") ?? method
        guard let path = try object.text("path"), path.hasPrefix("/") || path.hasPrefix("{{") else {
            throw object.error("path", "is missing; expected a path that the plugin serves")
        }
        self.path = path
        headers = try object.texts("headers")
        if object.has("form") { form = try object.texts("form") }
        body = try object.text("body") ?? ""
        guard var sign = try object.object("sign") else { return }
        guard let header = try sign.text("header"), let key = try sign.text("key"), let text = try sign.text("text")
        else {
            throw sign.error("", "expected `header`, `key` and `text`")
        }
        try sign.finish()
        signature = Signature(header: header, key: key, text: text)
    }

    var variableNames: [String] {
        ([path, body, signature?.text ?? ""] + (headers + (form ?? [])).map(\.value)).flatMap(ScriptVariables.names)
    }

    /// As it goes out.
    func filled(_ variables: [String: String]) -> VendorRequest {
        func fill(_ text: String) -> String { ScriptVariables.fill(text, variables) }
        var request = VendorRequest(method, fill(path), headers: headers.map { ($0.name, fill($0.value)) })
        if let form {
            request.headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            let fields = form.map { "\(Self.escaped($0.name))=\(Self.escaped(fill($0.value)))" }
            request.body = Array(fields.joined(separator: "&").utf8)
        } else {
            request.body = Array(fill(body).utf8)
        }
        if let signature {
            request.headers.append((signature.header, Self.sign(fill(signature.text), key: signature.key)))
        }
        return request
    }

    private static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
            if isPlain { return String(Character(UnicodeScalar(byte))) }
            let digits = String(byte, radix: 16, uppercase: true)
            return "%" + (digits.count == 1 ? "0" : "") + digits
        }.joined()
    }

    static func sign(_ text: String, key: String) -> String {
        var block = Array(key.utf8)
        if block.count > 64 { block = digest(block) }
        block += [UInt8](repeating: 0, count: 64 - block.count)
        let inner = digest(block.map { $0 ^ 0x36 } + Array(text.utf8))
        return Base64.text(of: digest(block.map { $0 ^ 0x5c } + inner))
    }

    private static func digest(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array(SHA256.hex(bytes))
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16)! }
    }
}

/// What the vendor expects of the plugin's answer.
public struct ServedAnswerPattern: Sendable, Equatable {
    var status = 200
    /// A part of the body, or an expression.
    var body: ScriptPattern?

    init(_ object: inout ScriptObject) throws(ScriptError) {
        status = try object.integer("status", in: 100...599) ?? 200
        body = try object.pattern("body", .part)
    }

    /// The variables that it sets; nil: it is another answer.
    func match(status: Int, body text: String, _ variables: [String: String]) -> [String: String]? {
        guard status == self.status else { return nil }
        guard let body else { return [:] }
        return body.match(text, variables)
    }
}

/// What is on its way to the plugin's paths.
public struct ServedCall: Sendable, Equatable {
    var run: Int
    var afterMs: Int
    var request: VendorRequest
    var isUpgrade: Bool

    var json: JSONValue {
        [
            "run": .integer(Int64(run)), "afterMs": .integer(Int64(afterMs)), "method": .string(request.method),
            "path": .string(request.url), "upgrade": .bool(isUpgrade), "body": .string(Base64.text(of: request.body)),
            "headers": .array(request.headers.map { [.string($0.name), .string($0.value)] }),
        ]
    }
}

/// `server` of a script.
public struct ServedScript: Sendable, Equatable {
    var dialogues: [String: [VendorSocketStep]] = [:]
    /// What answers messages on the WebSockets, as an entry of `ws`.
    var socket: VendorSocketScript?

    static func read(_ object: inout ScriptObject, known: Set<String>) throws(ScriptError) -> ServedScript? {
        guard var server = try object.object("server") else { return nil }
        var script = ServedScript()
        var known = known
        var socket = try VendorSocketScript(served: &server, known: &known)
        guard var table = try server.object("dialogues") else {
            throw server.error("dialogues", "is missing; expected {\"incoming\": [...]}")
        }
        for name in table.keys {
            var own = known.union(["run", "run.hex"])
            for var step in try table.objects(name) {
                script.dialogues[name, default: []].append(try VendorSocketScript.readServed(&step, &own))
            }
        }
        try table.finish()
        try server.finish()
        socket.name = "server"
        script.socket = socket
        return script
    }
}

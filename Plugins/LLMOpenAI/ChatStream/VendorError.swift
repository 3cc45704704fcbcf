// What a server says when it refuses: four shapes of JSON, or a page of HTML.

public import JSON
public import PluginKit

/// The refusal of an HTTP server that speaks one of the usual shapes.
public struct VendorError: Sendable, Equatable {
    public var message: String
    /// The vendor's own code, unchanged, or empty. A vendor without codes is found by its words.
    public var code: String

    /// Words that are longer than this are a report and no name of an error.
    private static let codeBytesMax = 120

    /// Reads `{"message","type","code"}`, or a bare text.
    public init(_ error: JSONValue) {
        message = error["message"]?.string ?? error.string ?? error.text
        let code = error["code"] ?? .null
        let words = error.string.flatMap { $0.utf8.count <= Self.codeBytesMax ? $0 : nil }
        self.code = code.string ?? code.integer.map { String($0) } ?? error["type"]?.string ?? words ?? ""
    }

    /// Reads the body of an answer: `{"error":{…}}`, `{"error":"…"}`, `{"object":"error",…}`, `{"detail":…}`, or any
    /// text.
    public init(body: [UInt8]) {
        let text = String(decoding: body.prefix(64 << 10), as: UTF8.self)
        if let json = try? JSONValue(parsing: text), json.object != nil {
            if let error = json["error"], error != .null {
                self.init(error)
            } else {
                self.init(json["detail"].map { ["message": .string($0.string ?? $0.text)] } ?? json)
            }
        } else {
            let line = String(text.prefix(200)).split(whereSeparator: \.isNewline).joined(separator: " ")
            self.init(["message": .string(line)])
        }
    }

    /// The contract's code for an HTTP status (0: within a stream) and the vendor's code.
    public func contractCode(status: Int) -> PluginError.Code {
        switch (status, code) {
        case (_, "insufficient_quota"), (_, "rate_limit_exceeded"), (429, _): .quota
        case (401, _), (403, _), (_, "invalid_api_key"): .authentication
        case (_, "context_length_exceeded"): .argument
        case (404, _): .configuration
        case (408, _), (504, _): .timeout
        default: .vendor
        }
    }

    /// The error to report for an answer with `status`; `vendor` says whose answer it was.
    ///
    /// - Parameter shouldRetry: what the server itself says of another attempt; nil: nothing.
    public func pluginError(
        status: Int, vendor: String, retryAfterMs: Int, shouldRetry: Bool? = nil
    ) -> PluginError {
        // 498 is Groq's "capacity exceeded".
        let isTransient = [408, 409, 425, 429, 498].contains(status) || status >= 500
        let isRetryable = shouldRetry ?? isTransient
        return PluginError(
            contractCode(status: status),
            "\(vendor) answered \(status): \(message.isEmpty ? "no reason given" : message)",
            isRetryable: isRetryable && code != "insufficient_quota", retryAfterMs: retryAfterMs,
            protocolStatus: status,
            vendor: vendor, vendorCode: code)
    }
}

// What a server says when it refuses: four shapes of JSON, or a page of HTML.

public import JSON
public import PluginKit

/// The refusal of an HTTP server that speaks one of the usual shapes.
public struct VendorError: Sendable, Equatable {
    public var message: String
    /// The vendor's own code, unchanged, or empty.
    public var code: String

    /// Reads `{"message","type","code"}`, or a bare text.
    public init(_ error: JSONValue) {
        message = error["message"]?.string ?? error.string ?? error.text
        let code = error["code"] ?? .null
        self.code = code.string ?? code.integer.map { String($0) } ?? error["type"]?.string ?? ""
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
            self.init(.string(line))
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

    /// The error to report for an answer with `status`; `name` says whose answer it was.
    public func pluginError(status: Int, vendor: String, retryAfterMs: Int) -> PluginError {
        let isRetryable = [408, 409, 425, 429, 498].contains(status) || status >= 500
        return PluginError(
            contractCode(status: status),
            "\(vendor) answered \(status): \(message.isEmpty ? "no reason given" : message)",
            isRetryable: isRetryable && code != "insufficient_quota", retryAfterMs: retryAfterMs,
            protocolStatus: status,
            vendor: vendor, vendorCode: code)
    }

    /// `retry-after-ms`, or `retry-after` in seconds; 0 where there is neither, or a date.
    public static func retryAfterMs(_ response: HTTPResponse) -> Int {
        if let ms = response["retry-after-ms"].flatMap(Double.init), ms > 0, ms < 3_600_000 { return Int(ms) }
        if let seconds = response["retry-after"].flatMap(Double.init), seconds > 0, seconds < 3600 {
            return Int(seconds * 1000)
        }
        return 0
    }
}

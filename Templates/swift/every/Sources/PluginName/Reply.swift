// What is known of one answer of the vendor's server besides its bytes: whether it is an answer at all. What a failure
// means to the host decides whether it tries again, or elsewhere.

import JSON
import PluginKit

final class Reply {
    /// Of a refusal, as much as can name its code.
    private static let refusalBytesMax = 4_096

    private var problem: PluginError?
    private var refusal: [UInt8] = []
    private var isEmpty = true

    func begin(_ response: HTTPResponse) {
        guard response.status == 200 else { return problem = Self.refused(response) }
        if response["Content-Type"]?.lowercased().hasPrefix("text/html") ?? false {
            fail(PluginError(.vendor, "a page of HTML came for an answer: is `url` the server's, and no proxy's?"))
        }
    }

    /// Whether these bytes are of an answer that is wanted.
    func take(_ bytes: [UInt8]) -> Bool {
        isEmpty = false
        guard problem != nil else { return true }
        if refusal.count < Self.refusalBytesMax { refusal += bytes }
        return false
    }

    func fail(_ error: PluginError) { problem = problem ?? error }

    /// All of it came. nil: it is an answer.
    func end() -> PluginError? {
        if isEmpty { fail(PluginError(.vendor, "the server answered with nothing")) }
        // The vendor's own code is the first thing that its support asks for.
        if let body = try? JSONValue(parsing: String(decoding: refusal, as: UTF8.self)) {
            problem?.vendorCode = (body["error"]?["code"] ?? body["code"])?.string ?? ""
        }
        return problem
    }

    private static func refused(_ response: HTTPResponse) -> PluginError {
        let code: PluginError.Code =
            switch response.status {
            case 401, 403: .authentication
            case 429: .quota
            default: .vendor
            }
        let seconds = response["Retry-After"].flatMap { Int($0) } ?? 0
        return PluginError(
            code, "the server answered with HTTP status \(response.status)",
            isRetryable: response.status == 429 || response.status >= 500, retryAfterMs: min(seconds, 86_400) * 1_000,
            protocolStatus: response.status)
    }
}

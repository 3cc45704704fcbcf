// What the host answers by itself, without asking a plugin: each refusal with its status and a plain sentence, and a
// counter, so that an operator sees in one table what comes in that nobody serves.

import Cmicrohttpd

/// Why the host answers a request itself.
enum HostAnswer: String, CaseIterable, Error {
    case malformed
    case notFound = "not_found"
    case method
    case bodyTooLarge = "body_too_large"
    case headTooLarge = "head_too_large"
    case version
    case overloaded
    case stopping
    case late

    var status: UInt32 {
        switch self {
        case .malformed: 400
        case .notFound: 404
        case .method: 405
        case .bodyTooLarge: 413
        case .version: 426
        case .headTooLarge: 431
        case .overloaded, .stopping: 503
        case .late: 504
        }
    }

    /// For whoever looks at the answer with curl.
    var sentence: String {
        switch self {
        case .malformed: "The request is not valid HTTP."
        case .notFound: "Nothing is served at this path."
        case .method: "This method is not served here."
        case .bodyTooLarge: "The body of the request is too large."
        case .headTooLarge: "The header of the request is too large."
        case .version: "Only version 13 of the WebSocket protocol is spoken here."
        case .overloaded: "Too many requests wait for an answer here; try again soon."
        case .stopping: "The service at this path is going down."
        case .late: "The service at this path did not answer in time."
        }
    }

    var headers: [(name: String, value: String)] {
        let plain = [("Content-Type", "text/plain; charset=utf-8")]
        return switch self {
        case .method: plain + [("Allow", IncomingRequest.methods.joined(separator: ", "))]
        case .version: plain + [("Sec-WebSocket-Version", "13")]
        case .overloaded, .stopping: plain + [("Retry-After", "1")]
        default: plain
        }
    }
}

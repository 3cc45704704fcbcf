// What the end of a connection means, and whether another one would help.
//
// The vendor tells it in three places: as the status of a refused upgrade, as an Error message, and in the reason of a
// close frame ("NET-0001"). Its code and its words are kept as they are, because its support asks for them.

import PluginKit

public struct ListenFailure: Sendable, Equatable {
    public var error: PluginError
    /// Another connection may go well.
    public var isWorthAnother: Bool

    /// An Error message.
    public init(code: String, message: String) {
        isWorthAnother = code == "INTERNAL_SERVER_ERROR" || code.hasPrefix("NET-")
        error = PluginError(
            .vendor, "Deepgram ended the stream: " + Self.line(message.isEmpty ? code : message),
            isRetryable: isWorthAnother, vendor: "deepgram", vendorCode: String(code.prefix(64)))
    }

    /// The end of the connection.
    public init(closeCode: Int, reason: String, error: PluginError?) {
        if var error {
            error.vendor = "deepgram"
            if error.code == .vendor, (400...499).contains(error.protocolStatus), error.protocolStatus != 408 {
                error.code = .configuration
                error.isRetryable = false
                error.message += "; correct the model, the language and the parameters of the recogniser"
            } else if error.protocolStatus == 402 {
                error.code = .quota
            }
            self.error = error
            // 401, 402, 403, 429: it will say the same again. What broke off, or could not be reached, may be there.
            isWorthAnother = error.isRetryable && error.code != .quota && error.code != .authentication
            return
        }
        let code = String(reason.prefix { !$0.isWhitespace && $0 != ":" && $0 != "," }.prefix(64))
        isWorthAnother = closeCode != 1008 && closeCode != 1003 && closeCode != 1007
        self.error = PluginError(
            isWorthAnother ? .network : .vendor,
            "Deepgram closed the connection with code \(closeCode)"
                + (reason.isEmpty ? "" : ": " + Self.line(reason))
                + (isWorthAnother ? "" : "; look at `encoding` and at the audio's rate"),
            isRetryable: isWorthAnother, vendor: "deepgram", vendorCode: code)
    }

    /// A vendor's words as an error may quote them: in one line.
    static func line(_ text: String) -> String {
        text.prefix(200).split(whereSeparator: \.isNewline).joined(separator: " ")
    }
}

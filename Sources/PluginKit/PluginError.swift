// Why something failed, as a plugin says it.

import PluginABI

/// A failure, in words that an operator can act on.
///
/// `message` is one sentence that names the thing, the value and the mend, and holds no secret:
/// "http://127.0.0.1:8101 does not answer; start the recogniser or correct `url`".
public struct PluginError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Whose affair the failure is: the host decides by it whether another attempt, or another provider, makes sense.
    public enum Code: Int32, Sendable {
        case again = -1, canceled = -2, stale = -3, closed = -4
        case argument = -10, state = -11, unsupported = -12, notFound = -13
        /// A setting has a value that cannot work.
        case configuration = -20
        /// A credential is missing or was refused.
        case authentication = -21
        /// The vendor's limit is reached.
        case quota = -22
        case network = -23, timeout = -24
        /// The peer answered with an error of its own, or with nonsense.
        case vendor = -25
        case memory = -30, crashed = -31, `internal` = -32
    }

    public var code: Code
    public var message: String
    /// The same request can succeed later.
    public var isRetryable: Bool
    /// How long the vendor asked to wait, or 0.
    public var retryAfterMs: Int
    /// The peer's HTTP status, or 0.
    public var protocolStatus: Int
    /// Who refused, "OpenAI" say, or empty.
    public var vendor: String
    /// The vendor's own code, unchanged.
    public var vendorCode: String

    public init(
        _ code: Code, _ message: String, isRetryable: Bool = false, retryAfterMs: Int = 0, protocolStatus: Int = 0,
        vendor: String = "", vendorCode: String = ""
    ) {
        self.code = code
        self.message = message
        self.isRetryable = isRetryable
        self.retryAfterMs = retryAfterMs
        self.protocolStatus = protocolStatus
        self.vendor = vendor
        self.vendorCode = vendorCode
    }

    public var description: String { message }

    /// The status that a failed call of the host is, in words: `what` names the call.
    init(status: vc_status, _ what: String) {
        let code = Code(rawValue: status) ?? Self.code(ofRange: status)
        self.init(code, "\(what) was refused by the host with status \(status)", isRetryable: code == .again)
    }

    /// What the host says in an error of its own, of a request that broke for instance.
    init(_ error: vc_error) {
        self.init(
            Code(rawValue: error.code) ?? Self.code(ofRange: error.code), String(error.message),
            isRetryable: error.retryable != 0, retryAfterMs: Int(error.retry_after_ms),
            protocolStatus: Int(error.protocol_status), vendor: String(error.vendor),
            vendorCode: String(error.vendor_code))
    }

    /// A status of a later version of the contract means what its range means.
    private static func code(ofRange status: vc_status) -> Code {
        switch status {
        case -9 ... -1: .again
        case -19 ... -10: .argument
        case -29 ... -20: .vendor
        default: .internal
        }
    }

    /// Lends the error as the contract's struct while `body` runs.
    func withCError<Result>(_ body: (UnsafePointer<vc_error>) -> Result) -> Result {
        withStrings([message, vendor, vendorCode]) { strings in
            var error = vc_error()
            fill(&error, message: strings[0], vendor: strings[1], vendorCode: strings[2])
            return body(&error)
        }
    }

    /// Writes the error where a `create`, `start` or `open` has to leave it, and answers its status.
    ///
    /// The caller copies the strings at once; until then they stand in a ring of the kit, because the object to which
    /// the contract ties their life is the one that could not be made.
    func write(to error: UnsafeMutablePointer<vc_error>) -> vc_status {
        let texts = LentTexts.keep([message, vendor, vendorCode])
        fill(&error.pointee, message: texts[0], vendor: texts[1], vendorCode: texts[2])
        return code.rawValue
    }

    private func fill(_ error: inout vc_error, message: vc_str, vendor: vc_str, vendorCode: vc_str) {
        error.size = max(error.size, UInt32(MemoryLayout<vc_error>.size))
        error.code = code.rawValue
        error.retryable = isRetryable ? 1 : 0
        error.retry_after_ms = UInt32(clamping: retryAfterMs)
        error.protocol_status = UInt32(clamping: protocolStatus)
        error.message = message
        error.vendor = vendor
        error.vendor_code = vendorCode
    }
}

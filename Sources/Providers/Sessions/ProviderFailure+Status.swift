// A plugin's status and error in the words of a conversation. The vendor's own words are carried, never interpreted.

import Calls
import PluginABI

extension ProviderFailure {
    /// Of a call that failed. `error` is as the plugin left it.
    init(status: vc_status, error: vc_error? = nil, during what: String) {
        let message = error.flatMap { String($0.message) } ?? ""
        var vendor = error.flatMap { String($0.vendor) } ?? ""
        // Most messages say themselves who refused.
        if message.contains(vendor) { vendor = "" }
        self.init(
            code: Self.code(status), retryable: error.map { $0.retryable == 1 } ?? Self.isRetryable(status),
            retryAfterMs: error.map { Int($0.retry_after_ms) } ?? 0,
            message: (vendor.isEmpty ? "" : vendor + ": ")
                + (message.isEmpty ? "\(what) failed with status \(status)" : message),
            vendorCode: error.flatMap { String($0.vendor_code) } ?? "")
    }

    private static func code(_ status: vc_status) -> Code {
        switch Int(status) {
        case VC_E_CONFIG: .configuration
        case VC_E_AUTH: .authentication
        case VC_E_QUOTA: .quota
        case VC_E_NETWORK: .network
        case VC_E_TIMEOUT: .timeout
        case VC_E_CRASHED: .crashed
        // By range, so that a code of a later version lands where it belongs.
        case -9 ... -1: .misbehaved
        case -19 ... -10: .request
        case -29 ... -20: .vendor
        default: .internal
        }
    }

    private static func isRetryable(_ status: vc_status) -> Bool {
        [VC_E_AGAIN, VC_E_NETWORK, VC_E_TIMEOUT, VC_E_VENDOR].contains(Int(status))
    }
}

// What a status of the vendor's server means to the host, which decides by it whether to try again, or elsewhere.

import PluginKit

/// nil: the answer is one.
func refusal(_ response: HTTPResponse) -> PluginError? {
    guard response.status != 200 else { return nil }
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

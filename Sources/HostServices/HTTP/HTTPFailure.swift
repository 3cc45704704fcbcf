// curl's result codes in the words of the contract. Each sentence says what happened, with whom, and what to do; the
// peer is named by its origin alone.

import Ccurl
import PluginABI

extension ServiceFailure {
    /// - Parameters:
    ///   - hasAnswer: The status line had arrived.
    ///   - isConnected: The connection was made.
    init(
        curl result: CURLcode, origin: Origin, deadlineMs: UInt32, isConnected: Bool, hasAnswer: Bool,
        httpStatus: UInt32
    ) {
        let status: vc_status
        let message: String
        var isRetryable = true
        switch result {
        case CURLE_COULDNT_RESOLVE_HOST:
            status = .network
            message = "the host name of \(origin) has no address: check the spelling and the DNS server"
        case CURLE_COULDNT_RESOLVE_PROXY, CURLE_PROXY:
            status = .network
            message = "the proxy for \(origin) does not work: check http_proxy, https_proxy and no_proxy"
        case CURLE_COULDNT_CONNECT:
            status = .network
            message = "nothing answers at \(origin): start the server, or correct the address or the firewall"
        case CURLE_OPERATION_TIMEDOUT:
            status = .timeout
            if hasAnswer {
                message =
                    "the answer of \(origin) was not complete after \(deadlineMs) ms: "
                    + "raise the deadline or ask for less"
            } else if isConnected {
                message =
                    "\(origin) took the request and did not answer within \(deadlineMs) ms: "
                    + "look at its load, or raise the deadline"
            } else {
                message =
                    "no connection to \(origin) within the deadline: check the address, the route and the firewall"
            }
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
            status = .network
            isRetryable = false
            message =
                "the certificate of \(origin) is not trusted: "
                + "correct the host name, the certificate, or the machine's list of authorities"
        case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CIPHER, CURLE_USE_SSL_FAILED:
            status = .network
            message = "TLS with \(origin) could not be set up: is it a TLS port, and is its version of TLS recent?"
        case CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_PARTIAL_FILE, CURLE_HTTP2_STREAM:
            status = .network
            message =
                hasAnswer
                ? "\(origin) broke off in the middle of its answer: try again"
                : "\(origin) closed the connection without an answer: try again, or look at its log"
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_WEIRD_SERVER_REPLY, CURLE_HTTP2, CURLE_BAD_CONTENT_ENCODING:
            status = .vendor
            isRetryable = false
            message = "\(origin) does not answer with valid HTTP: is another kind of server listening there?"
        case CURLE_OUT_OF_MEMORY:
            status = .memory
            message = "there is not enough memory for a request to \(origin)"
        case CURLE_URL_MALFORMAT:
            status = .badArgument
            isRetryable = false
            message = "the URL of the request to \(origin) is not valid"
        default:
            status = .network
            message = "the exchange with \(origin) failed: \(String(cString: curl_easy_strerror(result)))"
        }
        self.init(code: status, message: message, isRetryable: isRetryable, protocolStatus: httpStatus)
    }
}

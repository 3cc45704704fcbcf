// The curl side of one request. It lives on the I/O thread: options out, header lines and bytes in.

import Ccurl
import Glibc
import PluginABI

/// What the I/O thread keeps for a request.
struct HTTPTransfer {
    var easy: UnsafeMutableRawPointer?
    var headerList: UnsafeMutablePointer<curl_slist>?
    /// When the first byte must have come, or nil.
    var firstByteNs: UInt64?

    var status: UInt32 = 0
    var headers: [(name: String, value: String)] = []
    var headerBytes = 0
    var bodyBytes = 0
    var hasResponse = false
    /// Why we stopped it ourselves.
    var refusal: ServiceFailure?
}

extension HTTPRequest {
    /// Fills a fresh easy handle in.
    func prepare(_ easy: UnsafeMutableRawPointer, now: UInt64) {
        transfer.easy = easy
        if outbound.firstByteMs > 0 { transfer.firstByteNs = now + UInt64(outbound.firstByteMs) * 1_000_000 }
        configure(easy, outbound, limits)
        let context = Unmanaged.passUnretained(self).toOpaque()
        vc_curl_set_pointer(easy, CURLOPT_PRIVATE, context)
        vc_curl_set_data_fn(easy, CURLOPT_HEADERFUNCTION, httpHeaderLine)
        vc_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        vc_curl_set_data_fn(easy, CURLOPT_WRITEFUNCTION, httpBodyBytes)
        vc_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)

        var list: UnsafeMutablePointer<curl_slist>?
        for header in outbound.headers {
            // curl's way to send a header without a value is a semicolon.
            let line = header.value.isEmpty ? "\(header.name);" : "\(header.name): \(header.value)"
            list = curl_slist_append(list, line)
        }
        // Without these two curl waits a second for "100 Continue", and calls every body a form.
        list = curl_slist_append(list, "Expect:")
        if !outbound.headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            list = curl_slist_append(list, "Content-Type:")
        }
        transfer.headerList = list
        vc_curl_set_pointer(easy, CURLOPT_HTTPHEADER, list)
    }

    /// Frees what the transfer held. Header lines may carry secrets and are zeroed.
    func dispose() {
        var line = transfer.headerList
        while let current = line {
            if let text = current.pointee.data { explicit_bzero(text, strlen(text)) }
            line = current.pointee.next
        }
        curl_slist_free_all(transfer.headerList)
        transfer.headerList = nil
        transfer.easy = nil
    }

    /// One line of the head, or of the trailer. False stops the transfer.
    fileprivate func take(line: UnsafeRawBufferPointer) -> Bool {
        transfer.firstByteNs = nil
        transfer.headerBytes += line.count
        guard transfer.headerBytes <= limits.headerBytesMax, transfer.headers.count < limits.headersMax else {
            transfer.refusal = ServiceFailure(
                code: .vendor,
                message:
                    "\(outbound.origin) sent more than \(limits.headersMax) headers or \(limits.headerBytesMax) bytes "
                    + "of them: is it the right server?", protocolStatus: transfer.status)
            return false
        }
        // Trailers are of no use to anybody here.
        guard !transfer.hasResponse else { return true }
        var bytes = line[...]
        while let last = bytes.last, last == 0x0a || last == 0x0d { bytes = bytes.dropLast() }
        if bytes.starts(with: "HTTP/".utf8) {
            let words = bytes.split(separator: 0x20, maxSplits: 2)
            transfer.status = words.count > 1 ? UInt32(String(decoding: words[1], as: UTF8.self)) ?? 0 : 0
            transfer.headers = []
        } else if bytes.isEmpty {
            // 1xx are announcements; the answer follows (RFC 9110, 15.2).
            guard transfer.status >= 200 else { return true }
            transfer.hasResponse = true
            received(status: transfer.status, headers: transfer.headers)
            transfer.headers = []
        } else if bytes.first == 0x20 || bytes.first == 0x09 {
            // A folded line, obsolete and still about (RFC 9112, 5.2).
            if let last = transfer.headers.indices.last { transfer.headers[last].value += " " + trimmed(bytes) }
        } else if let colon = bytes.firstIndex(of: UInt8(ascii: ":")) {
            transfer.headers.append(
                (String(decoding: bytes[..<colon], as: UTF8.self), trimmed(bytes[(colon + 1)...])))
        }
        return true
    }

    fileprivate func take(body: UnsafeRawBufferPointer) -> Int {
        guard transfer.bodyBytes + body.count <= limits.bodyBytesMax else {
            transfer.refusal = ServiceFailure(
                code: .vendor,
                message: "the answer of \(outbound.origin) is larger than \(limits.bodyBytesMax) bytes: ask for less",
                protocolStatus: transfer.status)
            return 0
        }
        guard received(body) else { return Int(CURL_WRITEFUNC_PAUSE) }
        transfer.bodyBytes += body.count
        return body.count
    }

    /// What became of it, after curl's verdict.
    func failure(_ result: CURLcode) -> ServiceFailure? {
        if let refusal = transfer.refusal { return refusal }
        guard result != CURLE_OK else { return nil }
        var connectedUs: curl_off_t = 0
        if let easy = transfer.easy { vc_curl_get_large(easy, CURLINFO_CONNECT_TIME_T, &connectedUs) }
        return ServiceFailure(
            curl: result, origin: outbound.origin, deadlineMs: outbound.deadlineMs, isConnected: connectedUs > 0,
            hasAnswer: transfer.hasResponse, httpStatus: transfer.status)
    }

    func missedFirstByte() -> ServiceFailure {
        ServiceFailure(
            code: .timeout,
            message: "no byte of an answer from \(outbound.origin) within \(outbound.firstByteMs) ms: "
                + "look at its load, or allow more time for the first byte", isRetryable: true)
    }
}

/// The options that a request and a prewarm share: connections are only reused between transfers that agree on them.
func configure(_ easy: UnsafeMutableRawPointer, _ outbound: HTTPRequest.Outbound, _ limits: HTTPLimits) {
    vc_curl_set_text(easy, CURLOPT_URL, outbound.url)
    vc_curl_set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https")
    vc_curl_set_text(easy, CURLOPT_USERAGENT, "vchost")
    vc_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
    vc_curl_set_long(easy, CURLOPT_TCP_NODELAY, 1)
    vc_curl_set_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
    vc_curl_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
    vc_curl_set_long(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
    vc_curl_set_long(easy, CURLOPT_TIMEOUT_MS, Int(outbound.deadlineMs))
    // A redirect is not followed: the headers may carry a credential, which is for this origin and no other.
    vc_curl_set_long(easy, CURLOPT_FOLLOWLOCATION, 0)
    if outbound.origin.isLoopback { vc_curl_set_text(easy, CURLOPT_PROXY, "") }
    if let path = limits.authoritiesPath { vc_curl_set_text(easy, CURLOPT_CAINFO, path) }

    let hasBody = !outbound.body.isEmpty || ["POST", "PUT", "PATCH"].contains(outbound.method)
    if hasBody {
        vc_curl_set_long(easy, CURLOPT_POST, 1)
        vc_curl_set_large(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(outbound.body.count))
        _ = outbound.body.withUnsafeBytes { body in
            // An empty array has no address, and NULL would mean a read function.
            if let address = body.baseAddress {
                vc_curl_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, UnsafeMutableRawPointer(mutating: address))
            } else {
                vc_curl_set_text(easy, CURLOPT_COPYPOSTFIELDS, "")
            }
        }
    }
    if outbound.method == "HEAD" {
        vc_curl_set_long(easy, CURLOPT_NOBODY, 1)
    } else if outbound.method != (hasBody ? "POST" : "GET") {
        vc_curl_set_text(easy, CURLOPT_CUSTOMREQUEST, outbound.method)
    }
}

private func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> String {
    var bytes = bytes
    while let first = bytes.first, first == 0x20 || first == 0x09 { bytes = bytes.dropFirst() }
    while let last = bytes.last, last == 0x20 || last == 0x09 { bytes = bytes.dropLast() }
    return String(decoding: bytes, as: UTF8.self)
}

private func httpHeaderLine(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let request = Unmanaged<HTTPRequest>.fromOpaque(context!).takeUnretainedValue()
    return request.take(line: UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}

private func httpBodyBytes(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    let request = Unmanaged<HTTPRequest>.fromOpaque(context!).takeUnretainedValue()
    return request.take(body: UnsafeRawBufferPointer(start: bytes, count: size * count))
}

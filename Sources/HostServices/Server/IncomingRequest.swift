// A request while it arrives, on the listener's thread: its head is judged as soon as it is there, its body collected,
// and what must be refused is refused at the end of the body, because a client that still sends does not listen.

import Cmicrohttpd
import Glibc

final class IncomingRequest {
    /// TRACE and CONNECT are for proxies.
    static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    /// As it stood in the request line.
    let rawTarget: String
    private(set) var isHeadRead = false
    private(set) var refusal: HostAnswer?
    /// The client waits for an answer to its head, or its body is too large to be dropped: refuse without reading on.
    private(set) var mustAnswerAtOnce = false
    private(set) var request: ReceivedRequest?
    private var bodyBytes = 0

    /// Once it was handed to a plugin.
    var exchange: Exchange?
    /// The connection rests while the plugin thinks.
    var isSuspended = false
    /// The socket that the connection becomes.
    var socket: WebSocket?
    private(set) var isUpgraded = false

    init(rawTarget: String) { self.rawTarget = rawTarget }

    func readHead(_ connection: OpaquePointer, method: String, version: String, peer: String, limits: ServerSettings) {
        isHeadRead = true
        var collected = Fields()
        withUnsafeMutablePointer(to: &collected) {
            _ = MHD_get_connection_values(connection, .HEADER_KIND, collectField, UnsafeMutableRawPointer($0))
        }
        do throws(HostAnswer) {
            request = try Self.judge(
                method: method, version: version, rawTarget: rawTarget, headers: collected.fields,
                headBytes: vc_mhd_head_bytes(connection), peer: peer, limits: limits)
        } catch {
            refusal = error
        }
        let declared = Self.values("content-length", collected.fields).first.flatMap { Int($0) } ?? 0
        if declared > limits.bodyBytesMax, refusal == nil { refusal = .bodyTooLarge }
        let isExpecting = !Self.values("expect", collected.fields).isEmpty
        mustAnswerAtOnce =
            refusal == .malformed || refusal != nil && (isExpecting || declared > limits.droppedBytesMax)
    }

    /// libmicrohttpd keeps this as long as the WebSocket, which needs nothing of it.
    func upgraded() {
        isUpgraded = true
        exchange = nil
        socket = nil
        request = nil
    }

    private static func judge(
        method: String, version: String, rawTarget: String, headers: [(name: String, value: String)], headBytes: Int,
        peer: String, limits: ServerSettings
    ) throws(HostAnswer) -> ReceivedRequest {
        guard headBytes <= limits.headBytesMax else { throw .headTooLarge }
        guard methods.contains(method) else { throw .method }
        // Two opinions about where a body ends, or about whom a request is for, are how one request is smuggled within
        // another one (RFC 9112, 6.3 and 11.2; 3.2 for Host).
        let lengths = values("content-length", headers)
        let codings = values("transfer-encoding", headers)
        guard lengths.count <= 1, lengths.isEmpty || codings.isEmpty, codings.count <= 1,
            codings.allSatisfy({ $0.lowercased() == "chunked" }),
            lengths.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            values("host", headers).count <= 1
        else { throw .malformed }
        let target: RequestTarget
        do throws(RequestTarget.Refusal) { target = try RequestTarget(rawTarget) } catch { throw .malformed }
        let upgrade = try UpgradeRequest.find(method: method, version: version, headers: headers)
        return ReceivedRequest(
            method: method, target: target, peer: peer, headers: headers, body: [], upgrade: upgrade)
    }

    private static func values(_ name: String, _ headers: [(name: String, value: String)]) -> [String] {
        headers.filter { $0.name.lowercased() == name }.map(\.value)
    }

    /// False when so much came that the connection must be cut off.
    func take(_ bytes: UnsafeRawBufferPointer, limits: ServerSettings) -> Bool {
        bodyBytes += bytes.count
        if bodyBytes > limits.bodyBytesMax {
            if refusal == nil { refusal = .bodyTooLarge }
            request?.body = []
            return bodyBytes <= limits.droppedBytesMax
        }
        request?.body.append(contentsOf: bytes)
        return true
    }
}

private struct Fields { var fields: [(name: String, value: String)] = [] }

private func collectField(
    _ context: UnsafeMutableRawPointer?, _ kind: MHD_ValueKind, _ name: UnsafePointer<CChar>?,
    _ value: UnsafePointer<CChar>?
) -> MHD_Result {
    let fields = context!.assumingMemoryBound(to: Fields.self)
    fields.pointee.fields.append((name.map { String(cString: $0) } ?? "", value.map { String(cString: $0) } ?? ""))
    return .YES
}

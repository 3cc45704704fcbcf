// What libmicrohttpd calls, on its thread: C functions, whose context is the listener. What hangs on a request is an
// `IncomingRequest`, held by libmicrohttpd from its first line to its completion.

import Cmicrohttpd
import Glibc

/// The address in digits; an IPv4 address that came in by IPv6 as what it is.
func addressText(_ address: UnsafePointer<sockaddr>) -> String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    switch Int32(address.pointee.sa_family) {
    case AF_INET:
        address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { address in
            var number = address.pointee.sin_addr
            _ = inet_ntop(AF_INET, &number, &text, socklen_t(text.count))
        }
    case AF_INET6:
        address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { address in
            var number = address.pointee.sin6_addr
            _ = inet_ntop(AF_INET6, &number, &text, socklen_t(text.count))
        }
    default:
        return ""
    }
    let plain = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return plain.hasPrefix("::ffff:") && plain.contains(".") ? String(plain.dropFirst(7)) : plain
}

private func listener(_ context: UnsafeMutableRawPointer?) -> Listener {
    Unmanaged<Listener>.fromOpaque(context!).takeUnretainedValue()
}

func acceptConnection(
    _ context: UnsafeMutableRawPointer?, _ address: UnsafePointer<sockaddr>?, _ length: socklen_t
) -> MHD_Result {
    listener(context).mayEnter(address.map(addressText) ?? "") ? MHD_Result.YES : MHD_Result.NO
}

func connectionChanged(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ change: MHD_ConnectionNotificationCode
) {
    guard let connection else { return }
    if change == .CONNECTION_NOTIFY_STARTED {
        listener(context).began(connection)
    } else {
        listener(context).ended(connection)
    }
}

func targetArrived(
    _ context: UnsafeMutableRawPointer?, _ target: UnsafePointer<CChar>, _ connection: OpaquePointer
) -> UnsafeMutableRawPointer? {
    let incoming = listener(context).begins(connection, rawTarget: String(cString: target))
    return Unmanaged.passRetained(incoming).toOpaque()
}

func requestArrived(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ url: UnsafePointer<CChar>?,
    _ method: UnsafePointer<CChar>?, _ version: UnsafePointer<CChar>?, _ body: UnsafePointer<CChar>?,
    _ bodyBytes: UnsafeMutablePointer<Int>?, _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let connection, let opaque = own?.pointee, let method, let version else { return MHD_Result.NO }
    let incoming = Unmanaged<IncomingRequest>.fromOpaque(opaque).takeUnretainedValue()
    let bytes = UnsafeRawBufferPointer(start: body, count: bodyBytes?.pointee ?? 0)
    let goesOn = listener(context).arrived(
        connection, incoming, method: String(cString: method), version: String(cString: version), body: bytes)
    if goesOn { bodyBytes?.pointee = 0 }
    return goesOn ? MHD_Result.YES : MHD_Result.NO
}

func requestCompleted(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?,
    _ own: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ how: MHD_RequestTerminationCode
) {
    guard let connection, let opaque = own?.pointee else { return }
    own?.pointee = nil
    listener(context).completed(connection, Unmanaged<IncomingRequest>.fromOpaque(opaque).takeRetainedValue())
}

func connectionUpgraded(
    _ context: UnsafeMutableRawPointer?, _ connection: OpaquePointer?, _ own: UnsafeMutableRawPointer?,
    _ early: UnsafePointer<CChar>?, _ earlyBytes: Int, _ descriptor: Int32, _ response: OpaquePointer?
) {
    guard let connection, let own, let response else { return }
    let incoming = Unmanaged<IncomingRequest>.fromOpaque(own).takeUnretainedValue()
    let read = [UInt8](UnsafeRawBufferPointer(start: early, count: earlyBytes))
    listener(context).upgraded(
        connection, incoming,
        ServedSocketLoop.Upgraded(
            descriptor: descriptor, response: response, early: read, peer: incoming.request?.peer ?? ""))
}

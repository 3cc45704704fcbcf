// "vc.secret/1": credentials, lent for one call.

import PluginABI

/// The credentials that the manifest names.
///
/// Most plugins never need this: a header of an HTTP or WebSocket request may say `${secret:NAME}`, and the plugin then
/// never sees the secret at all.
public struct Secrets: Sendable {
    let handle: vc_handle

    /// Lends the secret's bytes to `body`, and zeroes them afterwards. False when the operator has not set it.
    public func with(_ name: String, _ body: (Span<UInt8>) -> Void) -> Bool {
        guard let table = HostLine.shared.secret else { return false }
        return withoutActuallyEscaping(body) { body in
            var loan = Loan(body: body)
            return withUnsafeMutablePointer(to: &loan) {
                table.pointee.with(handle, name, secretLent, $0) == vc_status(VC_OK)
            }
        }
    }

    fileprivate struct Loan { let body: (Span<UInt8>) -> Void }
}

private func secretLent(_ context: UnsafeMutableRawPointer?, _ secret: vc_str) {
    guard let loan = context?.assumingMemoryBound(to: Secrets.Loan.self) else { return }
    let bytes = UnsafeRawBufferPointer(start: secret.data, count: Int(secret.length))
    bytes.withMemoryRebound(to: UInt8.self) { loan.pointee.body($0.span) }
}

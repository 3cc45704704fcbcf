// What every session does, whatever its kind; and the C functions through which the host reaches it.

import PluginABI

/// What `SpeechToTextSession`, `LanguageModelSession` and `TextToSpeechSession` have in common.
///
/// Its methods are never called at the same time, and neither is anything that they had called back. They answer at
/// once.
public protocol ProviderSession: AnyObject {
    /// A new epoch began: what is under way for an older one is of no use. The kit has ended the HTTP exchanges of it,
    /// and says CANCELED when this returns.
    func cancel()

    /// There is room again, after an event was answered `noCredit`.
    func creditReturned()

    /// The call is over. The kit ends what is under way when this returns, and says CLOSED.
    func close()
}

extension ProviderSession {
    public func cancel() {}
    public func creditReturned() {}
    public func close() {}
}

/// What the contract's `self` of a session points at: the kind's bookkeeping around the author's session.
public class OpenSession {
    let host: SessionHost
    /// The table of the kind.
    let kindOps: UnsafeRawPointer
    private let author: any ProviderSession

    init(_ host: SessionHost, _ author: any ProviderSession, _ kindOps: UnsafeRawPointer) {
        self.host = host
        self.author = author
        self.kindOps = kindOps
    }

    /// Ends the requests of older epochs, then tells the author.
    func canceled() { author.cancel() }
    func creditReturned() { author.creditReturned() }
    /// Nobody waits for an answer any more.
    func forgetRequests() {}
    func closing() {
        forgetRequests()
        author.close()
    }
}

/// Runs a call of the host on the session behind `self_`, on its own turn.
func withSession<Session: OpenSession>(
    _ self_: UnsafeMutableRawPointer?, as type: Session.Type, _ body: (Session) -> vc_status
) -> vc_status {
    let session = unsafeDowncast(Unmanaged<OpenSession>.fromOpaque(self_!).takeUnretainedValue(), to: Session.self)
    return session.host.enter {
        guard session.host.isOpen else { return vc_status(VC_E_CLOSED) }
        return body(session)
    }
}

struct ConstantTable<Table>: @unchecked Sendable {
    let pointer: UnsafePointer<Table>
    init(_ table: Table) { pointer = permanentPointer(table) }
}

let sessionOps = ConstantTable(
    vc_session_ops(
        size: UInt32(MemoryLayout<vc_session_ops>.size), reserved: 0, cancel: sessionCancel, credit: sessionCredit,
        close: sessionClose, destroy: sessionDestroy))

/// On any thread, in the middle of anything: notes the epoch and has the session woken.
private func sessionCancel(_ self_: UnsafeMutableRawPointer?, _ epoch: UInt64) {
    let host = Unmanaged<OpenSession>.fromOpaque(self_!).takeUnretainedValue().host
    if host.raiseEpoch(to: epoch) { host.wake() }
}

private func sessionCredit(_ self_: UnsafeMutableRawPointer?, _ events: UInt32, _ bytes: UInt64) {
    let host = Unmanaged<OpenSession>.fromOpaque(self_!).takeUnretainedValue().host
    host.enter { host.credited() }
}

private func sessionClose(_ self_: UnsafeMutableRawPointer?) {
    let host = Unmanaged<OpenSession>.fromOpaque(self_!).takeUnretainedValue().host
    host.enter { host.close() }
}

private func sessionDestroy(_ self_: UnsafeMutableRawPointer?) {
    let session = Unmanaged<OpenSession>.fromOpaque(self_!)
    session.takeUnretainedValue().forgetRequests()
    session.takeUnretainedValue().host.abandon()
    session.release()
}

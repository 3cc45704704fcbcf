// The C functions of a telephony session: they look at their arguments, leave an order, and return.

import PluginABI
import Synchronization

let telephonySessionOps = ConstantTable(
    vc_session_ops(
        size: UInt32(MemoryLayout<vc_session_ops>.size), reserved: 0, cancel: telephonyCancel,
        credit: telephonyCredit, close: telephonyClose, destroy: telephonyDestroy))

let telephonyOps = ConstantTable(
    vc_telephony_ops(
        size: UInt32(MemoryLayout<vc_telephony_ops>.size), reserved: 0, ringing: telephonyRinging,
        answer: telephonyAnswer, hangup: telephonyHangup, transfer: telephonyTransfer, hold: telephonyHold,
        dtmf: telephonyDTMF, frames: nil))

let telephonyProviderOps = ConstantTable(
    vc_telephony_provider_ops(
        size: UInt32(MemoryLayout<vc_telephony_provider_ops>.size), reserved: 0, decline: telephonyDecline))

private func session(_ self_: UnsafeMutableRawPointer?) -> TelephonySession {
    Unmanaged<TelephonySession>.fromOpaque(self_!).takeUnretainedValue()
}

private func leave(_ order: TelephonyOrder, _ self_: UnsafeMutableRawPointer?) -> vc_status {
    let session = session(self_)
    guard !session.isClosing.load(ordering: .relaxed) else { return vc_status(VC_E_CLOSED) }
    return session.mailbox.leave(order, of: session)
}

/// Signalling makes nothing for an epoch, so there is nothing to stop.
private func telephonyCancel(_ self_: UnsafeMutableRawPointer?, _ epoch: UInt64) {
    let session = session(self_)
    if session.raiseEpoch(to: epoch) { _ = emitBare(VC_EVENT_CANCELED, from: session.handle, epoch: epoch) }
}

private func telephonyCredit(_ self_: UnsafeMutableRawPointer?, _ events: UInt32, _ bytes: UInt64) {
    let session = session(self_)
    session.mailbox.leave(.credit, of: session)
}

private func telephonyClose(_ self_: UnsafeMutableRawPointer?) {
    let session = session(self_)
    guard !session.isClosing.exchange(true, ordering: .relaxed) else { return }
    session.mailbox.leave(.close, of: session)
}

private func telephonyDestroy(_ self_: UnsafeMutableRawPointer?) {
    let session = Unmanaged<TelephonySession>.fromOpaque(self_!)
    session.takeUnretainedValue().mailbox.leave(.destroy, of: session.takeUnretainedValue())
    session.release()
}

private func telephonyRinging(_ self_: UnsafeMutableRawPointer?) -> vc_status {
    guard case .inbound = session(self_).call else { return vc_status(VC_E_STATE) }
    return leave(.ringing, self_)
}

private func telephonyAnswer(_ self_: UnsafeMutableRawPointer?) -> vc_status {
    guard case .inbound = session(self_).call else { return vc_status(VC_E_STATE) }
    return leave(.answer, self_)
}

private func telephonyHangup(_ self_: UnsafeMutableRawPointer?, _ code: UInt32, _ reason: vc_str) -> vc_status {
    guard code == 0 || (300...699).contains(code) else { return vc_status(VC_E_ARGUMENT) }
    return leave(.hangup(code: Int(code), reason: String(reason)), self_)
}

private func telephonyTransfer(_ self_: UnsafeMutableRawPointer?, _ target: vc_str) -> vc_status {
    let target = String(target)
    guard canStandInURI(target) else { return vc_status(VC_E_ARGUMENT) }
    return leave(.transfer(target), self_)
}

private func telephonyHold(_ self_: UnsafeMutableRawPointer?, _ on: UInt32) -> vc_status {
    leave(.hold(on != 0), self_)
}

private func telephonyDTMF(_ self_: UnsafeMutableRawPointer?, _ digits: vc_str) -> vc_status {
    let digits = String(digits).uppercased()
    guard (1...32).contains(digits.utf8.count), digits.utf8.allSatisfy({ "0123456789*#ABCD".utf8.contains($0) })
    else { return vc_status(VC_E_ARGUMENT) }
    return leave(.dtmf(digits), self_)
}

private func telephonyDecline(
    _ self_: UnsafeMutableRawPointer?, _ key: vc_str, _ code: UInt32, _ retryAfterS: UInt32
) -> vc_status {
    let key = String(key)
    guard !key.isEmpty, (300...699).contains(code), let mailbox = telephonyMailbox(ofProvider: self_) else {
        return vc_status(VC_E_ARGUMENT)
    }
    return mailbox.decline(key: key, code: Int(code), retryAfterS: Int(retryAfterS))
}

func telephonyDrain(_ self_: UnsafeMutableRawPointer?) { telephonyMailbox(ofProvider: self_)?.drain() }

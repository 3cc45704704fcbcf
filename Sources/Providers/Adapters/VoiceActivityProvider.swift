// A detector behind the C line, for the thread that drives it: its table, and a memory for each call.
//
// Batches do not go through here: the detection thread calls `process` itself, because that call has a deadline and
// shares no lock with anything.

import Calls
import PluginABI

public final class VoiceActivityProvider: @unchecked Sendable {
    public let instance: ProviderInstance
    /// A private copy that lives as long as the process; the detection thread reads it.
    public let ops: UnsafePointer<vc_vad_provider_ops>

    /// The first argument of `process`.
    public var state: vc_self? { instance.providerSelf }

    /// Call after `create`.
    public init(_ instance: ProviderInstance) throws(ProviderFailure) {
        precondition(instance.kind == .voiceActivity, "\(instance.name) is of kind \(instance.kind.rawValue)")
        self.instance = instance
        do throws(TableFault) {
            let table = try adopt(instance.kindOps, as: vc_vad_provider_ops.self, "vc_vad_provider_ops", reserved: 12)
            guard table.process != nil else { throw TableFault(problem: "vc_vad_provider_ops.process is NULL") }
            guard table.window_8k > 0 || table.window_16k > 0 else {
                throw TableFault(problem: "vc_vad_provider_ops has no window for 8 kHz and none for 16 kHz")
            }
            let copy = UnsafeMutablePointer<vc_vad_provider_ops>.allocate(capacity: 1)
            copy.initialize(to: table)
            ops = UnsafePointer(copy)
        } catch {
            instance.faults.note(.slotMissing, call: "", "cannot be used for detection: \(error.problem)")
            throw ProviderFailure(code: .misbehaved, retryable: false, message: error.problem)
        }
    }

    /// Samples in a window; 0 when the detector does not take the rate.
    public func windowSamples(rateHz: Int) -> Int {
        switch rateHz {
        case 8_000: Int(ops.pointee.window_8k)
        case 16_000: Int(ops.pointee.window_16k)
        default: 0
        }
    }

    /// Opens the memory of one call. `lost` is called when the plugin gives it up.
    public func open(
        call: String, rateHz: Int, lost: @escaping @Sendable (ProviderFailure) -> Void
    ) throws(ProviderFailure) -> VoiceActivityMemory {
        try VoiceActivityMemory(instance, call: call, rateHz: rateHz, lost: lost)
    }
}

/// What a detector remembers of one call.
public final class VoiceActivityMemory: PluginSessionDelegate, @unchecked Sendable {
    private let onLost: @Sendable (ProviderFailure) -> Void
    private var session: PluginSession!

    /// `vc_vad_row.session`. Not to be used after `close`.
    public var state: vc_self? { session.stateOfPlugin }

    fileprivate init(
        _ instance: ProviderInstance, call: String, rateHz: Int, lost: @escaping @Sendable (ProviderFailure) -> Void
    ) throws(ProviderFailure) {
        onLost = lost
        var request = SessionRequest()
        request.call = call
        request.rateHz = rateHz
        request.configuration = try instance.sessionConfiguration()
        session = try PluginSession.open(instance, request, delegate: self)
    }

    /// Once and last, when no batch that is being processed names it any more.
    public func close() { session.close() }

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status { vc_status(VC_E_ARGUMENT) }
    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {}
    func lost(_ failure: ProviderFailure) { onLost(failure) }
}

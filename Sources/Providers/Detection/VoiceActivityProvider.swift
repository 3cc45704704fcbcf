// A detector plugin over the C line: its batch function for the detection thread, and a session for what it remembers of
// each call.

import Calls
import PluginABI

public final class VoiceActivityProvider: Sendable {
    public let instance: ProviderInstance
    public let table: DetectorTable

    /// Of a provider that is running. Throws what its table lacks.
    public init(_ instance: ProviderInstance) throws(ProviderFailure) {
        self.instance = instance
        do throws(TableFault) {
            var ops = try adopt(instance.kindOps, as: vc_vad_provider_ops.self, "vc_vad_provider_ops", reserved: nil)
            ops.size = UInt32(MemoryLayout<vc_vad_provider_ops>.size)
            guard let table = DetectorTable(ops: &ops, provider: instance.providerSelf) else {
                throw TableFault(problem: "vc_vad_provider_ops has no `process`, or windows of more than 64 ms")
            }
            self.table = table
        } catch {
            throw ProviderFailure(code: .misbehaved, retryable: false, message: "\(instance.name): \(error.problem)")
        }
    }

    /// Opens what the detector remembers of a call.
    public func open(call: String, rateHz: Int) throws(ProviderFailure) -> Session {
        var request = SessionRequest()
        request.call = call
        request.rateHz = rateHz
        return try Session(instance, request)
    }

    /// One call's memory in the detector.
    public final class Session: PluginSessionDelegate, @unchecked Sendable {
        private var session: PluginSession!

        init(_ instance: ProviderInstance, _ request: SessionRequest) throws(ProviderFailure) {
            session = try PluginSession.open(instance, request, delegate: self)
        }

        /// For `DetectionThread.add`.
        public var state: UnsafeMutableRawPointer? { session.state }

        /// Only when the detection thread has let the session go.
        public func close() { session.close() }

        // A detector says everything in its answer to `process`.
        func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status { vc_status(VC_E_UNSUPPORTED) }
        func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {}
        func lost(_ failure: ProviderFailure) {}
    }
}

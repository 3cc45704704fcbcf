// A detector plugin as the detection thread sees it: one function and two numbers.

import PluginABI

/// The slots of a `vc.vad/1` provider, with the provider that they are for.
public struct DetectorTable: @unchecked Sendable {
    /// Samples in a window, or 0 where the detector does not take that rate.
    public let windowSamples8k: Int
    public let windowSamples16k: Int
    let process: @convention(c) (UnsafeMutableRawPointer?, UnsafePointer<vc_vad_batch>) -> vc_status
    let provider: UnsafeMutableRawPointer?

    /// Reads `vc_provider.kind_ops`. Nil when `process` is missing or a window is longer than 64 ms: a detector that
    /// looks only every 64 ms cannot stop the agent in time.
    public init?(ops: UnsafePointer<vc_vad_provider_ops>, provider: UnsafeMutableRawPointer?) {
        guard Int(ops.pointee.size) >= MemoryLayout<vc_vad_provider_ops>.size, let process = ops.pointee.process else {
            return nil
        }
        guard ops.pointee.window_8k <= 512, ops.pointee.window_16k <= 1024 else { return nil }
        windowSamples8k = Int(ops.pointee.window_8k)
        windowSamples16k = Int(ops.pointee.window_16k)
        self.process = process
        self.provider = provider
    }

    func windowSamples(rateHz: Int) -> Int { rateHz == 8000 ? windowSamples8k : windowSamples16k }
}

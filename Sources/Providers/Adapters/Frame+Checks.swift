// A plugin's frame, looked at before its samples are.

import PluginABI

extension vc_frame {
    /// What is wrong with it, or nil.
    func problem(secondsMax: Int) -> String? {
        let width =
            switch Int(format) {
            case VC_FORMAT_S16: 2
            case VC_FORMAT_F32: 4
            default: 0
            }
        guard width > 0 else { return "format \(format); send VC_FORMAT_S16" }
        guard (8_000...48_000).contains(rate_hz) else { return "a rate of \(rate_hz) Hz" }
        guard channels == 1 else { return "\(channels) channels; one is expected" }
        guard samples > 0, UInt64(samples) <= UInt64(rate_hz) * UInt64(secondsMax) else {
            return "\(samples) samples; 1 to \(Int(rate_hz) * secondsMax) are expected"
        }
        guard bytes == UInt64(samples) * UInt64(width) else {
            return "\(bytes) bytes for \(samples) samples of \(width) bytes"
        }
        guard let data else { return "no data" }
        guard UInt(bitPattern: data) % UInt(width) == 0 else { return "data that are not aligned" }
        return nil
    }

    /// Its samples; checked before.
    var signed16: [Int16] {
        guard let data else { return [] }
        if Int(format) == VC_FORMAT_S16 {
            return Array(UnsafeBufferPointer(start: data.assumingMemoryBound(to: Int16.self), count: Int(samples)))
        }
        return UnsafeBufferPointer(start: data.assumingMemoryBound(to: Float.self), count: Int(samples)).map { value in
            value.isFinite ? Int16(max(-32_768, min(32_767, (value * 32_768).rounded()))) : 0
        }
    }
}

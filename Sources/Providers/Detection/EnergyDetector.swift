// The detector that is always there: what stands in when a plugin fails or is late, and the gate before a costly one.
//
// The same algorithm as Plugins/VADEnergy/energy_detector.c, in the same order and with the same constants, and that
// file says why it is as it is. Twice, because the host must have a detector when the directory of plugins is empty,
// and may not link a plugin. A test runs both over the same audio and compares every window.

import Glibc

/// Voice activity from energy above the line's noise, with hum, hiss and keys taken out.
public struct EnergyDetector: Sendable {
    /// Samples in a window at 8 and at 16 kHz: 32 ms.
    public static let windowSamples8k = 256
    public static let windowSamples16k = 512

    // Butterworth high-pass, second order, 200 Hz at 8 kHz.
    private static let b0: Float = 0.89485861
    private static let b1: Float = -1.78971721
    private static let b2: Float = 0.89485861
    private static let a1: Float = -1.77863178
    private static let a2: Float = 0.80080265

    private static let floorMinDb: Float = -62
    private static let floorFirstDb: Float = -45
    private static let floorBiasDb: Float = 1
    private static let evenOddsDb: Float = 10
    private static let slopeDb: Float = 1.8
    private static let hissCrossings: Float = 0.42
    private static let hissDb: Float = 4
    private static let keyBoth: Float = 0.6
    private static let keyEach: Float = 0.1
    private static let keyFactor: Float = 0.05
    private static let blockWindows = 8
    private static let keySamples = 128
    // Twice the cosine of 697, 770, 852, 941 and of 1209, 1336, 1477, 1633 Hz at 8 kHz.
    private static let keyRows = SIMD4<Float>(1.7077378, 1.6452810, 1.5686870, 1.4782046)
    private static let keyColumns = SIMD4<Float>(1.1641040, 0.9963702, 0.7986184, 0.5685327)

    private var x1: Float = 0
    private var x2: Float = 0
    private var y1: Float = 0
    private var y2: Float = 0
    private var decimator: Float = 0
    private var blockMinima = SIMD8<Float>(repeating: Self.floorFirstDb)
    private var blockMinimum = Self.floorFirstDb
    private var blockWindow = 0
    private var blockNext = 0

    public init() {}

    /// The probability, 0…1, that somebody speaks in a window of 256 samples at 8 kHz or 512 at 16 kHz.
    public mutating func process(_ samples: UnsafePointer<Int16>, rateHz: Int) -> Float {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.windowSamples8k) { filtered in
            let y = filtered.baseAddress!
            prepare(samples, rateHz: rateHz, into: y)
            var energy: Float = 0
            var crossings = 0
            for n in 0..<Self.windowSamples8k {
                energy += y[n] * y[n]
                if n > 0, (y[n] < 0) != (y[n - 1] < 0) { crossings &+= 1 }
            }
            let fullScale: Float = 32768 * 32768 * Float(Self.windowSamples8k)
            let level = 10 * log10f(energy / fullScale + 1e-10)
            var above = level - followFloor(level)
            if Float(crossings) > Self.hissCrossings * Float(Self.windowSamples8k - 1) { above -= Self.hissDb }
            let probability = 1 / (1 + expf((Self.evenOddsDb - above) / Self.slopeDb))
            return probability > 0.1 && isKey(y, energy: energy) ? probability * Self.keyFactor : probability
        }
    }

    private mutating func prepare(
        _ samples: UnsafePointer<Int16>, rateHz: Int, into filtered: UnsafeMutablePointer<Float>
    ) {
        for n in 0..<Self.windowSamples8k {
            let x: Float
            if rateHz == 16000 {
                let last = Float(samples[2 * n + 1])
                x = 0.25 * decimator + 0.5 * Float(samples[2 * n]) + 0.25 * last
                decimator = last
            } else {
                x = Float(samples[n])
            }
            let y = Self.b0 * x + Self.b1 * x1 + Self.b2 * x2 - Self.a1 * y1 - Self.a2 * y2
            x2 = x1
            x1 = x
            y2 = y1
            y1 = y
            filtered[n] = y
        }
    }

    private mutating func followFloor(_ level: Float) -> Float {
        blockMinimum = min(blockMinimum, level)
        let lowest = min(blockMinimum, blockMinima.min())
        blockWindow += 1
        if blockWindow == Self.blockWindows {
            blockMinima[blockNext] = blockMinimum
            blockNext = (blockNext + 1) % 8
            blockMinimum = 0
            blockWindow = 0
        }
        return max(lowest + Self.floorBiasDb, Self.floorMinDb)
    }

    private func isKey(_ y: UnsafePointer<Float>, energy: Float) -> Bool {
        var rows: Float = 0
        var columns: Float = 0
        for start in stride(from: 0, to: Self.windowSamples8k, by: Self.keySamples) {
            rows += energies(Self.keyRows, y + start).max()
            columns += energies(Self.keyColumns, y + start).max()
        }
        return rows > Self.keyEach * energy && columns > Self.keyEach * energy
            && rows + columns > Self.keyBoth * energy
    }

    /// Goertzel's recursion for four frequencies at once.
    private func energies(_ coefficients: SIMD4<Float>, _ y: UnsafePointer<Float>) -> SIMD4<Float> {
        var s1 = SIMD4<Float>.zero
        var s2 = SIMD4<Float>.zero
        for n in 0..<Self.keySamples {
            let s0 = SIMD4(repeating: y[n]) + coefficients * s1 - s2
            s2 = s1
            s1 = s0
        }
        return (s1 * s1 + s2 * s2 - coefficients * s1 * s2) * (2 / Float(Self.keySamples))
    }
}

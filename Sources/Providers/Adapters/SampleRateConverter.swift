// A voice of 22,050 Hz on a line of 8,000: somebody has to resample, and the contract says that the host does. The
// resampler itself belongs to the media engine, which this module does not know; the host passes it in.

/// Converts a stream of 16-bit mono samples from one rate to another. One for each stream; it remembers.
public protocol SampleRateConverter: AnyObject {
    func convert(_ samples: UnsafeBufferPointer<Int16>) -> [Int16]
}

/// Makes a converter; nil when the pair of rates is not possible.
public typealias SampleRateConverterMaker = @Sendable (_ fromHz: Int, _ toHz: Int) -> (any SampleRateConverter)?

/// The rate in which to work with a provider: the call's own where it takes that, else the next higher, else its
/// highest.
func chooseRate(_ rates: [Int], for callRateHz: Int) -> Int {
    if rates.contains(callRateHz) { return callRateHz }
    return rates.filter { $0 > callRateHz }.min() ?? rates.max() ?? callRateHz
}

/// A position at one rate as a position at another.
func rescale(_ position: UInt64, from: Int, to: Int) -> UInt64 {
    guard from != to else { return position }
    let product = position.multipliedFullWidth(by: UInt64(to))
    return product.high >= UInt64(from) ? .max : UInt64(from).dividingFullWidth(product).quotient
}

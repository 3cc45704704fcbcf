// Swift's texts, as the module's functions want them.

import TwilioWire

/// Calls `body` with the bytes of `text`. They live until it returns.
func lend<Result>(_ text: String, _ body: (tw_text) throws -> Result) rethrows -> Result {
    try lend(Array(text.utf8), body)
}

func lend<Result>(_ bytes: [UInt8], _ body: (tw_text) throws -> Result) rethrows -> Result {
    // An exact copy on the heap, so that a sanitizer sees a read past its end.
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: bytes.count)
    defer { copy.deallocate() }
    _ = copy.initialize(from: bytes)
    return try copy.withMemoryRebound(to: CChar.self) {
        try body(tw_text(at: $0.baseAddress.map { UnsafePointer($0) }, length: bytes.count))
    }
}

extension String {
    init(_ text: tw_text) {
        self.init(decoding: UnsafeRawBufferPointer(start: text.at, count: text.length), as: UTF8.self)
    }

    /// What a function wrote into a buffer of `room` bytes, and returned the length of; nil when it refused.
    init?(room: Int, _ write: (UnsafeMutablePointer<CChar>) -> Int) {
        let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: room)
        defer { buffer.deallocate() }
        let length = write(buffer)
        guard length > 0 else { return nil }
        self.init(tw_text(at: buffer, length: length))
    }
}

/// A fixed sequence of numbers, so that a failure can be had again (Numerical Recipes, 7.1).
struct Chance {
    var state: UInt64

    mutating func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(state >> 33) % bound
    }
}

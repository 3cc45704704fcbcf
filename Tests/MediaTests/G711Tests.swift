// Every sample and every code of both laws, against the definition and not against the tables.

import Testing

@testable import Media

@Suite("G.711")
struct G711Tests {
    @Test("Every code but the second zero survives decoding and encoding", arguments: [G711.mu, G711.a])
    func codesRoundTrip(law: G711) {
        for code in UInt8.min...UInt8.max {
            let sample = law.decode(code)
            let expected: UInt8 = law == .mu && code == 0x7F ? 0xFF : code
            #expect(law.encode(sample) == expected)
        }
    }

    @Test("Every sample is encoded within half a step of its segment", arguments: [G711.mu, G711.a])
    func samplesAreNear(law: G711) {
        for sample in Int16.min...Int16.max {
            let error = abs(Int(law.decode(law.encode(sample))) - Int(sample))
            // A step is a sixteenth of a segment, so the error is at most a thirty-second of the magnitude, but for the
            // smallest steps; and both laws stop short of full scale.
            let limit = max(law == .mu ? 4 : 8, abs(Int(sample)) / 31 + 4)
            #expect(error <= (abs(Int(sample)) > 32_256 ? 700 : limit), "sample \(sample)")
        }
    }

    @Test("The codes that telephony knows by heart")
    func knownCodes() {
        #expect(G711.mu.decode(0x00) == -32_124)
        #expect(G711.mu.decode(0x80) == 32_124)
        #expect(G711.mu.encode(0) == 0xFF)
        #expect(G711.mu.encode(.max) == 0x80)
        #expect(G711.mu.encode(.min) == 0x00)
        #expect(G711.a.decode(0x2A) == -32_256)
        #expect(G711.a.decode(0xAA) == 32_256)
        #expect(G711.a.encode(0) == 0xD5)
        #expect(G711.a.encode(-1) == 0x55)
        #expect(G711.a.encode(.max) == 0xAA)
        #expect(G711.a.encode(.min) == 0x2A)
    }

    @Test("Encoding never turns a louder sample into a quieter one", arguments: [G711.mu, G711.a])
    func encodingIsMonotone(law: G711) {
        var last = Int16.min
        for sample in Int16.min...Int16.max {
            let decoded = law.decode(law.encode(sample))
            #expect(decoded >= last, "sample \(sample)")
            last = max(last, decoded)
        }
    }
}

// Speech of a vendor that does not exist: a tone, so that a script needs no recording beside it, and so that whoever
// listens for a click or a lost sample finds one. Its length may follow the text, as a voice's does.

import Glibc
import JSON

/// Audio that is made when it is sent: 16 bit, one channel, little-endian.
public struct ScriptAudio: Sendable, Equatable {
    public enum Container: String, Sendable, CaseIterable {
        /// Bare samples.
        case raw
        /// A RIFF file with its sizes.
        case wav
        /// A RIFF file of somebody who does not know yet how long it becomes: sizes of 0xFFFFFFFF.
        case wavStreamed = "wav-streamed"
    }

    public enum Length: Sendable, Equatable {
        case ms(Int)
        /// So much for each character of a text, which may hold variables.
        case msPerCharacter(Int, text: String)
    }

    public var length: Length
    public var rateHz: Int
    public var container: Container
    public var toneHz: Int

    /// -12 dBFS: as loud as a voice.
    static let amplitude = 8_231.0
    /// Ten minutes; a script with more is a mistake.
    static let msMax = 600_000

    public func samples(_ variables: [String: String] = [:]) -> [Int16] {
        let ms =
            switch length {
            case .ms(let ms): ms
            case .msPerCharacter(let each, let text): each * ScriptVariables.fill(text, variables).count
            }
        let count = min(ms, Self.msMax) * rateHz / 1000
        let step = 2 * Double.pi * Double(toneHz) / Double(rateHz)
        return (0..<count).map { Int16((sin(step * Double($0)) * Self.amplitude).rounded()) }
    }

    public func bytes(_ variables: [String: String] = [:]) -> [UInt8] {
        let samples = samples(variables)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(44 + samples.count * 2)
        func number(_ value: UInt32, _ width: UInt32) {
            for byte in 0..<width { bytes.append(UInt8(value >> (8 * byte) & 255)) }
        }
        if container != .raw {
            let size = container == .wav ? UInt32(samples.count * 2) : 0xffff_ffff
            bytes += Array("RIFF".utf8)
            number(container == .wav ? 36 + size : size, 4)
            bytes += Array("WAVEfmt ".utf8)
            number(16, 4)
            number(1, 2)  // PCM
            number(1, 2)  // channels
            number(UInt32(rateHz), 4)
            number(UInt32(rateHz) * 2, 4)
            number(2, 2)  // bytes in a frame
            number(16, 2)  // bits in a sample
            bytes += Array("data".utf8)
            number(size, 4)
        }
        for sample in samples {
            bytes.append(UInt8(truncatingIfNeeded: sample))
            bytes.append(UInt8(truncatingIfNeeded: sample >> 8))
        }
        return bytes
    }

    public var contentType: String {
        container == .raw ? "audio/L16;rate=\(rateHz);channels=1" : "audio/wav"
    }

}

extension ScriptAudio {
    init(_ object: inout ScriptObject) throws(ScriptError) {
        switch try object.choice(["ms", "msPerCharacter"]) {
        case "ms": length = .ms(try object.integer("ms", in: 0...Self.msMax)!)
        case "msPerCharacter":
            guard let text = try object.text("text") else {
                throw object.error("text", "is missing; expected whose characters are counted, \"{{text}}\" say")
            }
            length = .msPerCharacter(try object.integer("msPerCharacter", in: 1...1000)!, text: text)
        default: throw object.error("ms", "is missing; expected the length, or `msPerCharacter` and `text`")
        }
        guard let rateHz = try object.integer("rateHz", in: 8000...48000) else {
            throw object.error("rateHz", "is missing; expected an integer in 8000...48000")
        }
        self.rateHz = rateHz
        toneHz = try object.integer("toneHz", in: 20...20000) ?? 440
        let name = try object.text("container") ?? "raw"
        guard let container = Container(rawValue: name) else {
            throw object.error("container", "expected \"raw\", \"wav\" or \"wav-streamed\", found \"\(name)\"")
        }
        self.container = container
    }
}

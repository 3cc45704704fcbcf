// A WAV file around samples, and a form around a WAV file: what servers want that do not take bare samples.

public enum Waveform {
    /// A whole RIFF file of signed 16 bit, one channel.
    public static func wav(_ samples: [Int16], rateHz: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(44 + samples.count * 2)
        func number(_ value: Int, _ width: Int) {
            for byte in 0..<width { bytes.append(UInt8(value >> (8 * byte) & 255)) }
        }
        bytes += Array("RIFF".utf8)
        number(36 + samples.count * 2, 4)
        bytes += Array("WAVEfmt ".utf8)
        number(16, 4)
        number(1, 2)  // PCM
        number(1, 2)  // channels
        number(rateHz, 4)
        number(rateHz * 2, 4)
        number(2, 2)  // bytes in a frame
        number(16, 2)  // bits in a sample
        bytes += Array("data".utf8)
        number(samples.count * 2, 4)
        for sample in samples {
            bytes.append(UInt8(truncatingIfNeeded: sample))
            bytes.append(UInt8(truncatingIfNeeded: sample >> 8))
        }
        return bytes
    }

    /// `multipart/form-data` (RFC 7578) with the file last.
    public static func form(fields: [(name: String, value: String)], wav: [UInt8]) -> (
        contentType: String, body: [UInt8]
    ) {
        // 16 bit samples that spell this boundary after a line break do not happen by chance.
        let boundary = "vchost-7c1f0a94e2b84d5d9a6e3f2b1c0d8e7a"
        var body: [UInt8] = []
        for field in fields {
            body += Array(
                "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(field.name)\"\r\n\r\n\(field.value)\r\n".utf8
            )
        }
        body += Array(
            ("--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; filename=\"utterance.wav\"\r\n"
                + "Content-Type: audio/wav\r\n\r\n").utf8)
        body += wav
        body += Array("\r\n--\(boundary)--\r\n".utf8)
        return ("multipart/form-data; boundary=\(boundary)", body)
    }
}

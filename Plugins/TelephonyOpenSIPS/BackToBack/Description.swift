// The two things that signalling must know of a description (SDP): whether the peer holds the call, and how we say that
// we hold it. All else in it is the media service's.

enum Description {
    /// Whether audio does not flow to us (RFC 3264, 8.4), or the address is the 0.0.0.0 of old phones.
    static func isHold(_ text: String) -> Bool {
        var direction = "a=sendrecv"
        var isInAudio = false
        var address = ""
        for line in text.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("m=") {
                if isInAudio { break }
                isInAudio = line.hasPrefix("m=audio")
            } else if line.hasPrefix("c=") {
                address = String(line)
            } else if ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains(line) {
                direction = String(line)
            }
        }
        return direction == "a=sendonly" || direction == "a=inactive" || address.hasSuffix(" 0.0.0.0")
    }

    /// The same description, saying that we send and do not listen.
    static func held(_ text: String) -> String {
        var lines = text.split(whereSeparator: \.isNewline).map(String.init)
        lines.removeAll { ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"].contains($0) }
        return (lines + ["a=sendonly"]).joined(separator: "\r\n") + "\r\n"
    }
}

/// A key that the caller pressed, in an INFO.
enum PressedKey {
    /// `Signal=5\r\nDuration=160` (application/dtmf-relay), or the bare digit (application/dtmf).
    static func read(_ body: String, isRelay: Bool) -> (digit: String, durationMs: Int)? {
        var value = body
        var durationMs = 0
        if isRelay {
            value = ""
            for line in body.split(whereSeparator: \.isNewline) {
                let pair = line.split(separator: "=", maxSplits: 1)
                guard pair.count == 2 else { continue }
                let text = pair[1].filter { $0 != " " }
                switch pair[0].filter({ $0 != " " }).lowercased() {
                case "signal": value = text
                case "duration": durationMs = Int(text).flatMap { (1...10_000).contains($0) ? $0 : nil } ?? 0
                default: break
                }
            }
        }
        value = value.filter { !$0.isWhitespace }.uppercased()
        // 10 and 11 are the numbers of the events star and hash (RFC 4733, 3.2).
        if value == "10" { value = "*" }
        if value == "11" { value = "#" }
        guard value.utf8.count == 1, "0123456789*#ABCD".contains(value) else { return nil }
        return (value, durationMs)
    }
}

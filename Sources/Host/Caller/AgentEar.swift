// What the caller hears: whether the agent speaks, judged by level alone.
//
// A person at the other end would judge no better, and it is measured here, on the caller's side, so that what it finds
// (how long the answer took, how soon an interruption silenced the agent) contains everything that was on the way.

struct AgentEar {
    /// -44 dBFS: above the noise of a line, below any voice.
    static let loud: Int32 = 200
    /// Pauses within a sentence are shorter.
    static let quietNs: UInt64 = 300_000_000

    private(set) var isSpeaking = false
    /// When the agent's present or last sound began, and when it was last heard.
    private(set) var soundBeganNs: UInt64 = 0
    private(set) var lastLoudNs: UInt64 = 0
    private var loudFrames = 0

    enum Change: Equatable {
        case began(atNs: UInt64)
        case ended(atNs: UInt64)
    }

    /// A frame of 20 ms that arrived at `nowNs`. One loud frame is a click, two are a voice.
    mutating func hear(_ samples: UnsafeBufferPointer<Int16>, at nowNs: UInt64) -> Change? {
        let power = samples.reduce(Int64(0)) { $0 + Int64($1) * Int64($1) } / Int64(max(1, samples.count))
        guard power >= Int64(Self.loud) * Int64(Self.loud) else {
            loudFrames = 0
            guard isSpeaking, nowNs - lastLoudNs >= Self.quietNs else { return nil }
            isSpeaking = false
            return .ended(atNs: lastLoudNs)
        }
        loudFrames += 1
        if loudFrames == 1, !isSpeaking { soundBeganNs = nowNs }
        lastLoudNs = nowNs
        guard loudFrames >= 2, !isSpeaking else { return nil }
        isSpeaking = true
        return .began(atNs: soundBeganNs)
    }
}

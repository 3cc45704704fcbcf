/// The agent's sound on its way to the caller.
///
///   voice ──► mailbox (credit) ──► pending ──► playout (two seconds) ──► caller
///                ▲                                   │ played
///                └────────────── credit ─────────────┘
///
/// Written to the playout as far as it takes, and the rest when there is room. Credit goes back as sound is played, to
/// the voice that made it, or to its successor if that is gone: the room is one, and whoever waits for it is not who
/// filled it. What a new epoch throws away is credited at once, so that a voice begins every turn with all of it.
struct AgentSound {
    private struct Chunk {
        var maker: Provider?
        var isSpeech: Bool
        var samples: [Int16]
        var written = 0
    }

    private struct Written {
        var maker: Provider?
        /// Made by a voice, which may be closed by now, and not a clip.
        var isSpeech: Bool
        var samples: Int
    }

    private var pending: [Chunk] = []
    private var written: [Written] = []
    private var played: UInt64 = 0
    /// nil: to the successor of a voice that is closed.
    private var owed: [Provider?: Int] = [:]
    private let creditSamples: Int

    init(rateHz: Int) {
        // Credit goes back in tenths of a second: often enough for a voice to keep up, rarely enough to cost nothing.
        creditSamples = rateHz / 10
    }

    /// Something waits to be played.
    var isPlaying: Bool { !pending.isEmpty || !written.isEmpty }

    mutating func append(_ samples: [Int16], from maker: Provider?) {
        if !samples.isEmpty { pending.append(Chunk(maker: maker, isSpeech: maker != nil, samples: samples)) }
    }

    mutating func pump(into audio: any CallAudio, epoch: UInt64) {
        while !pending.isEmpty {
            let chunk = pending[0]
            let taken = chunk.samples.withUnsafeBufferPointer {
                audio.write(UnsafeBufferPointer(rebasing: $0[chunk.written...]), epoch: epoch)
            }
            guard taken > 0 else { return }
            written.append(Written(maker: chunk.maker, isSpeech: chunk.isSpeech, samples: taken))
            pending[0].written += taken
            if pending[0].written >= chunk.samples.count { pending.removeFirst() }
        }
    }

    /// Playout has come to `samples` of the epoch. Returns how many samples of voices were played anew.
    mutating func advanced(to samples: UInt64) -> Int {
        guard samples > played else { return 0 }
        var left = Int(samples - played)
        var ofVoices = 0
        played = samples
        while left > 0, !written.isEmpty {
            let part = min(left, written[0].samples)
            if written[0].isSpeech {
                owed[written[0].maker, default: 0] += part
                ofVoices += part
            }
            written[0].samples -= part
            left -= part
            if written[0].samples == 0 { written.removeFirst() }
        }
        return ofVoices
    }

    /// Sound that was refused after it had been accepted.
    mutating func refused(_ samples: Int, from maker: Provider) {
        owed[maker, default: 0] += samples
    }

    /// A new epoch: nothing of the old one counts.
    mutating func startEpoch() {
        for chunk in pending where chunk.isSpeech {
            owed[chunk.maker, default: 0] += chunk.samples.count - chunk.written
        }
        for part in written where part.isSpeech { owed[part.maker, default: 0] += part.samples }
        pending = []
        written = []
        played = 0
    }

    /// Credit to be given back now; all of it if nothing is being played.
    mutating func takeCredit() -> [(Provider?, Int)] {
        guard !owed.isEmpty else { return [] }
        let due = owed.filter { !isPlaying || $0.value >= creditSamples }
        for maker in due.keys { owed.removeValue(forKey: maker) }
        return due.map { ($0.key, $0.value) }
    }

    mutating func closed(_ maker: Provider) {
        if let left = owed.removeValue(forKey: maker) { owed[nil, default: 0] += left }
        for index in pending.indices where pending[index].maker == maker { pending[index].maker = nil }
        for index in written.indices where written[index].maker == maker { written[index].maker = nil }
    }
}

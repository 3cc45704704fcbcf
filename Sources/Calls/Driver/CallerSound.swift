/// The caller's sound on its way to the recogniser.
///
/// A recogniser that wants only speech gets each stretch with what preceded it: a detector is sure of speech some 100
/// ms after it began, and words begin softly. So the last sound is always kept, and sent first. The same store holds
/// what is said while a recogniser is being opened or replaced.
struct CallerSound {
    private struct Chunk {
        var position: UInt64
        var samples: [Int16]

        var end: UInt64 { position + UInt64(samples.count) }
    }

    private let preRollSamples: UInt64
    private let backlogSamples: UInt64
    private var chunks: [Chunk] = []
    private var first = 0
    private(set) var isSpeech = false
    private(set) var refusedSamples = 0

    init(rateHz: Int, preRollMs: Int) {
        preRollSamples = UInt64(rateHz * preRollMs / 1000)
        backlogSamples = UInt64(rateHz * CallLimits.recogniserBacklogMs / 1000)
    }

    /// Speech began at `position`.
    mutating func begin(at position: UInt64, _ session: (any SpeechToTextSession)?) {
        isSpeech = true
        let from = position > preRollSamples ? position - preRollSamples : 0
        while first < chunks.count, chunks[first].end <= from { first += 1 }
        guard let session, !session.wantsSilence else { return }
        session.begin(at: first < chunks.count ? chunks[first].position : position)
        send(to: session)
    }

    mutating func end() {
        isSpeech = false
    }

    mutating func frame(
        _ samples: UnsafeBufferPointer<Int16>, at position: UInt64, to session: (any SpeechToTextSession)?
    ) {
        if let session, isSpeech || session.wantsSilence {
            send(to: session)
            if session.push(samples, at: position) == .full { refusedSamples += samples.count }
            return
        }
        chunks.append(Chunk(position: position, samples: Array(samples)))
        // Twice the pre-roll while nobody speaks: it must reach back from where the detector says speech began, which
        // is later than now.
        let kept = isSpeech ? backlogSamples : 2 * preRollSamples
        let newest = position + UInt64(samples.count)
        while first < chunks.count, newest > kept, chunks[first].end <= newest - kept { first += 1 }
        if first > 32 {
            chunks.removeFirst(first)
            first = 0
        }
    }

    /// A recogniser has become ready in the middle of speech.
    mutating func ready(_ session: any SpeechToTextSession) {
        guard isSpeech, first < chunks.count else { return }
        if !session.wantsSilence { session.begin(at: chunks[first].position) }
        send(to: session)
    }

    private mutating func send(to session: any SpeechToTextSession) {
        guard first < chunks.count else { return }
        for chunk in chunks[first...] {
            let handover = chunk.samples.withUnsafeBufferPointer { session.push($0, at: chunk.position) }
            if handover == .full { refusedSamples += chunk.samples.count }
        }
        chunks = []
        first = 0
    }
}

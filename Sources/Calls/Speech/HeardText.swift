/// What the caller has heard of an agent turn, from the samples that were played.
///
/// A language model that believes it has said what nobody heard goes on from there, and the conversation derails. So
/// this may credit too little and never too much:
///   - where the voice marks its words, a word counts when the next word has begun (some voices mark the beginning,
///     some the end: that rule is safe for both);
///   - where it marks whole clauses, or nothing, text is credited in proportion to its samples, less the time that
///     sound takes to the ear, and cut back to a whole word;
///   - while a piece is still being synthesised its length is not known, and a slow speaker is assumed.
/// What was credited stays credited, so more time never credits less.
public struct HeardText: Sendable, Equatable {
    private struct Segment: Sendable, Equatable {
        var request: UInt64
        var text: [UInt8]
        var samples: UInt64 = 0
        var isDone = false
        var marks: [SpeechMark] = []
        var isRemembered: Bool
        var credited = 0
    }

    /// Audio as it lies in the playout: whose it is, and how much.
    private struct Piece: Sendable, Equatable {
        var segment: Int
        var samples: UInt64
    }

    private var segments: [Segment] = []
    private var pieces: [Piece] = []
    private let rateHz: UInt64
    private let earDelaySamples: UInt64
    /// Samples of all pieces.
    public private(set) var totalSamples: UInt64 = 0
    public private(set) var playedSamples: UInt64 = 0

    /// Samples of a byte of text at 8 characters a second, slower than anybody speaks.
    private var slowestSamplesPerByte: UInt64 { rateHz / 8 }

    public init(rateHz: Int, earDelayMs: Int) {
        self.rateHz = UInt64(rateHz)
        earDelaySamples = UInt64(rateHz * earDelayMs / 1000)
    }

    /// Announces a request, in the order of speaking. `isRemembered` is false for what is no part of the conversation,
    /// such as "one moment, please".
    public mutating func begin(_ request: UInt64, text: String, isRemembered: Bool = true) {
        segments.append(Segment(request: request, text: Array(text.utf8), isRemembered: isRemembered))
    }

    /// Audio of a request was appended to the playout. Audio of an unknown request takes its time and credits nothing.
    public mutating func audio(_ request: UInt64, samples: Int) {
        precondition(samples >= 0, "\(samples) samples were appended")
        let index = index(of: request) ?? -1
        if index >= 0 { segments[index].samples += UInt64(samples) }
        totalSamples += UInt64(samples)
        if pieces.last?.segment == index {
            pieces[pieces.count - 1].samples += UInt64(samples)
        } else {
            pieces.append(Piece(segment: index, samples: UInt64(samples)))
        }
    }

    /// A mark that runs backwards, or leaves the text, is the voice's fault and ignored (false).
    public mutating func mark(_ request: UInt64, _ mark: SpeechMark) -> Bool {
        guard let index = index(of: request) else { return false }
        let segment = segments[index]
        guard mark.textStart >= 0, mark.textStart <= mark.textEnd, mark.textEnd <= segment.text.count,
            segment.marks.count < CallLimits.marksPerRequest
        else { return false }
        if let last = segment.marks.last, mark.position < last.position || mark.textStart < last.textEnd {
            return false
        }
        segments[index].marks.append(mark)
        return true
    }

    public mutating func done(_ request: UInt64) {
        guard let index = index(of: request) else { return }
        segments[index].isDone = true
    }

    /// The voice was given up. Returns the text of the request that must be spoken anew: what the marks do not prove to
    /// be in the audio. Without marks that is the whole piece, because hearing words twice is better than losing them.
    public mutating func abandon(_ request: UInt64) -> String {
        guard let index = index(of: request) else { return "" }
        var keep = 0
        let marks = segments[index].marks
        for (mark, next) in zip(marks, marks.dropFirst()) where next.position <= segments[index].samples {
            keep = mark.textEnd
        }
        keep = max(keep, segments[index].credited)
        let rest = String(decoding: segments[index].text[keep...], as: UTF8.self)
        segments[index].text.removeLast(segments[index].text.count - keep)
        // They point into text that is no longer here.
        segments[index].marks.removeAll { $0.textEnd > keep }
        segments[index].isDone = true
        return rest
    }

    /// Playout has come to `samples`, counted from the beginning of the epoch.
    public mutating func played(_ samples: UInt64) {
        playedSamples = max(playedSamples, min(samples, totalSamples))
        credit(upTo: playedSamples > earDelaySamples ? playedSamples - earDelaySamples : 0)
    }

    /// Everything was played and the silence after it was heard.
    public mutating func finish() {
        playedSamples = totalSamples
        credit(upTo: totalSamples)
    }

    /// The remembered words that were heard, as they are said and without trailing spaces.
    public var heard: String { joined { $0.text[..<$0.credited] } }

    /// The remembered words that were not.
    public var unheard: String { joined { $0.text[$0.credited...] } }

    /// Whether the piece that is now being heard, or was heard last, asks something.
    public var endsInQuestion: Bool {
        guard let piece = segments.last(where: { $0.credited > 0 }) else { return false }
        return Words.isQuestion(String(decoding: piece.text[..<piece.credited], as: UTF8.self))
    }

    func samples(of request: UInt64) -> UInt64 {
        index(of: request).map { segments[$0].samples } ?? 0
    }

    private func index(of request: UInt64) -> Int? {
        segments.lastIndex { $0.request == request }
    }

    private mutating func credit(upTo position: UInt64) {
        var left = position
        var playedOf = [UInt64](repeating: 0, count: segments.count)
        for piece in pieces {
            let part = min(left, piece.samples)
            if piece.segment >= 0 { playedOf[piece.segment] += part }
            left -= part
        }
        for index in segments.indices {
            let segment = segments[index]
            let bytes = heardBytes(segment, played: playedOf[index])
            segments[index].credited = max(segment.credited, bytes)
            // Speech is heard in order: nothing behind a piece that is not wholly heard can have been.
            if bytes < segment.text.count || !segment.isDone { break }
        }
    }

    private func heardBytes(_ segment: Segment, played: UInt64) -> Int {
        if segment.isDone, played >= segment.samples { return segment.text.count }
        if !segment.marks.isEmpty { return markedBytes(segment, played: played) }
        let count = UInt64(segment.text.count)
        let length = segment.isDone ? segment.samples : max(segment.samples, count * slowestSamplesPerByte)
        guard length > 0 else { return 0 }
        var bytes = Int(count * min(played, length) / length)
        while bytes > 0, !Self.isSpace(segment.text[bytes - 1]) { bytes -= 1 }
        return bytes
    }

    private func markedBytes(_ segment: Segment, played: UInt64) -> Int {
        var bytes = 0
        for (index, mark) in segment.marks.enumerated() {
            let next = index + 1 < segment.marks.count ? segment.marks[index + 1].position : nil
            if let next, next <= played {
                bytes = mark.textEnd
                continue
            }
            // Within a stretch of several words, as within a piece without marks; a single word is cut back to nothing.
            let end = mark.end > mark.position ? mark.end : next ?? mark.position
            guard played > mark.position, end > mark.position else { break }
            let share = min(played, end) - mark.position
            var heard = mark.textStart + Int(UInt64(mark.textEnd - mark.textStart) * share / (end - mark.position))
            while heard > mark.textStart, !Self.isSpace(segment.text[heard - 1]) { heard -= 1 }
            bytes = max(bytes, heard > mark.textStart ? heard : 0)
            break
        }
        return bytes
    }

    private func joined(_ part: (Segment) -> ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        for segment in segments where segment.isRemembered { bytes.append(contentsOf: part(segment)) }
        while let last = bytes.last, Self.isSpace(last) { bytes.removeLast() }
        let start = bytes.firstIndex { !Self.isSpace($0) } ?? bytes.count
        return String(decoding: bytes[start...], as: UTF8.self)
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }
}

// The voices that can be chosen, side by side: a table for a person, JSON for a program.

import JSON
import Providers

/// A voice and the section whose calls may have it.
struct OfferedVoice: Sendable, Equatable {
    /// "tts.cartesia".
    let provider: String
    let voice: ListedVoice
    let source: Source

    /// Who says so. What the vendor lists is the vendor's, wherever else it stands.
    enum Source: String, Sendable { case manifest, vendor }
}

struct VoiceTable {
    let voices: [OfferedVoice]
    /// What is to be said of a section: that it has no list, that its vendor did not answer.
    let remarks: [(provider: String, text: String)]

    /// - Parameter language: only voices of it, or that speak several; empty: all.
    init(_ voices: [OfferedVoice], remarks: [(provider: String, text: String)] = [], language: String = "") {
        self.voices = voices.filter { Self.speaks($0.voice, language) }
        self.remarks = remarks
    }

    /// "tr" takes "tr-TR" and "tr_TR", and "en-GB" does not take "en-US".
    static func speaks(_ voice: ListedVoice, _ language: String) -> Bool {
        func parts(_ text: String) -> [String] {
            text.lowercased().split(whereSeparator: { $0 == "-" || $0 == "_" }).map(String.init)
        }
        let (theirs, wanted) = (parts(voice.language), parts(language))
        return zip(theirs, wanted).allSatisfy { $0 == $1 }
    }

    var text: String {
        let heads = ["PROVIDER", "NAME", "LANGUAGE", "GENDER", "ID", "DESCRIPTION"]
        let rows = [heads] + voices.map { offered in
            let voice = offered.voice
            return [offered.provider, voice.name, voice.language, voice.gender, voice.id, voice.description].map {
                $0.isEmpty ? "-" : Self.plain($0)
            }
        }
        let widths = heads.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var text = ""
        for row in rows {
            let cells = zip(row, widths).dropLast().map { $0 + String(repeating: " ", count: $1 - $0.count) }
            text += (cells + [row.last ?? ""]).joined(separator: "  ") + "\n"
        }
        for remark in remarks { text += "\(remark.provider): \(Self.plain(remark.text, lengthMax: 400))\n" }
        return text
    }

    /// One line, without what would move a terminal's cursor: a vendor's description is anybody's text.
    private static func plain(_ text: String, lengthMax: Int = 80) -> String {
        let line = String(text.map { $0.isNewline || ($0.unicodeScalars.first?.value ?? 0) < 32 ? " " : $0 })
        return line.count > lengthMax ? line.prefix(lengthMax - 1) + "…" : line
    }

    var json: JSONValue {
        [
            "voices": .array(
                voices.map { offered in
                    let voice = offered.voice
                    return [
                        "provider": .string(offered.provider), "id": .string(voice.id), "name": .string(voice.name),
                        "language": .string(voice.language), "gender": .string(voice.gender),
                        "description": .string(voice.description), "source": .string(offered.source.rawValue),
                    ]
                }),
            "remarks": .array(remarks.map { ["provider": .string($0.provider), "text": .string($0.text)] }),
        ]
    }
}

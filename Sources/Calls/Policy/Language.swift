/// What the conversation must know of a language to take turns in it: not its grammar, only its signs.
///
/// Word lists instead of a model, because they can be read, corrected by an operator and tested, and because they cost
/// nothing in the 300 ms in which they are asked. A language that is not here uses `undetermined`: no backchannels,
/// no hanging words, so silence alone decides.
public struct Language: Sendable, Equatable {
    /// BCP 47.
    public var tag: String
    /// Acknowledgements that do not ask for the floor, normalised as `Words.normalised` does.
    public var backchannels: Set<String>
    /// Words after which nobody has finished.
    public var hangingWords: Set<String>
    /// Number words, for dictated digits.
    public var digitWords: Set<String>
    /// Abbreviations that end in a dot and do not end a sentence, without the dot, lower case.
    public var abbreviations: Set<String>
    /// Abbreviations that may end a sentence all the same (`etc.`, `vb.`); the next letter decides.
    public var closingAbbreviations: Set<String>
    /// "1. kat": a dot after a number makes an ordinal.
    public var dotMakesOrdinal: Bool
    public var clipTexts: [Clip: String]

    public init(
        tag: String, backchannels: Set<String> = [], hangingWords: Set<String> = [], digitWords: Set<String> = [],
        abbreviations: Set<String> = [], closingAbbreviations: Set<String> = [], dotMakesOrdinal: Bool = false,
        clipTexts: [Clip: String] = [:]
    ) {
        self.tag = tag
        self.backchannels = backchannels
        self.hangingWords = hangingWords
        self.digitWords = digitWords
        self.abbreviations = abbreviations
        self.closingAbbreviations = closingAbbreviations
        self.dotMakesOrdinal = dotMakesOrdinal
        self.clipTexts = clipTexts
    }

    /// The language of a tag such as `tr-TR`; its own tag is kept.
    public static func named(_ tag: String) -> Language {
        var language =
            switch tag.prefix(2).lowercased() {
            case "en": english
            case "tr": turkish
            default: undetermined
            }
        language.tag = tag
        return language
    }

    public var isTurkish: Bool { tag.prefix(2).lowercased() == "tr" }

    public static let undetermined = Language(tag: "und", clipTexts: english.clipTexts)

    public static let english = Language(
        tag: "en",
        backchannels: [
            "uh huh", "uhhuh", "mm hmm", "mmhmm", "mhm", "hmm", "hm", "mm", "uh", "um", "ah", "oh", "ok", "okay",
            "yeah", "yep", "yes", "right", "sure", "i see", "got it", "alright", "all right", "go on", "aha",
        ],
        hangingWords: [
            "and", "or", "but", "so", "because", "the", "a", "an", "of", "to", "for", "with", "from", "at", "in", "on",
            "by", "my", "your", "his", "her", "our", "their", "is", "are", "was", "were", "if", "when", "that", "which",
            "i", "um", "uh", "er", "like", "about", "than", "as",
        ],
        digitWords: [
            "zero", "oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "double", "triple",
        ],
        abbreviations: [
            "mr", "mrs", "ms", "dr", "prof", "st", "vs", "no", "nos", "fig", "jr", "sr", "approx", "e.g", "i.e", "dept",
            "est", "ave", "ext", "tel", "gen", "col", "sgt", "capt", "rev",
        ],
        closingAbbreviations: ["etc", "inc", "ltd", "co", "corp", "a.m", "p.m", "u.s", "u.k"],
        clipTexts: [
            .oneMoment: "One moment, please.",
            .notUnderstood: "I am sorry, I cannot help with that. Is there anything else?",
            .technicalGoodbye: "I am sorry, we have a technical problem. Please call again later. Goodbye.",
            .stillThere: "Are you still there?",
            .goodbye: "I cannot hear you, so I will hang up now. Goodbye.",
        ])

    public static let turkish = Language(
        tag: "tr",
        backchannels: [
            "hı hı", "hıhı", "hı", "hmm", "hm", "evet", "tamam", "tamamdır", "peki", "olur", "anladım", "doğru",
            "tabii", "tabi", "aynen", "he", "ha", "aa", "ee", "öyle", "güzel", "ok", "okey", "hıh", "mm",
        ],
        hangingWords: [
            "ve", "veya", "ya da", "ama", "fakat", "çünkü", "için", "ile", "bir", "bu", "şu", "o", "de", "da", "ki",
            "eğer", "benim", "senin", "sizin", "bizim", "onun", "şey", "yani", "hani", "ııı", "eee", "en", "daha",
            "gibi",
            "kadar",
        ],
        digitWords: ["sıfır", "bir", "iki", "üç", "dört", "beş", "altı", "yedi", "sekiz", "dokuz", "çift"],
        abbreviations: [
            "dr", "doç", "prof", "av", "sn", "bkz", "örn", "no", "tel", "cad", "sok", "mah", "apt", "yrd", "müh", "st",
            "mr", "mrs", "alm", "ing",
        ],
        closingAbbreviations: ["vb", "vs", "vd", "a.ş", "ltd", "şti", "m.ö", "m.s", "t.c"],
        dotMakesOrdinal: true,
        clipTexts: [
            .oneMoment: "Bir saniye lütfen.",
            .notUnderstood: "Kusura bakmayın, bu konuda yardımcı olamıyorum. Başka bir isteğiniz var mı?",
            .technicalGoodbye:
                "Özür dilerim, teknik bir sorun yaşıyoruz. Lütfen daha sonra tekrar arayın. İyi günler.",
            .stillThere: "Hâlâ hatta mısınız?",
            .goodbye: "Sizi duyamıyorum, görüşmeyi sonlandırıyorum. İyi günler.",
        ])
}

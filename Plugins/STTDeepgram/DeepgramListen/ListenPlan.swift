// Which of Deepgram's two interfaces a call gets, and with what parameters.
//
// Flux (`/v2/listen`) decides turns by itself, and hears ten languages; Nova (`/v1/listen`) hears many more, Turkish
// among them, and finds pauses. An operator names models and the call names its language, so the choice is made here,
// once for each call. Each interface refuses the other's parameters with status 400, so nothing is sent to both.

import PluginKit

/// The settings, as they stand in the configuration.
public struct ListenSettings: Sendable, Equatable {
    public var url = "wss://api.deepgram.com"
    public var model = "flux-general-en"
    public var modelMultilingual = "flux-general-multi"
    public var modelOther = "nova-3"
    /// What the multilingual Flux hears, besides English.
    public var fluxLanguages: [String] = []
    /// Wins over the call's.
    public var language = ""
    public var encoding = "auto"
    public var keyterms: [String] = []
    public var endOfTurnThreshold: Double?
    public var eagerThreshold = 0.0
    public var endOfTurnTimeoutMs: Int?
    public var endpointingMs = 300
    public var utteranceEndMs = 1000
    public var punctuates = true
    public var smartFormat = false
    public var numerals = false
    public var filtersProfanity = false
    public var optsOut = false
    public var tag = ""

    public init() {}
}

/// What one call asks for.
public struct ListenPlan: Sendable, Equatable {
    public enum Interface: Sendable, Equatable { case flux, nova }
    public enum Encoding: String, Sendable { case linear16, mulaw }

    /// Terms beyond this are refused by Flux.
    public static let keytermsMax = 100

    public let interface: Interface
    public let model: String
    /// What Nova was told, or the hint for Flux; empty where the model knows only one.
    public let language: String
    public let encoding: Encoding
    public let url: String

    public init(_ settings: ListenSettings, language callLanguage: String, rateHz: Int) {
        let language = settings.language.isEmpty ? callLanguage : settings.language
        let base = String(language.prefix { $0 != "-" && $0 != "_" }).lowercased()
        if !settings.model.hasPrefix("flux") {
            (interface, model) = (.nova, settings.model)
        } else if base.isEmpty || base == "en" {
            (interface, model) = (.flux, settings.model)
        } else if settings.fluxLanguages.contains(base) {
            (interface, model) = (.flux, settings.modelMultilingual)
        } else {
            (interface, model) = (settings.modelOther.hasPrefix("flux") ? .flux : .nova, settings.modelOther)
        }
        // A telephone's samples are µ-law already, so coding them again takes nothing away and halves the bytes.
        encoding = settings.encoding == "auto" ? (rateHz == 8000 ? .mulaw : .linear16) : Encoding(settings.encoding)

        var query: [(String, String)] = [
            ("model", model), ("encoding", encoding.rawValue), ("sample_rate", String(rateHz)),
        ]
        switch interface {
        case .flux:
            self.language = model == settings.modelMultilingual ? base : ""
            if !self.language.isEmpty { query.append(("language_hint", base)) }
            if let threshold = settings.endOfTurnThreshold { query.append(("eot_threshold", Self.text(threshold))) }
            if settings.eagerThreshold > 0 {
                // One above the other is refused.
                let eager = min(settings.eagerThreshold, settings.endOfTurnThreshold ?? 0.7)
                query.append(("eager_eot_threshold", Self.text(eager)))
            }
            if let ms = settings.endOfTurnTimeoutMs { query.append(("eot_timeout_ms", String(ms))) }
        case .nova:
            // Nova knows "tr" and not "tr-TR", and a few that differ by country, which it knows with it.
            let withCountry = [
                "en-us", "en-gb", "en-au", "en-in", "en-nz", "pt-br", "pt-pt", "es-419", "fr-ca", "de-ch",
            ]
            let tag = language.replacing("_", with: "-")
            self.language = withCountry.contains(tag.lowercased()) || base == "multi" ? tag : base
            if !self.language.isEmpty { query.append(("language", self.language)) }
            query += [
                ("channels", "1"), ("interim_results", "true"),
                ("endpointing", settings.endpointingMs > 0 ? String(settings.endpointingMs) : "false"),
            ]
            if settings.utteranceEndMs > 0 { query.append(("utterance_end_ms", String(settings.utteranceEndMs))) }
            if settings.punctuates { query.append(("punctuate", "true")) }
            if settings.smartFormat { query.append(("smart_format", "true")) }
        }
        if settings.numerals { query.append(("numerals", "true")) }
        if settings.filtersProfanity { query.append(("profanity_filter", "true")) }
        if settings.optsOut { query.append(("mip_opt_out", "true")) }
        if !settings.tag.isEmpty { query.append(("tag", settings.tag)) }
        // Older models have another parameter for them, with weights, and refuse this one.
        if interface == .flux || model.hasPrefix("nova-3") {
            query += settings.keyterms.prefix(Self.keytermsMax).map { ("keyterm", $0) }
        }
        let origin = settings.url.hasSuffix("/") ? String(settings.url.dropLast()) : settings.url
        url = origin + (interface == .flux ? "/v2/listen?" : "/v1/listen?")
            + query.map { $0.0 + "=" + Self.escaped($0.1) }.joined(separator: "&")
    }

    /// "0.7" and not "0.69999999999999996".
    private static func text(_ value: Double) -> String {
        let thousandths = Int((value * 1000).rounded())
        var digits = String(1000 + thousandths % 1000).dropFirst()
        while digits.count > 1, digits.last == "0" { digits = digits.dropLast() }
        return "\(thousandths / 1000).\(digits)"
    }

    /// RFC 3986, 2.3: all but unreserved characters in percent.
    static func escaped(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += (byte < 16 ? "%0" : "%") + digits
            }
        }
        return escaped
    }
}

extension ListenPlan.Encoding {
    init(_ name: String) { self = ListenPlan.Encoding(rawValue: name) ?? .linear16 }
}

// The manifest's grammar, in the order in which `docs/manifest.md` explains it.

import JSON

extension Manifest {
    /// The version of the document's shape that is read here.
    public static let formatVersion = 1
    /// A plugin with more has lost count.
    static let providersMax = 32

    /// Reads a manifest. Throws `ManifestError`, which names the key and what is expected there.
    public init(parsing text: ArraySlice<UInt8>) throws(ManifestError) {
        try self.init(try parseDocument(text))
    }

    public init(_ document: JSONValue) throws(ManifestError) {
        var object = try StrictObject(document, path: "")
        let format = try object.integer("manifest", in: 1...Int.max)
        guard format == Self.formatVersion else {
            throw object.error("manifest", "has version \(format), and this host reads version \(Self.formatVersion)")
        }
        id = try object.text("id")
        guard isPluginID(id) else { throw object.error("id", idProblem(id)) }
        version = try object.text("version")
        title = try object.text("title")
        license = try object.text("license")
        abi = try ABI(&object)
        runtime = try Runtime(&object)
        isolation = try object.choice("isolation", Isolation.self)
        secrets = try object.texts("secrets")
        for (index, secret) in secrets.enumerated() where !isSecretName(secret) {
            throw object.error("secrets[\(index)]", "expected a name of A-Z, 0-9 and _, found \"\(secret)\"")
        }
        network = try object.texts("network")
        files = try object.texts("files")
        for (index, file) in files.enumerated() where file.split(separator: "/").contains("..") || file.contains("$") {
            throw object.error("files[\(index)]", "expected a path without .. and without $, found \"\(file)\"")
        }
        let list = try object.required("providers", "an array of providers")
        guard let elements = list.array, !elements.isEmpty, elements.count <= Self.providersMax else {
            throw object.error("providers", "expected an array of 1 to \(Self.providersMax) providers")
        }
        providers = []
        for (index, element) in elements.enumerated() {
            let provider = try ProviderDeclaration(element, path: "providers[\(index)]")
            guard !providers.contains(where: { $0.id == provider.id && $0.kind == provider.kind }) else {
                throw object.error("providers[\(index)]", "\(provider.id) of kind \(provider.kind) stands there twice")
            }
            providers.append(provider)
        }
        try object.finish()
    }
}

extension Manifest.ABI {
    fileprivate init(_ manifest: inout StrictObject) throws(ManifestError) {
        var object = try StrictObject(try manifest.required("abi", "an object"), path: manifest.path(of: "abi"))
        major = try object.integer("major", in: 1...1_000)
        minor = try object.integer("minor", in: 0...1_000_000)
        hostMinorMin = try object.integer("hostMinorMin", in: 0...1_000_000)
        guard hostMinorMin <= minor else {
            throw object.error(
                "hostMinorMin", "is \(hostMinorMin), newer than the minor \(minor) of the headers themselves")
        }
        try object.finish()
    }
}

extension Manifest.Runtime {
    fileprivate init(_ manifest: inout StrictObject) throws(ManifestError) {
        var object = try StrictObject(try manifest.required("runtime", "an object"), path: manifest.path(of: "runtime"))
        language = try object.text("language")
        // An empty text is what a template leaves where there is nothing to say.
        toolchain = object.value("toolchain") == "" ? nil : try object.optionalText("toolchain")
        standardLibrary = try object.choice("stdlib", StandardLibrary.self)
        if language == "swift", standardLibrary == nil {
            throw object.error("stdlib", "is missing; expected \"shared\" or \"static\"")
        }
        if language == "swift", standardLibrary == .shared, toolchain == nil {
            throw object.error(
                "toolchain", "is missing; a plugin that shares the Swift runtime says which one, \"6.3.1\" say")
        }
        try object.finish()
    }
}

extension ProviderDeclaration {
    fileprivate init(_ value: JSONValue, path: String) throws(ManifestError) {
        var object = try StrictObject(value, path: path)
        kind = try object.text("kind")
        guard isKind(kind) else {
            throw object.error("kind", "expected \"NAME/REVISION\", \"vc.stt/1\" say, found \"\(kind)\"")
        }
        id = try object.text("id")
        guard isPluginID(id) else { throw object.error("id", idProblem(id)) }
        capabilities = try Capabilities(
            object.value("capabilities") ?? [:], kind: PluginKind(rawValue: kind), path: object.path(of: "capabilities")
        )
        configuration = try ConfigurationSchema(
            object.value("config") ?? Self.noSettings, path: object.path(of: "config"))
        session = try ConfigurationSchema(object.value("session") ?? Self.noSettings, path: object.path(of: "session"))
        for (key, schema) in [("config", configuration), ("session", session)] where schema.type != .object {
            throw object.error(key, "expected a schema of type \"object\"")
        }
        readyTimeoutMs = Self.readyTimeoutMsDefault
        if let value = object.value("timing") {
            var timing = try StrictObject(value, path: object.path(of: "timing"))
            if timing.value("readyTimeoutMs") != nil {
                readyTimeoutMs = try timing.integer("readyTimeoutMs", in: 1...Self.readyTimeoutMsMax)
            }
            try timing.finish()
        }
        try object.finish()
    }

    private static var noSettings: JSONValue { ["type": "object", "properties": [:], "additionalProperties": false] }
}

extension Capabilities {
    /// The flags of each kind; whatever else stands there is a misspelling.
    private static func flags(of kind: PluginKind) -> [String] {
        switch kind {
        case .telephony: ["inbound", "outbound", "transfer", "hold", "dtmf", "ringing"]
        case .voiceActivity: []
        case .speechToText: ["partials", "words", "tentative", "turns", "silence"]
        case .turn: ["audio", "text"]
        case .languageModel: ["tools", "streaming", "declines"]
        case .textToSpeech: ["streaming"]
        }
    }

    fileprivate init(_ value: JSONValue, kind: PluginKind?, path: String) throws(ManifestError) {
        var object = try StrictObject(value, path: path)
        all = value
        guard let kind else { return }  // of a kind that this host does not know, nothing can be misspelt
        languages = try object.texts("languages")
        if let rates = object.value("rates") {
            ratesHz = []
            for element in rates.array ?? [] {
                guard let rate = element.integer, (8_000...48_000).contains(rate) else {
                    throw object.error("rates", "expected rates in 8000...48000, found \(element.text.prefix(40))")
                }
                ratesHz.append(Int(rate))
            }
            guard !ratesHz.isEmpty, ratesHz.count <= 16 else {
                throw object.error("rates", "expected an array of 1 to 16 rates")
            }
        }
        if object.value("formats") != nil {
            formats = try object.texts("formats")
            for format in formats where !["s16", "pcmu", "pcma", "f32"].contains(format) {
                throw object.error("formats", "expected \"s16\", \"pcmu\", \"pcma\" or \"f32\", found \"\(format)\"")
            }
            guard formats.contains("s16") else {
                throw object.error("formats", "every provider takes \"s16\": list it too")
            }
        }
        profile = try object.choice("profile", Profile.self)
        if kind == .telephony, profile == nil {
            throw object.error("profile", "is missing; expected \"signalling\" or \"frames\"")
        }
        if kind != .telephony, profile != nil { throw object.error("profile", "is for telephony only") }
        for name in Self.flags(of: kind) {
            guard let flag = object.value(name), flag.bool == nil else { continue }
            throw object.error(name, "expected true or false, found \(flag.text.prefix(40))")
        }
        if kind == .languageModel, object.value("parallelRequests") != nil {
            parallelRequests = try object.integer("parallelRequests", in: 1...10_000)
        }
        if kind == .textToSpeech { marks = try object.choice("marks", Marks.self) }
        try object.finish()
    }
}

/// Two or more parts of lower-case letters, digits and hyphens, joined by dots: "org.acme.stt".
private func isPluginID(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return text.utf8.count <= 128 && parts.count >= 2
        && parts.allSatisfy { part in
            guard let first = part.utf8.first, isLower(first) else { return false }
            return part.utf8.allSatisfy { isLower($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
        }
}

private func idProblem(_ id: String) -> String {
    "expected a name like \"org.acme.stt\" (parts of a-z, 0-9 and -, each beginning with a letter), "
        + "found \"\(id.prefix(130))\""
}

private func isKind(_ text: String) -> Bool {
    let halves = text.split(separator: "/", omittingEmptySubsequences: false)
    guard halves.count == 2, let revision = UInt32(halves[1]), revision > 0 else { return false }
    return isPluginID(String(halves[0]))
}

private func isSecretName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 128
        && text.utf8.allSatisfy {
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) || isDigit($0) || $0 == UInt8(ascii: "_")
        }
}

private func isLower(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

// PKG: the manifest, and the file that it is in.
//
// The host reads a manifest strictly and refuses what it does not understand; one rule says that it was understood. The
// others ask what a reader of a grammar cannot: whether what stands there is true of the file, and of use to the
// operator who has nothing else to go by when he decides to let this code answer his telephone.

import Glibc
import JSON
import PluginABI
import Providers

let manifestRules: [Rule] = [
    Rule(
        "VC-PKG-01", smoke: true, "The file holds a manifest that the host can read.",
        because: "The host knows a plugin by its manifest; a library without one is never opened.",
        passing: "vchost plugins pack acme-tts.so manifest.json",
        failing: "{\"manifest\": 1, \"licence\": \"MIT\", …}        // an unknown key",
        needs: ["VC-ELF-01"],
        check: .file { subject in
            guard subject.manifest == nil else { return }
            throw Violation(
                "the section .vchost.manifest", expected: "a manifest as docs/manifest.md has it",
                got: subject.manifestProblem)
        }),
    about(
        "VC-PKG-06", .must, "The version is a semantic one.",
        because: "The host puts the newer of two files in the place of the older, and must tell which that is.",
        passing: "\"version\": \"2.4.0\"",
        failing: "\"version\": \"v2 (final)\""
    ) { manifest in
        guard !isSemanticVersion(manifest.version) else { return }
        throw Violation("version", expected: "MAJOR.MINOR.PATCH, as semver.org has it", got: "\"\(manifest.version)\"")
    },
    about(
        "VC-PKG-09", .must, "The manifest speaks of the ABI whose entry the library exports.",
        because: "A host of another ABI would take the plugin for its own, or this one would refuse it.",
        passing: "\"abi\": {\"major\": 1, …}        // and vc_plugin_entry_v1",
        failing: "\"abi\": {\"major\": 2, …}        // and vc_plugin_entry_v1"
    ) { manifest in
        guard manifest.abi.major != Int(VC_ABI_MAJOR) else { return }
        throw Violation(
            "abi.major", expected: "\(VC_ABI_MAJOR), as in \(VC_PLUGIN_ENTRY)", got: "\(manifest.abi.major)")
    },
    about(
        "VC-PKG-14", .should, "The schemas refuse keys that they do not name.",
        because: "A misspelt key in the configuration is then told when the host starts, and not found by a caller.",
        passing: "\"config\": {\"type\": \"object\", \"additionalProperties\": false, …}",
        failing: "\"config\": {\"type\": \"object\", \"properties\": {\"voice\": …}}"
    ) { manifest in
        for (place, schema) in schemas(manifest) where schema.allowsOthers {
            throw Violation(place, expected: "\"additionalProperties\": false", got: "a schema that allows any key")
        }
    },
    about(
        "VC-PKG-16", .must, "No secret stands in a default.",
        because: "A plugin's file is copied and handed on, and its manifest can be read by everybody.",
        passing: "\"secrets\": [\"ACME_API_KEY\"]",
        failing: "\"api_key\": {\"type\": \"string\", \"default\": \"sk-4f8a…\"}"
    ) { manifest in
        for setting in settings(manifest) {
            for value in ([setting.schema.defaultValue].compactMap { $0 } + (setting.schema.choices ?? [])) {
                guard let text = value.string, isSecret(text, named: setting.name) else { continue }
                throw Violation(
                    setting.place, expected: "a value that everybody may read", got: "what looks like a key")
            }
        }
    },
    about(
        "VC-PKG-18", .must, "Every entry of `network` is an origin.",
        because: "The operator opens his firewall for what stands there, and for nothing else.",
        passing: "\"network\": [\"wss://stt.acme.example\"]        // or \"udp\", \"tcp\" for any peer",
        failing: "\"network\": [\"acme\", \"https://*\"]"
    ) { manifest in
        guard let entry = manifest.network.first(where: { !isOrigin($0) }) else { return }
        throw Violation("network", expected: "scheme://host, \"udp\" or \"tcp\"", got: "\"\(entry.prefix(80))\"")
    },
    about(
        "VC-PKG-19", .must, "Languages are BCP 47 tags.",
        because: "The host compares them with the language of the call, tag by tag.",
        passing: "\"languages\": [\"en-GB\", \"tr\"]",
        failing: "\"languages\": [\"English\"]"
    ) { manifest in
        for provider in manifest.providers {
            guard let tag = provider.capabilities.languages.first(where: { !isLanguageTag($0) }) else { continue }
            throw Violation(
                "capabilities.languages of \(provider.id)", expected: "tags like \"en\" or \"en-GB\"",
                got: "\"\(tag.prefix(40))\"")
        }
    },
] + moreManifestRules

private let moreManifestRules: [Rule] = [
    about(
        "VC-PKG-20", .should, "The licence is an SPDX expression.",
        because: "Whoever may or may not use the plugin is told by it, and tools read it.",
        passing: "\"license\": \"MIT OR Apache-2.0\"        // \"LicenseRef-Acme\" for one's own",
        failing: "\"license\": \"see the web site\""
    ) { manifest in
        guard !isLicenseExpression(manifest.license) else { return }
        throw Violation("license", expected: "an SPDX expression", got: "\"\(manifest.license.prefix(80))\"")
    },
    Rule(
        "VC-PKG-22", .basic, .must, "Only its owner's group can write the file and its directory.",
        because: "Whoever writes there decides what code answers the telephone.",
        passing: "chmod 755 acme-tts.so",
        failing: "chmod 777 acme-tts.so",
        needs: ["VC-PKG-01"],
        check: .file { subject in
            let directory = String(subject.path[..<(subject.path.lastIndex(of: "/") ?? subject.path.startIndex)])
            for (name, path) in [("the file", subject.path), ("its directory", directory.isEmpty ? "/" : directory)] {
                var status = stat()
                // In a sticky directory (/tmp) a file can be replaced only by its owner.
                guard stat(path, &status) == 0, status.st_mode & S_IWOTH != 0, status.st_mode & S_ISVTX == 0
                else { continue }
                throw Violation(
                    "the rights of \(name)", expected: "not writable by others",
                    got: "mode \(String(status.st_mode & 0o7777, radix: 8))")
            }
        }),
    Rule(
        "VC-PKG-24", .basic, .must, "The manifest names the language in which the plugin is written.",
        because: "A Swift plugin shares its runtime with the host: the host looks at the language before it loads it.",
        passing: "\"runtime\": {\"language\": \"swift\", \"stdlib\": \"static\"}",
        failing: "\"runtime\": {\"language\": \"c\"}        // of a library with Swift's metadata",
        needs: ["VC-PKG-01"],
        check: .file { subject in
            let language = subject.manifest?.runtime.language ?? ""
            // Swift's linker driver leaves empty ones in a library of pure C as well.
            let isSwift = try ELFFile(subject.bytes).sections.contains { $0.name.hasPrefix("swift5_") && $0.size > 0 }
            guard isSwift != (language == "swift") else { return }
            throw Violation(
                "runtime.language",
                expected: isSwift ? "swift: the file has its metadata" : "another: no metadata of Swift",
                got: "\"\(language)\"")
        }),
    about(
        "VC-PKG-25", .should, "The title tells people what the plugin is.",
        because: "It stands in lists beside the titles of all others, where ids say little.",
        passing: "\"title\": \"Acme speech recognition\"",
        failing: "\"title\": \"org.acme.stt\""
    ) { manifest in
        let title = manifest.title
        let words = title.split(separator: " ")
        guard words.isEmpty || title == manifest.id || title.count > 120
            || title.unicodeScalars.contains(where: { $0.properties.generalCategory == .control })
        else { return }
        throw Violation(
            "title", expected: "a line of text, at most 120 characters, other than the id",
            got: "\"\(title.prefix(130))\"")
    },
    about(
        "VC-PKG-26", .should, "Every setting has a description.",
        because: "`vchost plugins info` shows it, and the operator has no other manual at hand.",
        passing: "\"beam\": {\"type\": \"integer\", \"description\": \"Hypotheses kept at once; more is slower.\"}",
        failing: "\"beam\": {\"type\": \"integer\"}"
    ) { manifest in
        for setting in settings(manifest) where setting.isNamedMember && (setting.schema.description ?? "").isEmpty {
            throw Violation(setting.place, expected: "a description", got: "none")
        }
    },
    about(
        "VC-PKG-27", .must, "Every setting can be written in the configuration file.",
        because: "Keys have no case there, a dot reaches into an object, and `plugin` is the host's own.",
        passing: "\"properties\": {\"word_ms\": …}",
        failing: "\"properties\": {\"wordMs\": …, \"word.ms\": …, \"plugin\": …}"
    ) { manifest in
        for setting in settings(manifest) where setting.isNamedMember && !isWritable(setting) {
            throw Violation(
                setting.place, expected: "a name of a-z, 0-9, _ and -, other than \"plugin\"",
                got: "\"\(setting.name.prefix(40))\"")
        }
    },
    Rule(
        "VC-PKG-28", .basic, .must, "The module was built with the headers that the manifest names.",
        because: "A manifest that was forgotten when the headers changed promises slots that are not there.",
        passing: "\"abi\": {\"minor\": 0, …}        // and module.minor = VC_ABI_MINOR, which is 0",
        failing: "\"abi\": {\"minor\": 3, …}",
        needs: ["VC-ENT-01"],
        check: .probe { bench in
            let module = try bench.enter()
            let declared = bench.subject.manifest?.abi.minor ?? 0
            guard Int(module.minor) != declared else { return }
            throw Violation("vc_module.minor", expected: "\(declared), as in the manifest", got: "\(module.minor)")
        }),
]

/// A rule about what the manifest says, with the manifest read.
private func about(
    _ id: String, _ weight: Rule.Weight, _ sentence: String, because reason: String, passing: String,
    failing: String, check: @escaping @Sendable (Manifest) throws -> Void
) -> Rule {
    Rule(
        id, .basic, weight, sentence, because: reason, passing: passing, failing: failing, needs: ["VC-PKG-01"],
        check: .file { subject in
            guard let manifest = subject.manifest else { return }
            try check(manifest)
        })
}

// MARK: Settings

/// A schema within a schema, and how an operator finds it.
private struct Setting {
    let name: String
    let place: String
    let schema: ConfigurationSchema
    /// A member of an object, and not an element of a list.
    let isNamedMember: Bool
    let isTop: Bool
}

private func schemas(_ manifest: Manifest) -> [(place: String, schema: ConfigurationSchema)] {
    manifest.providers.flatMap { provider in
        [("config of \(provider.id)", provider.configuration), ("session of \(provider.id)", provider.session)]
    }
}

private func settings(_ manifest: Manifest) -> [Setting] {
    schemas(manifest).flatMap { place, schema in members(of: schema, place, isTop: true) }
}

private func members(of schema: ConfigurationSchema, _ place: String, isTop: Bool = false) -> [Setting] {
    var list: [Setting] = []
    for (name, member) in schema.properties.sorted(by: { $0.key < $1.key }) {
        let inside = "\(name) in \(place)"
        list.append(Setting(name: name, place: inside, schema: member, isNamedMember: true, isTop: isTop))
        list += members(of: member, inside)
    }
    if let items = schema.items {
        list.append(Setting(name: "", place: "items of \(place)", schema: items, isNamedMember: false, isTop: false))
        list += members(of: items, "items of \(place)")
    }
    return list
}

private func isWritable(_ setting: Setting) -> Bool {
    guard !setting.name.isEmpty, !(setting.isTop && setting.name == "plugin") else { return false }
    return setting.name.utf8.allSatisfy {
        (isLetter($0) && $0 & 0x20 != 0) || isDigit($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-")
    }
}

/// A value under a name that asks for a secret, or one that begins as the keys of well-known vendors do.
private func isSecret(_ value: String, named name: String) -> Bool {
    guard !value.isEmpty, !value.contains("${secret:") else { return false }
    let vendors = ["sk-", "sk_", "xai-", "gsk_", "AKIA", "ghp_", "AIza", "Bearer ", "-----BEGIN"]
    if vendors.contains(where: value.hasPrefix), value.utf8.count >= 12 { return true }
    let words = name.lowercased().split(whereSeparator: { $0 == "_" || $0 == "-" })
    guard let last = words.last else { return false }
    return ["password", "secret", "token", "apikey", "passphrase"].contains(last)
        || words.suffix(2).elementsEqual(["api", "key"]) || words.suffix(2).elementsEqual(["access", "key"])
}

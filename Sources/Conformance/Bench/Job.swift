// What the runner tells a probe to do: one line of JSON, the first thing that comes on the peer channel.

import JSON

/// One rule, one plugin, one provider.
public struct Job: Sendable, Equatable {
    /// In front of every line of the verdict, so that a plugin that writes to the pipe forges nothing.
    public var nonce = ""
    public var rule = ""
    /// The absolute path of the copy that is loaded.
    public var plugin = ""
    public var kind = ""
    public var provider = ""
    /// Settings that the operator would write; defaults are filled in from the manifest.
    public var configuration: JSONValue = [:]
    public var session: JSONValue = [:]
    public var secrets: [String: String] = [:]
    public var seed: UInt64 = 0
    /// The minor version that the bench plays.
    public var hostMinor = 0
    /// For the check of the checks: the rule's body is left out.
    public var isMasked = false
    /// A recording of speech, 16 bit mono WAV, or empty.
    public var speech = ""
    /// The vendor script's folder, or empty: what the probe itself must know of it.
    public var scripts = ""
    /// What depends on a vendor's answer is not held against a plugin that has no script of its vendor.
    public var excusesVendor = false
    /// What a fuzz case does; null for every other rule.
    var fuzz = JSONValue.null

    public init() {}

    public init?(_ line: String) {
        guard let value = try? JSONValue(parsing: line), value.object != nil else { return nil }
        nonce = value["nonce"]?.string ?? ""
        rule = value["rule"]?.string ?? ""
        plugin = value["plugin"]?.string ?? ""
        kind = value["kind"]?.string ?? ""
        provider = value["provider"]?.string ?? ""
        configuration = value["config"] ?? [:]
        session = value["session"] ?? [:]
        secrets = (value["secrets"]?.object ?? [:]).compactMapValues(\.string)
        seed = UInt64(value["seed"]?.string ?? "", radix: 16) ?? 0
        hostMinor = Int(value["hostMinor"]?.integer ?? 0)
        isMasked = value["isMasked"]?.bool ?? false
        speech = value["speech"]?.string ?? ""
        scripts = value["scripts"]?.string ?? ""
        excusesVendor = value["excusesVendor"]?.bool ?? false
        fuzz = value["fuzz"] ?? .null
    }

    public var line: String {
        let value: JSONValue = [
            "nonce": .string(nonce), "rule": .string(rule), "plugin": .string(plugin), "kind": .string(kind),
            "provider": .string(provider), "config": configuration, "session": session,
            "secrets": .object(secrets.mapValues { .string($0) }), "seed": .string(String(seed, radix: 16)),
            "hostMinor": .number(Double(hostMinor)), "isMasked": .bool(isMasked), "speech": .string(speech),
            "scripts": .string(scripts), "excusesVendor": .bool(excusesVendor), "fuzz": fuzz,
        ]
        return value.text
    }
}

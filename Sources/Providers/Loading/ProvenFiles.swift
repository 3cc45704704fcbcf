// Files that passed their proof, so that a restart does not prove them again, and what a running host refused is not
// used by the next one. By the hash of the file and of the settings with which it was tried, for one version of the
// host: another may have other rules.

import JSON

public struct ProvenFiles: Sendable {
    /// Years of upgrades on one machine; then all are proven once more, which takes a second each.
    static let recordsMax = 512
    static let formatVersion: Int64 = 1

    private let file: StateFile?
    private let hostVersion: String

    /// - Parameter directory: of the state; nil proves every file at every start.
    public init(directory: String?, hostVersion: String) {
        file = directory.map { StateFile(directory: $0, name: "proven.json") }
        self.hostVersion = hostVersion
    }

    public func contains(_ sha256: String, settings: String) -> Bool {
        all()[Self.key(sha256, settings)] == hostVersion
    }

    public func add(_ sha256: String, settings: String) {
        guard let file else { return }
        var records = all().filter { $0.value == hostVersion }
        if records.count >= Self.recordsMax { records = [:] }
        records[Self.key(sha256, settings)] = hostVersion
        // A store that cannot be written costs a second at the next start; the quarantine's says what is wrong.
        _ = file.write([
            "version": .integer(Self.formatVersion), "files": .object(records.mapValues { .string($0) }),
        ])
    }

    private func all() -> [String: String] {
        guard case .document(let document) = file?.read(version: Self.formatVersion) else { return [:] }
        return (document["files"]?.object ?? [:]).compactMapValues(\.string)
    }

    private static func key(_ sha256: String, _ settings: String) -> String {
        "\(sha256)-\(SHA256.hex(Array(settings.utf8)).prefix(16))"
    }
}

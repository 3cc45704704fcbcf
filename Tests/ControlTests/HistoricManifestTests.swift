import Glibc
import Providers
import Testing

@testable import Control

/// What a translation writes must be what the plugin takes: the manifests of this tree judge it.
@Suite("What becomes of an old file is what the plugins take")
struct HistoricManifestTests {
    private static let root = String(#filePath.prefix(upTo: #filePath.lastIndex(of: "/")!)) + "/../.."

    @Test("No key and no value of a translated section is refused by its plugin", arguments: HistoricFixtureTests.names)
    func taken(name: String) throws {
        let configuration = try HistoricFixtureTests().load(name)
        var judged = 0
        for section in configuration.sections where SettingKey.providerKinds.contains(section.kind) {
            let plugin = try #require(section.settings["plugin"]?.text)
            let path = "\(Self.root)/Plugins/\(plugin)/manifest.json"
            // A tree may have been built without some of them; the host says then that the plugin is not there.
            guard let text = try? TextFile.read(path, bytesMax: 1 << 20) else { continue }
            let manifest = try Manifest(parsing: Array(text.utf8)[...])
            let provider = try #require(manifest.providers.first { $0.kind == "vc.\(section.kind)/1" })
            let given = section.settings.filter { $0.key != "plugin" }.mapValues(\.text)
            #expect(throws: Never.self, "[\(section.name)] of \(name)") {
                _ = try provider.configuration.apply(to: given)
            }
            let secrets = given.values.flatMap(ConfigurationReview.secretNames)
            #expect(Set(secrets).isSubset(of: manifest.secrets), "\(plugin) may not ask for \(secrets)")
            judged += 1
        }
        #expect(judged >= 1)
    }
}

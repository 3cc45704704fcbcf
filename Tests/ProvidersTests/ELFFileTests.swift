import Glibc
import JSON
import Testing

@testable import Providers

@Suite("The reader of libraries") struct ELFFileTests {
    let workshop = Workshop()

    private func library(manifest: JSONValue? = nil) throws -> [UInt8] {
        let path = try workshop.build("a.so", Sources.least(id: "org.test.a", kind: "vc.tts/1"), manifest: manifest)
        return try #require(readWholeFile(path))
    }

    @Test("A library tells its manifest, its exports, its needs and its flags")
    func reads() throws {
        let manifest = Workshop.manifest(id: "org.test.a", kind: "vc.tts/1")
        let path = try workshop.build(
            "a.so",
            Sources.least(
                id: "org.test.a", kind: "vc.tts/1", more: "#include <stdlib.h>\n", entry: "if (host == 0) abort();"),
            manifest: manifest, flags: ["-Wl,-z,now,-z,nodelete"])
        let elf = try ELFFile(#require(readWholeFile(path)))
        #expect(try elf.manifestText().map { String(decoding: $0, as: UTF8.self) } == manifest.text)
        #expect(try elf.exports("vc_plugin_entry_v1"))
        #expect(try !elf.exports("vc_plugin_entry_v") && !elf.exports("create"))
        #expect(elf.needed == ["libc.so.6"])
        #expect(elf.bindsNow && elf.isNeverUnmapped)
    }

    @Test("Packing adds a manifest, replaces one, and gives equal bytes for equal manifests")
    func packs() throws {
        let bare = try library()
        let one = Array(Workshop.manifest(id: "org.test.a", kind: "vc.tts/1").text.utf8)
        let two = one + Array("   ".utf8)
        let packed = try ELFFile(bare).packed(manifest: one)
        #expect(try ELFFile(packed).manifestText().map(Array.init) == one)
        let again = try ELFFile(packed).packed(manifest: two)
        #expect(try ELFFile(again).packed(manifest: one) == packed)
        let embedded = try library(manifest: ["a": "text of an embedded manifest"])
        #expect(try ELFFile(ELFFile(embedded).packed(manifest: one)).manifestText().map(Array.init) == one)
        // Everything but the end is as it was, but for three numbers of the header.
        #expect(packed[64..<8_000].elementsEqual(bare[64..<8_000]))
        let names = try ELFFile(bare).sections.map(\.name)
        #expect(try ELFFile(packed).sections.map(\.name) == names + [".vchost.manifest"])
    }

    @Test("What lies behind the sections of a file is kept when a manifest is packed")
    func keepsTheTail() throws {
        let tail = Array("appended by somebody".utf8)
        let packed = try ELFFile(library() + tail).packed(manifest: Array("{}".utf8))
        #expect(packed.indices.contains { packed[$0...].starts(with: tail) })
    }

    @Test("A packed library is loaded, stripped, and loaded again; readelf has nothing to object")
    func packedIsLoadable() throws {
        let path = try workshop.build("a.so", Sources.least(id: "org.test.a", kind: "vc.tts/1"), manifest: nil)
        workshop.write(Workshop.manifest(id: "org.test.a", kind: "vc.tts/1").text, to: workshop.root + "/manifest.json")
        let command = PluginsCommand(directory: workshop.plugins, cacheDirectory: workshop.cache, probe: .forTests)
        #expect(
            command.run(
                ["pack", path, workshop.root + "/manifest.json"], output: { _ in }, errors: { Issue.record("\($0)") })
                == 0)
        #expect(run(["/bin/sh", "-c", "! readelf -aW \(path) 2>&1 >/dev/null | grep -q ."]) == 0)
        #expect(try workshop.registry().plugin(named: "a") != nil)
        #expect(run(["/usr/bin/strip", path]) == 0)
        #expect(try workshop.registry().plugin(named: "a")?.manifest.id == "org.test.a")
    }

    @Test("Thousands of damaged files are refused or read, and none ends the process")
    func fuzz() throws {
        let whole = try library(manifest: Workshop.manifest(id: "org.test.a", kind: "vc.tts/1"))
        var random = Seeded(state: 1)
        var refused = 0
        // The headers decide, so most of the damage goes there and into the tables at the end.
        let headers = 64 + 56 * 12
        let tables = whole.count - 64 * 32
        for _ in 0..<6_000 {
            var bytes = whole
            for _ in 0...random.below(4) {
                let place =
                    random.below(3) == 0
                    ? random.below(bytes.count)
                    : random.below(2) == 0 ? random.below(headers) : tables + random.below(64 * 32)
                bytes[place] = [0, 1, 0x7f, 0x80, 0xff, UInt8(random.below(256))][random.below(6)]
            }
            if random.below(8) == 0 { bytes.removeLast(random.below(bytes.count)) }
            do throws(ELFError) {
                let elf = try ELFFile(bytes)
                _ = try elf.manifestText()
                _ = try elf.exports("vc_plugin_entry_v1")
                _ = try elf.packed(manifest: [1, 2, 3])
            } catch {
                refused += 1
                _ = "\(PluginRefusal(error, file: "a.so"))"
            }
        }
        #expect(refused > 1_500)
    }

    @Test(
        "The digest is that of the standard",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 1_000_000),
                "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
            ),
        ])
    func sha256(text: String, digest: String) {
        #expect(SHA256.hex(Array(text.utf8)) == digest)
    }
}

/// A generator whose sequence is a seed's own (SplitMix64), so that a failure can be had again.
struct Seeded {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}

import Glibc
import JSON
import Media
import Providers
import Testing

@testable import Host

@Suite("Voices to choose from, and how they sound")
struct VoicePreviewTests {
    private static func request(_ voice: String, text: String = "Hello.", version: String = "1.0.0") -> PreviewRequest {
        PreviewRequest(plugin: "org.acme.tts", version: version, settings: "{}", voice: voice, language: "en", text: text)
    }

    private func withCache(_ body: (inout PreviewCache) throws -> Void) throws {
        var template = Array("/var/tmp/vchost-previews-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        let root = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        var cache = PreviewCache(directory: root + "/state/previews")
        defer {
            for name in Self.names(cache.directory) { unlink("\(cache.directory)/\(name)") }
            for path in ["/state/previews", "/state", ""] { rmdir(root + path) }
        }
        try body(&cache)
    }

    private static func names(_ directory: String) -> [String] {
        guard let stream = opendir(directory) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names.filter { !$0.hasPrefix(".") }
    }

    private static func file(_ count: Int, _ sample: Int16 = 7) -> WAVFile {
        WAVFile(sampleRateHz: 24_000, samples: [Int16](repeating: sample, count: count))
    }

    /// So long ago was it made, for the cache.
    private static func age(_ path: String, seconds: Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let made = timespec(tv_sec: now.tv_sec - seconds, tv_nsec: 0)
        _ = [made, made].withUnsafeBufferPointer { utimensat(AT_FDCWD, path, $0.baseAddress!, 0) }
    }

    @Test("What was kept is found by everything that decides how it sounds, and by nothing else")
    func keys() throws {
        try withCache { cache in
            let request = Self.request("Katie")
            #expect(cache.find(request) == nil)
            #expect(cache.keep(Self.file(100), of: request) == nil)
            #expect(cache.find(request) == Self.file(100))
            let others = [
                Self.request("James"), Self.request("Katie", text: "Hello"), Self.request("Katie", version: "1.0.1"),
                PreviewRequest(
                    plugin: "org.acme.tts", version: "1.0.0", settings: "{\"speed\":2}", voice: "Katie", language: "en",
                    text: "Hello."),
                PreviewRequest(
                    plugin: "org.acme.tts", version: "1.0.0", settings: "{}", voice: "Katie", language: "tr",
                    text: "Hello."),
                // Put together without a boundary these would read the same.
                PreviewRequest(
                    plugin: "org.acme.tts", version: "1.0.0", settings: "{}", voice: "Katieen", language: "",
                    text: "Hello."),
            ]
            for other in others { #expect(cache.find(other) == nil) }
            #expect(Set((others + [request]).map(\.key)).count == others.count + 1)
            cache.forget(request)
            #expect(cache.find(request) == nil)
        }
    }

    @Test("The oldest go first: beyond the number of files, and beyond their bytes")
    func bounds() throws {
        try withCache { cache in
            cache.filesMax = 3
            for (index, voice) in ["a", "b", "c"].enumerated() {
                #expect(cache.keep(Self.file(100), of: Self.request(voice)) == nil)
                Self.age(cache.path(of: Self.request(voice)), seconds: 100 - index)
            }
            // A temporary file of one that died is the oldest of all.
            #expect(rename(cache.path(of: Self.request("a")), cache.path(of: Self.request("a")) + ".12.3") == 0)
            #expect(cache.keep(Self.file(100), of: Self.request("d")) == nil)
            #expect(Self.names(cache.directory).count == 3)
            #expect(["b", "c", "d"].allSatisfy { cache.find(Self.request($0)) != nil })

            Self.age(cache.path(of: Self.request("d")), seconds: 10)
            cache.bytesMax = 3 * (44 + 200)
            // Twice as large as one of the others: two have to go, and with three times only it stays.
            #expect(cache.keep(Self.file(222), of: Self.request("e")) == nil)
            #expect(["b", "c", "d", "e"].filter { cache.find(Self.request($0)) != nil } == ["d", "e"])
            #expect(cache.keep(Self.file(1_000), of: Self.request("f")) == nil)
            #expect(Self.names(cache.directory) == ["\(Self.request("f").key).wav"])
        }
    }

    @Test("A file that is no sound is spoken anew, and a directory that cannot be made is said")
    func broken() throws {
        try withCache { cache in
            #expect(cache.keep(Self.file(100), of: Self.request("a")) == nil)
            #expect(truncate(cache.path(of: Self.request("a")), 20) == 0)
            #expect(cache.find(Self.request("a")) == nil)
            let nowhere = PreviewCache(directory: "/proc/none/previews")
            #expect(nowhere.keep(Self.file(1), of: Self.request("a"))?.contains("/proc/none/previews") == true)
        }
    }

    @Test("The second to ask is served from the cache, and no provider is asked for")
    func served() throws {
        try withCache { cache in
            #expect(cache.keep(Self.file(240), of: Self.request("a")) == nil)
            let again = try VoicePreviews(cache: cache).preview(Self.request("a")) { _ in
                Issue.record("a provider was asked for")
                return SpokenText()
            }
            #expect(again.isFromCache && again.file == Self.file(240) && again.path == cache.path(of: Self.request("a")))
        }
    }

    // MARK: The list

    private static func offered(_ id: String, _ language: String, _ more: String = "") -> OfferedVoice {
        OfferedVoice(
            provider: "tts.a", voice: ListedVoice(id: id, name: "N\(id)", language: language, description: more),
            source: .manifest)
    }

    @Test("A language takes its regions, and a voice without a language speaks all")
    func languages() {
        let all = [Self.offered("1", "tr-TR"), Self.offered("2", "en_US"), Self.offered("3", "en"), Self.offered("4", "")]
        func ids(_ language: String) -> [String] { VoiceTable(all, language: language).voices.map(\.voice.id) }
        #expect(ids("") == ["1", "2", "3", "4"])
        #expect(ids("tr") == ["1", "4"])
        #expect(ids("en-GB") == ["3", "4"])
        #expect(ids("EN-us") == ["2", "3", "4"])
    }

    @Test("A vendor's text cannot move the cursor or break a line of the table")
    func table() {
        let table = VoiceTable(
            [Self.offered("1", "en", "warm\u{1B}[2J\nand low")], remarks: [("tts.b", "its list is\tgone")])
        #expect(
            table.text == """
                PROVIDER  NAME  LANGUAGE  GENDER  ID  DESCRIPTION
                tts.a     N1    en        -       1   warm [2J and low
                tts.b: its list is gone

                """)
        #expect(table.json["voices"]?.array?.first?["description"]?.string == "warm\u{1B}[2J\nand low")
        #expect(table.json["remarks"]?.array?.first?["provider"] == "tts.b")
    }
}

import Glibc
import JSON
import PluginABI
import Testing

@testable import Conformance
@testable import Providers

@Suite("A fuzz case is a value that its seed fixes")
struct FuzzCaseTests {
    private static func provider(_ kind: PluginKind) throws -> ProviderDeclaration {
        try #require(Subject.sample(kinds: [kind.rawValue]).manifest?.providers.first)
    }

    private static func cases(_ kind: PluginKind, seed: UInt64, _ count: Int = 60) throws -> [FuzzCase] {
        let generator = try #require(FuzzGenerator(provider: try provider(kind), seed: seed))
        return (0..<count).map { generator.make($0) }
    }

    @Test("The same seed gives the same cases, byte for byte, and another seed others", arguments: PluginKind.allCases)
    func seed(_ kind: PluginKind) throws {
        let one = try Self.cases(kind, seed: 7).map(\.json.text)
        #expect(try Self.cases(kind, seed: 7).map(\.json.text) == one)
        #expect(try Self.cases(kind, seed: 8).map(\.json.text) != one)
        #expect(Set(one).count == one.count)
    }

    @Test("Every case is legal, whatever is drawn", arguments: PluginKind.allCases)
    func legal(_ kind: PluginKind) throws {
        for made in try Self.cases(kind, seed: 11) {
            #expect(made.legal(kind, canBeTentative: false) == made)
            #expect(made.steps.first?.verb == .open)
            #expect(made.steps.count <= FuzzGenerator.stepsMax)
        }
    }

    @Test("A case that was written is the case that is read", arguments: PluginKind.allCases)
    func file(_ kind: PluginKind) throws {
        var template = Array("/var/tmp/vchost-fuzz-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let folder = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { RunFolder.remove(folder) }
        for made in try Self.cases(kind, seed: 3, 20) {
            #expect(FuzzCase(made.json) == made)
            let kept = FuzzFile(name: "x-\(made.number)", finding: "\"odd\"\n", provider: "org.acme.tts", played: made)
            _ = try kept.write(into: folder + "/fuzz")
        }
        let read = try FuzzFile.all(scripts: folder)
        #expect(read.count == 20)
        #expect(Set(read.map(\.played.json.text)) == Set(try Self.cases(kind, seed: 3, 20).map(\.json.text)))
    }

    @Test("A step that nobody knows makes the file one that is refused, and says which")
    func unknown() throws {
        #expect(FuzzCase(["steps": [["do": "explode"]]]) == nil)
        #expect(FuzzCase(["steps": [["do": "open"]]])?.steps == [FuzzStep(.open)])
    }

    @Test("Without the step that opens it, nothing of a session is left")
    func withoutOpen() {
        var made = FuzzCase()
        made.steps = [
            FuzzStep(.open, session: 1), FuzzStep(.speak) { $0.request = 1 },
            FuzzStep(.speak, session: 1) { $0.request = 1 }, FuzzStep(.close), FuzzStep(.close, session: 1),
            FuzzStep(.destroy, session: 1), FuzzStep(.cancel, session: 1) { $0.count = 1 },
        ]
        let legal = made.legal(.textToSpeech, canBeTentative: false)
        #expect(legal.steps.map(\.verb) == [.open, .speak, .close, .destroy])
        #expect(legal.steps.allSatisfy { $0.session == 1 })
    }

    @Test("After `close` nothing is asked, and `cancel` may still come")
    func afterClose() {
        var made = FuzzCase()
        made.steps = [
            FuzzStep(.open), FuzzStep(.close), FuzzStep(.cancel) { $0.count = 1 }, FuzzStep(.ask) { $0.request = 1 },
            FuzzStep(.close),
        ]
        #expect(made.legal(.languageModel, canBeTentative: false).steps.map(\.verb) == [.open, .close, .cancel])
    }

    @Test("A mangle changes what it says and nothing when there is nothing", arguments: FuzzMangle.allCases)
    func mangle(_ how: FuzzMangle) {
        let bytes = Array("{\"text\":\"hello\"}".utf8)
        #expect(how.changed([], at: 3) == [])
        #expect(how.changed(bytes, at: 1_000) == how.changed(bytes, at: 1_000 % bytes.count))
        if how != .cut { #expect(how.changed(bytes, at: 3) != bytes) }
    }
}

@Suite("What fails is made as short as it goes")
struct FuzzMinimiserTests {
    /// A plugin that fails when a session is cancelled between two requests, as a predicate.
    private static func fails(_ played: FuzzCase) -> Bool {
        Set(played.steps.map(\.session)).contains { session in
            let own = played.steps.filter { $0.session == session }.map(\.verb)
            guard let spoke = own.firstIndex(of: .speak) else { return false }
            guard let canceled = own[spoke...].firstIndex(of: .cancel) else { return false }
            return own[canceled...].contains(.speak)
        }
    }

    @Test("Of forty steps those remain without which it does not fail", arguments: 0..<20)
    func shrink(_ number: Int) throws {
        let provider = try #require(Subject.sample().manifest?.providers.first)
        let generator = try #require(FuzzGenerator(provider: provider, seed: 99))
        let found = try #require((0..<200).lazy.map { generator.make($0 * 20 + number) }.first(where: Self.fails))
        var minimiser = FuzzMinimiser(kind: .textToSpeech, canBeTentative: false) { $0.map(Self.fails) }
        let least = try minimiser.minimise(found)
        #expect(least.steps.map(\.verb) == [.open, .speak, .cancel, .speak])
        #expect(Self.fails(least))
        #expect(least.guards == [] && least.latencyMs == 0 && least.lateMs == 0 && least.rounds == 1)
        #expect(minimiser.tries <= FuzzMinimiser.triesMax)
    }

    @Test("What always fails needs no step at all")
    func nothing() throws {
        let provider = try #require(Subject.sample().manifest?.providers.first)
        let found = try #require(FuzzGenerator(provider: provider, seed: 1)).make(0)
        var minimiser = FuzzMinimiser(kind: .textToSpeech, canBeTentative: false) { $0.map { _ in true } }
        #expect(try minimiser.minimise(found).steps == [])
    }

    @Test("A failure that does not come again is left as it was, within the bound of tries")
    func fleeting() throws {
        let provider = try #require(Subject.sample().manifest?.providers.first)
        let found = try #require(FuzzGenerator(provider: provider, seed: 1)).make(0)
        var minimiser = FuzzMinimiser(kind: .textToSpeech, canBeTentative: false) { $0.map { _ in false } }
        #expect(try minimiser.minimise(found) == found)
        #expect(minimiser.tries <= FuzzMinimiser.triesMax)
    }
}

// LLMRules: its file, its matching, and the plugin itself.

import Glibc
import PluginABI
import Testing

@testable import KnowledgeEngine

private let folder = String(#filePath.dropLast("Tests/PluginKitTests/KnowledgeTests.swift".count)) + "Plugins/LLMRules/"

private func contents(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes[..<count], as: UTF8.self)
}

private func parse(_ text: String) throws -> Knowledge { try KnowledgeFile.parse(text).get() }

@Suite("The matching of a knowledge file")
struct KnowledgeMatchTests {
    private func intent(_ file: String, _ utterance: String, after: String? = nil) throws -> String? {
        try parse(contents(folder + file)).answer(utterance, after: after, turn: { _ in 0 })?.intent
    }

    @Test(
        "A caller's way of asking is understood",
        arguments: [
            ("What are your opening hours?", "hours"), ("what're your opening ours", "hours"),
            ("Um, hello, what are your business hours please?", "hours"), ("When do you open on Saturday?", "hours"),
            ("when are you open", "hours"), ("Are you open on Sundays?", "hours"),
            ("How late are you open on Friday", "hours"),
            ("I was wondering what are your opening hours", "hours"), ("What are your openning hours", "hours"),
            ("What's your address?", "address"), ("Where are you located?", "address"),
            ("What is your adress?", "address"),
            ("I'd like to talk to a human, please.", "librarian"), ("Can I speak to somebody?", "librarian"),
            ("Connect me to the children's department", "librarian"), ("Thank you, goodbye.", "goodbye"),
            ("Bye!", "goodbye"),
            ("I lost my library card", "card"), ("Do you sell tickets for the football match on Saturday?", nil),
            ("yes", nil), ("What is the meaning of life?", nil), ("", nil), ("...", nil), ("on", nil),
            ("Who wrote the book about the opening of the west?", nil),
        ] as [(String, String?)])
    func english(utterance: String, expected: String?) throws {
        #expect(try intent("example.knowledge", utterance) == expected)
    }

    @Test(
        "Turkish is understood, with its own capitals and suffixes, and without its dots",
        arguments: [
            ("Çalışma saatleriniz nedir?", "saat"), ("CUMARTESİ AÇIK MISINIZ", "saat"),
            ("Pazar günü açık mısınız?", "saat"),
            ("saat kaçta açılıyorsunuz", "saat"), ("Calisma saatleriniz nedir", "saat"), ("Adresiniz nedir?", "adres"),
            ("Neredesiniz?", "adres"), ("Bir yetkiliyle görüşmek istiyorum", "görevli"),
            ("Beni görevliye bağlar mısınız", "görevli"),
            ("Teşekkür ederim, iyi günler", "veda"), ("Hava nasıl olacak yarın?", nil), ("evet", nil),
        ] as [(String, String?)])
    func turkish(utterance: String, expected: String?) throws {
        #expect(try intent("example-tr.knowledge", utterance) == expected)
    }

    @Test("Yes and no are understood where a question was asked, and only there")
    func followUp() throws {
        #expect(try intent("example.knowledge", "Yes, please.", after: "address") == "way-yes")
        #expect(try intent("example.knowledge", "no thank you", after: "address") == "way-no")
        #expect(try intent("example.knowledge", "yes", after: "hours") == nil)
        #expect(try intent("example.knowledge", "what are your hours", after: "address") == "hours")
        #expect(try intent("example-tr.knowledge", "evet lütfen", after: "adres") == "yol-evet")
    }

    @Test("A slot chooses the reply and stands in it; replies take turns")
    func slots() throws {
        let knowledge = try parse(contents(folder + "example.knowledge"))
        let saturday = knowledge.answer("are you open on saturday", after: nil, turn: { _ in 0 })
        #expect(saturday?.slots == ["day": "Saturday"])
        #expect(saturday?.text == "On Saturday we are open from ten to two.")
        let texts = (0..<3).map { turn in knowledge.answer("when are you open", after: nil, turn: { _ in turn })?.text }
        #expect(texts[0] == texts[2] && texts[0] != texts[1])
        let file =
            "[knowledge]\n[slot day]\nSunday = sundays\n[intent a]\nask = open [on <day>]\nsay = Never on <day>.\nsay = Never."
        #expect(try parse(file).answer("open on sundays", after: nil, turn: { _ in 0 })?.text == "Never on Sunday.")
    }

    @Test("Two intents that are as good are none")
    func ambiguous() throws {
        let file = "[intent a]\nask = red car\nsay = a\n[intent b]\nask = blue car\nsay = b"
        #expect(try parse(file).answer("red car", after: nil, turn: { _ in 0 })?.intent == "a")
        #expect(try parse(file).answer("green car", after: nil, turn: { _ in 0 }) == nil)
        let same = "[intent a]\nask = red car\nsay = a\n[intent b]\nask = red car\nsay = b"
        #expect(try parse(same).answer("red car", after: nil, turn: { _ in 0 }) == nil)
    }

    @Test("Turkish capitals are not English ones")
    func casing() {
        #expect(Words(language: .turkish).tokens(of: "ISI İYİ Mİ") == ["ısı", "iyi", "mi"])
        #expect(Words(language: .turkish).tokens(of: "Ankara'ya") == ["ankaraya"])
        #expect(
            Words(language: .english).tokens(of: "IT'S Ten O'Clock; don't") == [
                "it", "is", "ten", "oclock", "do", "not",
            ])
    }

    @Test("Words are as far apart as the edits between them")
    func distance() {
        func edits(_ one: String, _ other: String) -> Int? {
            WordDistance.edits(WordDistance.fold(one), WordDistance.fold(other), atMost: 2)
        }
        #expect(edits("adress", "address") == 1)
        #expect(edits("huors", "hours") == 1)
        #expect(edits("kitten", "sitting") == nil)
        #expect(edits("", "ab") == 2)
        #expect(WordDistance.cost("ours", "hours") != nil)
        #expect(WordDistance.cost("cat", "car") == nil)
        #expect(WordDistance.cost("calisma", "çalışma") == 0.1)
    }

    @Test("Nothing that a caller says breaks it, and its confidence stays within 0 … 1")
    func fuzz() throws {
        let knowledge = try parse(contents(folder + "example.knowledge"))
        var random = SplitMix(seed: 11)
        let vocabulary = [
            "hours", "open", "on", "sunday", "yes", "what", "is", "İ", "ß", "'", "your", "um", "card", "🙂", "e\u{301}",
            "12",
        ]
        for _ in 0..<150 {
            let text = (0..<Int.random(in: 0...70, using: &random)).map { _ in vocabulary.randomElement(using: &random)!
            }
            .joined(separator: Bool.random(using: &random) ? " " : "")
            if let answer = knowledge.answer(text, after: "address", turn: { _ in 3 }) {
                #expect((0.5...1).contains(answer.confidence) && !answer.text.isEmpty)
            }
        }
    }
}

@Suite("The reading of a knowledge file")
struct KnowledgeFileTests {
    private func complaints(_ text: String) -> [String] {
        switch KnowledgeFile.parse(text) {
        case .success: []
        case .failure(let complaints): complaints.list.map(\.description)
        }
    }

    @Test(
        "What is wrong is said with its line and its mend",
        arguments: [
            ("say = x", "line 1: this line stands before the first section; begin the file with [knowledge]"),
            (
                "[intent a]\nask = hello\nsay hi",
                "line 3: there is no = in this line; write `say = …`, or # before a remark"
            ),
            ("[foo]", "line 1: [foo] is no section; write [knowledge], [words], [slot NAME] or [intent NAME]"),
            ("[knowledge]\nlanguage = de", "line 2: language is \"de\"; write en or tr"),
            ("[knowledge]\nconfidence = 3", "line 2: confidence is \"3\"; write a number from 0.5 to 1"),
            ("[intent a]\nask = (one|two\nsay = x", "line 2: a ) is missing; close the bracket"),
            ("[intent a]\nask = one)\nsay = x", "line 2: there is a ) too many; take it away"),
            (
                "[intent a]\nask = open on <day>\nsay = x",
                "line 2: there is no slot day; add a section [slot day] with its values"
            ),
            (
                "[intent a]\nask = [open]\nsay = x",
                "line 2: the pattern matches everything, also silence; leave at least one word outside of [ ] and *"
            ),
            (
                "[intent a]\nask = hello\nsay = <name>!",
                "line 3: no `ask` of a has the slot name; add <name> to one, or leave it out here"
            ),
            (
                "[intent a]\nask = hello\nsay = x\ndo = dance",
                "line 4: do is \"dance\"; write `transfer sip:desk@example.com`, or `goodbye`"
            ),
            (
                "[intent a]\nask = hello\nsay = x\nafter = b",
                "line 4: there is no intent b; `after` names the intent that was answered before"
            ),
            ("[intent a]\nask = hello", "line 1: the intent a has no `say`; say what is answered"),
            (
                "[intent a]\nask = x\nsay = x\n[intent a]\nask = y\nsay = y",
                "line 4: there is an intent a already; give this one another name, or join the two"
            ),
            ("", "line 1: there is no intent; write [intent hours] with ask and say"),
        ])
    func errors(text: String, expected: String) { #expect(complaints(text).contains(expected), "\(complaints(text))") }

    @Test("A reply for a value that does not exist, and none for callers who name no value, are found")
    func replies() {
        let file = "[slot day]\nSunday = sundays\n[intent a]\nask = open [<day>]\nsay <day=Monday> = x"
        #expect(
            complaints(file) == [
                "line 3: the intent a has no `say` for callers who leave its slots out; add one without slots and conditions",
                "line 5: the slot day has no value \"Monday\"; add it to [slot day], or correct it",
            ])
    }

    @Test("A pattern that stands for too much is refused, however it is nested")
    func explosion() {
        let wide = String(repeating: "(a|b|c|d) ", count: 12)
        #expect(
            complaints("[intent a]\nask = \(wide)\nsay = x")[0].hasPrefix(
                "line 2: the pattern stands for more than 500"))
        let deep = String(repeating: "(", count: 100)
        #expect(
            complaints("[intent a]\nask = \(deep)\nsay = x")[0].hasPrefix("line 2: brackets stand more than eight deep")
        )
    }

    @Test("All complaints come at once, up to a bound")
    func many() {
        let text = "[knowledge]\n" + String(repeating: "nonsense\n", count: 100)
        guard case .failure(let complaints) = KnowledgeFile.parse(text) else { Issue.record("accepted"); return }
        #expect(complaints.count == 100 && complaints.list.count == 20)
    }

    @Test("No file breaks it")
    func fuzz() {
        var random = SplitMix(seed: 5)
        let pieces = [
            "[intent a]", "[slot d]", "[words]", "[knowledge]", "\n", "\r\n", "ask", "say", " = ", "<d>", "(", ")", "[",
            "]", "|", "*", "~", "<", ">", "yes", "do = goodbye", "after = a", "language = tr", "#", "\u{FEFF}", "İ",
            "=", ",",
        ]
        for _ in 0..<3000 {
            let text = (0..<Int.random(in: 0...60, using: &random)).map { _ in pieces.randomElement(using: &random)! }
                .joined()
            if case .failure(let complaints) = KnowledgeFile.parse(text) {
                #expect(!complaints.list.isEmpty && complaints.list.allSatisfy { $0.line >= 1 })
            }
        }
    }
}

@Suite("LLMRules as the host loads it")
struct LLMRulesTests {
    private func open(_ file: String = "example.knowledge") throws -> ScriptedSession {
        try ScriptedProvider(LoadedPlugin(library: "LLMRules"), config: #"{"knowledge":"\#(folder)\#(file)"}"#).open(
            rateHz: 0)
    }
    private func user(_ text: String) -> String { #"{"role":"user","content":"\#(text)"}"# }
    private func agent(_ text: String) -> String { #"{"role":"assistant","content":"\#(text)"}"# }

    @Test("It answers what the file covers and declines the rest before any word")
    func answers() throws {
        let session = try open()
        session.ask(1, "[\(user("What are your opening hours?"))]")
        session.ask(2, "[\(user("Who is the president of France?"))]")
        #expect(
            session.kinds == [
                .ready, .delta("We are open from nine to six, Monday to Friday, and on Saturday from ten to two."),
                .answered(Int(VC_LLM_STOP)), .answered(Int(VC_LLM_DECLINED)),
            ])
    }

    @Test(
        "A yes is understood after the question, also when the caller heard only its beginning; the tool is called as the host has it"
    )
    func followUp() throws {
        let session = try open()
        session.ask(1, "[\(user("Where are you?"))]")
        session.object.forgetEvents()
        let tools =
            #"[{"type":"function","function":{"name":"transfer_call","parameters":{"type":"object","properties":{"to":{"type":"string"}},"required":["to"]}}}]"#
        let messages = "[\(user("Where are you?")),\(agent("We are at 12 Mill Lane")),\(user("Yes please"))]"
        session.ask(2, messages, tools: tools)
        #expect(
            session.kinds == [
                .delta("One moment, I am putting you through."),
                .toolCall(id: "rules-2", name: "transfer_call", arguments: #"{"to":"sip:desk@library.example"}"#),
                .answered(Int(VC_LLM_TOOL)),
            ])
        session.object.forgetEvents()
        session.ask(3, #"[{"role":"tool","tool_call_id":"rules-2","content":"{}"}]"#, tools: tools)
        #expect(session.kinds == [.answered(Int(VC_LLM_STOP))])
        session.object.forgetEvents()
        session.ask(4, "[\(user("Where are you?")),\(agent("Somewhere else entirely.")),\(user("Yes please"))]")
        #expect(session.kinds == [.answered(Int(VC_LLM_DECLINED))])
    }

    @Test("Replies take turns over the conversation, and a tool that the call does not have is not called")
    func turns() throws {
        let session = try open()
        let first = "We are open from nine to six, Monday to Friday, and on Saturday from ten to two."
        session.ask(1, "[\(user("when are you open"))]")
        session.ask(2, "[\(user("when are you open")),\(agent(first)),\(user("when are you open"))]")
        session.ask(3, "[\(user("goodbye"))]")
        let deltas = session.kinds.compactMap { if case .delta(let text) = $0 { text } else { nil } }
        #expect(
            deltas == [
                first, "From nine to six on weekdays, and from ten to two on Saturday.",
                "Thank you for calling. Goodbye.",
            ])
        #expect(session.kinds.last == .answered(Int(VC_LLM_STOP)))
    }

    @Test("A file that is missing or wrong refuses the provider, with file and line")
    func refusals() throws {
        let plugin = try LoadedPlugin(library: "LLMRules")
        #expect { try ScriptedProvider(plugin, config: #"{"knowledge":"/no/such.knowledge"}"#) } throws: {
            ($0 as? Refusal)?.message.hasPrefix("/no/such.knowledge cannot be read: No such file or directory; correct")
                == true
        }
        #expect { try ScriptedProvider(plugin, config: #"{"knowledge":"\#(folder)README.md"}"#) } throws: {
            ($0 as? Refusal)?.message.contains("README.md:3: ") == true
        }
        #expect(throws: Refusal.self) { try ScriptedProvider(plugin) }
    }
}

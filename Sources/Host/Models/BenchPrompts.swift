// The conversations that every model is asked for its next sentence in: short, as at a telephone.
//
// A server's prompt cache has the part to play that it has in calls: it knows the instructions, which are the same
// before each, and not what the caller says. So no question is asked twice: in every run the caller's last words begin
// with another interjection, the same for all models.

import Control
import JSON

struct BenchPrompts {
    /// Each an array of messages in the shape of OpenAI's chat.
    let conversations: [JSONValue]
    private let interjections: [String]

    /// How a caller begins a sentence; there are as many as runs that are usual.
    private static let interjections = ["Yes. ", "Well, ", "Okay, so, ", "Sorry, ", "Hello? ", "Right. "]
    private static let turkishInterjections = ["Evet. ", "Şey, ", "Peki, ", "Pardon, ", "Alo? ", "Tamam. "]

    /// A conversation as it is asked in a run, counted from 0.
    func conversation(_ index: Int, run: Int) -> JSONValue {
        var messages = conversations[index].array ?? []
        guard let last = messages.lastIndex(where: { $0["role"]?.string == "user" }),
            var message = messages[last].object, let words = message["content"]?.string
        else { return conversations[index] }
        let interjection = run < interjections.count ? interjections[run] : "\(run + 1). "
        message["content"] = .string(interjection + words)
        messages[last] = .object(message)
        return .array(messages)
    }

    /// - Parameter language: "tr" for Turkish; anything else is English.
    init(language: String) {
        let isTurkish = language.hasPrefix("tr")
        conversations = isTurkish ? Self.turkish : Self.english
        interjections = isTurkish ? Self.turkishInterjections : Self.interjections
    }

    /// From a file: a JSON array of texts, or of arrays of messages. `language` is that of the interjections.
    init(contentsOf path: String, language: String) throws(SettingsError) {
        let text = try TextFile.read(path, bytesMax: Self.fileBytesMax)
        let list: JSONValue
        do { list = try JSONValue(parsing: text) } catch {
            throw SettingsError(.invalid, "\(path) is no JSON: \(error)")
        }
        let conversations = (list.array ?? []).map { entry in
            entry.string.map { Self.conversation(Self.instructions, [$0]) } ?? entry
        }
        let areMessages = conversations.allSatisfy { ($0.array ?? []).contains { $0["role"] != nil } }
        guard !conversations.isEmpty, areMessages else {
            throw SettingsError(
                .invalid,
                "\(path) must be a JSON array of texts, or of arrays of messages with \"role\" and \"content\"")
        }
        self.conversations = conversations
        interjections = language.hasPrefix("tr") ? Self.turkishInterjections : Self.interjections
    }

    /// Conversations, not books.
    private static let fileBytesMax = 1 << 20

    private static let instructions = """
        You answer the telephone of a repair service for household appliances. Answer in one or two short sentences, \
        as one speaks: no lists, no symbols. Ask one question at a time. A visit costs ninety dollars; the workshop is \
        open from nine to six, Monday to Friday.
        """
    private static let english = [
        conversation(instructions, ["Hello, my washing machine has stopped and the water does not run out."]),
        conversation(instructions, ["What does a visit cost?"]),
        conversation(
            instructions,
            ["I need somebody for my oven.", "Of course. What is wrong with it?", "It does not get warm."]),
        conversation(
            instructions,
            ["Are you open on Saturday?", "No, we are open from Monday to Friday.", "Then Monday, at ten if you can."]),
    ]

    private static let turkishInstructions = """
        Beyaz eşya tamir servisinin telefonuna bakıyorsun. Konuşur gibi, bir iki kısa cümleyle cevap ver: liste ve \
        simge kullanma. Her seferinde tek bir soru sor. Servis ücreti dokuz yüz liradır; atölye hafta içi dokuzdan \
        altıya kadar açıktır.
        """
    private static let turkish = [
        conversation(turkishInstructions, ["Merhaba, çamaşır makinem durdu, suyu boşaltmıyor."]),
        conversation(turkishInstructions, ["Servis ücreti ne kadar?"]),
        conversation(
            turkishInstructions, ["Fırınım için birini istiyorum.", "Tabii, fırında ne sorun var?", "Isınmıyor."]),
        conversation(
            turkishInstructions,
            ["Cumartesi açık mısınız?", "Hayır, hafta içi açığız.", "O zaman pazartesi, mümkünse saat onda."]),
    ]

    /// Caller and agent take turns; the caller begins.
    private static func conversation(_ instructions: String, _ said: [String]) -> JSONValue {
        .array(
            [["role": "system", "content": .string(instructions)]]
                + said.enumerated().map { index, words in
                    ["role": index % 2 == 0 ? "user" : "assistant", "content": .string(words)]
                })
    }
}

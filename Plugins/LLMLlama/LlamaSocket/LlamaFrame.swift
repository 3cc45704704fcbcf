// What the service writes: one JSON object in each text frame, told apart by its members.

import JSON

public enum LlamaFrame: Sendable, Equatable {
    /// More of the answer, verbatim, spaces included.
    case chunk(String)
    case done
    /// Instead of the rest; no `done` follows, and the connection stays good.
    case error(String)
    /// What was found for the question in the service's documents: so many characters.
    case context(characters: Int)
    case nonsense

    public init(_ text: String) {
        guard let frame = try? JSONValue(parsing: text), frame.object != nil else {
            self = .nonsense
            return
        }
        if let error = frame["error"], error != .null {
            self = .error(error.string ?? error.text)
        } else if let chunk = frame["chunk"]?.string {
            self = .chunk(chunk)
        } else if frame["done"]?.bool == true {
            self = .done
        } else if frame["rag_context"] != nil || frame["context_length"] != nil {
            self = .context(characters: Int(clamping: frame["context_length"]?.integer ?? 0))
        } else {
            self = .nonsense
        }
    }
}

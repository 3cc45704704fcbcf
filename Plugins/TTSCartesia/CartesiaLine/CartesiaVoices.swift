// The voices that the systems before this one offered, by the names that operators know.
//
// The manifest has the same list with what people want to know of each, and a test compares the two; here is only what
// a name means on the wire. Any other voice of an account is given by its id.

public enum CartesiaVoices {
    /// Name to id.
    public static let known: [(name: String, id: String)] = [
        ("Katie", "f786b574-daa5-4673-aa0c-cbe3e8534c02"),
        ("Aurora", "6ccbfb76-1fc6-48f7-b71d-91ac6298247b"),
        ("Sarah", "a0e99841-438c-4a64-b679-ae501e7d6091"),
        ("Lily", "d46abd1d-2f3f-43a5-b0ad-9ebd4b9f5d48"),
        ("Kiefer", "228fca29-3a0a-435c-8728-5cb483251068"),
        ("Ryan", "41534e16-2966-4c6b-9670-111411def906"),
        ("James", "b7d50908-b17c-442d-ad8d-810c63997ed9"),
        ("Adam", "c45bc5ec-dc68-4feb-8829-6e6b2748095d"),
        ("Veda Sky", "5345cf08-6f37-424d-a5d9-8ae1c7f3e176"),
        ("Susie", "bd9120b6-7761-47a6-a446-77ca49132781"),
    ]

    /// The id of a voice that is named, or what was written.
    public static func id(of voice: String) -> String {
        known.first { $0.name.lowercased() == voice.lowercased() }?.id ?? voice
    }
}

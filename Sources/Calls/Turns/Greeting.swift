/// The first words of a call.
public struct Greeting: Sendable, Equatable {
    public struct Policy: Sendable, Equatable {
        /// Empty: the agent waits for the caller.
        public var text = ""
        /// A protected greeting cannot be interrupted: what must be said by law. What the caller says meanwhile is kept
        /// and answered afterwards.
        public var isProtected = false

        public init() {}
    }
}

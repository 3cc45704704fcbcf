// What can go wrong between the engine and the host. Peers' nonsense is not here: it is counted.

/// Why the media engine refuses.
public enum MediaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Every port pair of the range is in use or resting: refuse the call with 503.
    case noPorts(pairs: Int)
    case cannotBind(String, errno: Int32)
    case badAddress(String)
    /// As many streams as the configuration allows: refuse the call with 503.
    case tooManyStreams(limit: Int)
    case notRunning
    case outOfMemory
    /// The operation belongs to the other kind of stream.
    case wrongKind

    public var description: String {
        switch self {
        case .noPorts(let pairs):
            "all \(pairs) RTP port pairs are in use or resting after a call; widen [media] port_min to port_max"
        case .cannotBind(let host, let code):
            "cannot bind RTP sockets on \(host): error \(code); check [media] bind_address"
        case .badAddress(let text): "\(text) is not an IP address in digits"
        case .tooManyStreams(let limit): "\(limit) media streams are open, which is [vchost] calls_max and 16 more"
        case .notRunning: "the media engine is not running"
        case .outOfMemory: "no memory for another media stream"
        case .wrongKind: "the stream is of another kind"
        }
    }
}

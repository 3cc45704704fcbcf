// Every connection of the listener: how many there are of whom, and how long each may take for what it does now.
//
// libmicrohttpd only knows a time without any byte, which a client that sends one now and then never reaches. So the
// time for a whole request, and for a whole answer, is counted here, and what is overdue has its socket shut down.
// A value: `now` comes in, descriptors that must be shut down come out.

struct ConnectionTable {
    typealias Identity = UInt

    enum Phase: Equatable {
        /// Accepted, or its request has begun to arrive.
        case receiving
        /// Between two requests.
        case idle
        /// A plugin thinks, or a WebSocket is open: they have deadlines of their own.
        case serving
        /// The answer is on its way.
        case sending
        /// Shut down; libmicrohttpd will close it.
        case cut
    }

    enum Refusal: String { case full, address }

    private struct Entry {
        let descriptor: Int32
        let address: String
        var phase: Phase
        var deadlineNs: UInt64
    }

    private let limits: ServerSettings
    private var entries: [Identity: Entry] = [:]
    private var perAddress: [String: Int] = [:]

    init(limits: ServerSettings) { self.limits = limits }

    var count: Int { entries.count }

    func refusal(of address: String) -> Refusal? {
        if entries.count >= limits.connectionsMax { return .full }
        return perAddress[address, default: 0] >= limits.connectionsPerAddressMax ? .address : nil
    }

    mutating func began(_ identity: Identity, descriptor: Int32, address: String, now: UInt64) {
        entries[identity] = Entry(descriptor: descriptor, address: address, phase: .receiving, deadlineNs: 0)
        perAddress[address, default: 0] += 1
        moved(identity, to: .receiving, now: now)
    }

    mutating func moved(_ identity: Identity, to phase: Phase, now: UInt64) {
        guard entries[identity] != nil, entries[identity]?.phase != .cut else { return }
        let milliseconds: UInt64? =
            switch phase {
            case .receiving: limits.receiveMs
            case .idle: limits.idleMs
            case .sending: limits.sendMs
            case .serving, .cut: nil
            }
        entries[identity]?.phase = phase
        entries[identity]?.deadlineNs = milliseconds.map { now + $0 * 1_000_000 } ?? .max
    }

    mutating func ended(_ identity: Identity) {
        guard let entry = entries.removeValue(forKey: identity) else { return }
        let left = perAddress[entry.address, default: 1] - 1
        perAddress[entry.address] = left > 0 ? left : nil
    }

    func address(of identity: Identity) -> String { entries[identity]?.address ?? "" }

    /// Marks what is overdue, each once.
    mutating func overdue(now: UInt64) -> [(descriptor: Int32, phase: Phase)] {
        var overdue: [(descriptor: Int32, phase: Phase)] = []
        for (identity, entry) in entries where entry.deadlineNs <= now {
            overdue.append((entry.descriptor, entry.phase))
            entries[identity]?.phase = .cut
            entries[identity]?.deadlineNs = .max
        }
        return overdue
    }
}

// Host names for WebSockets. libwebsockets of Debian asks the system on its own thread and waits for the answer: one
// slow name server would stop the sockets of all vendors. So names are resolved beforehand, each on a thread of its
// own, and libwebsockets is given an address. (curl does the same inside.)

// For SOCK_STREAM: clang counts it to the first of this module's C libraries whose headers bring it.
import Cmicrohttpd
import Glibc
import Synchronization

final class NameResolver: Sendable {
    /// More names at once than a host has vendors. What comes then waits for its connect timeout.
    static let threadsMax = 16
    /// Addresses that are tried one after another.
    static let addressesMax = 4

    private struct State {
        var running = 0
        var waiting: [Question] = []
    }

    private struct Question: Sendable {
        var host: String
        var answer: @Sendable ([String]) -> Void
    }

    private let state = Mutex(State())

    /// Calls `answer` with the addresses of `host`, the best first, or none. An address is its own answer, at once.
    func resolve(_ host: String, _ answer: @escaping @Sendable ([String]) -> Void) {
        // In a URL an IPv6 address stands in brackets.
        let host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let numeric = Self.lookUp(host, flags: AI_NUMERICHOST)
        if !numeric.isEmpty { return answer(numeric) }
        let question = Question(host: host, answer: answer)
        let mayStart = state.withLock { state in
            guard state.running < Self.threadsMax else {
                state.waiting.append(question)
                return false
            }
            state.running += 1
            return true
        }
        if mayStart { ServiceThread("names") { [self] in work(question) }.detach() }
    }

    private func work(_ first: Question) {
        var question: Question? = first
        while let current = question {
            current.answer(Self.lookUp(current.host, flags: AI_ADDRCONFIG))
            question = state.withLock { state in
                if state.waiting.isEmpty {
                    state.running -= 1
                    return nil
                }
                return state.waiting.removeFirst()
            }
        }
    }

    private static func lookUp(_ host: String, flags: Int32) -> [String] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = flags
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var addresses: [String] = []
        var next = list
        while let entry = next, addresses.count < addressesMax {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let length = socklen_t(text.count)
            if getnameinfo(entry.pointee.ai_addr, entry.pointee.ai_addrlen, &text, length, nil, 0, NI_NUMERICHOST) == 0
            {
                let address = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                if !addresses.contains(address) { addresses.append(address) }
            }
            next = entry.pointee.ai_next
        }
        return addresses
    }
}

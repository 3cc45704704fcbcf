// "vc.http/1" and "vc.ws/1", as the bench offers them: the promises of their headers, without a network.
//
// What a plugin sends goes to the scripted vendor over the peer channel, and what the vendor answers is delivered on
// the bench's clock, as VC_CONTROL of the owner. The promises are kept to the letter, because a plugin relies on them:
// nothing is called after a cancel, after the end of the epoch or of the owner; a secret is filled in behind the
// plugin's back. What the plugin does wrong is written down as a fact, told to it as a host would tell it, and judged
// by whoever asks.
//
// The clock, the channel and the owners are three small protocols, so that the promises are tested without a probe.

import JSON
import PluginABI

/// The bench's time, as services see it.
public protocol BenchClock: AnyObject {
    var nowNs: UInt64 { get }
    /// Has `body` run at that time, as a call of `owner`. Returns a number for `cancel`.
    func schedule(atNs: UInt64, owner: vc_handle, _ body: @escaping () -> Void) -> Int
    func cancel(_ id: Int)
}

/// The channel to the runner.
public protocol PeerLine {
    /// One line there, one line back, both without their line breaks.
    func ask(_ line: String) -> String
}

/// What services must know of an object.
public struct ServiceOwner: Sendable {
    public var epoch: UInt64
    public var isGone: Bool

    public init(epoch: UInt64, isGone: Bool) {
        self.epoch = epoch
        self.isGone = isGone
    }
}

/// Whom services work for.
public protocol ServiceOwners {
    /// Nil: there never was such an object.
    func owner(_ handle: vc_handle) -> ServiceOwner?
    /// Names that the manifest lists, and their values of this run.
    var listedSecrets: Set<String> { get }
    var secrets: [String: String] { get }
    /// Runs a call into the plugin, and leaves a breadcrumb.
    func call(_ place: String, _ body: () -> Void)
}

/// The services that reach a vendor.
public final class VendorServices: @unchecked Sendable {
    /// C functions have no context, and a probe has one bench.
    nonisolated(unsafe) public internal(set) static var current: VendorServices?

    /// Used under `lock`, but for calls into the plugin, which hold nothing.
    struct State {
        var requests: [vc_handle: PendingRequest] = [:]
        var sockets: [vc_handle: PendingSocket] = [:]
        var routes: [ServedRoute] = []
        var exchanges: [vc_handle: ServedExchange] = [:]
        /// How things ended whose handles are stale now.
        var ended: [vc_handle: Ending] = [:]
        var latest: UInt64 = 0
        var breaches: [String] = []
        var refusal: ((String) -> vc_status?)?
        var calls: [String: Int] = [:]
        /// How the next stretches of bytes are changed on their way, the next one first.
        var mangles: [(how: FuzzMangle, place: Int)] = []
        /// How much farther away vendors are than their script says.
        var latencyNs: UInt64 = 0
    }

    /// Why a handle is stale, which decides whether to use it is the plugin's fault.
    enum Ending {
        /// The plugin was told (`done`, `closed`), or ended it by itself.
        case known(String)
        /// The host ended it (epoch, owner), and the plugin may not have known yet.
        case byHost
    }

    let clock: any BenchClock
    let line: any PeerLine
    let owners: any ServiceOwners
    /// Recursive: the clock and the owners have a lock of their own, which is taken within this one, never around it.
    private let lock = BenchMonitor()
    private var state = State()

    public init(clock: any BenchClock, line: any PeerLine, owners: any ServiceOwners) {
        self.clock = clock
        self.line = line
        self.owners = owners
    }

    /// The table of a service; nil: it has none.
    public static func table(_ id: String) -> UnsafeRawPointer? {
        switch id {
        case VC_SERVICE_HTTP: httpTable.pointer
        case VC_SERVICE_WS: socketTable.pointer
        case VC_SERVICE_SERVER: serverTable.pointer
        default: nil
        }
    }

    // MARK: What rules ask

    /// What the plugin did that a header forbids, in order.
    public var serviceBreaches: [String] { locked { $0.breaches } }

    func forgetBreaches() { locked { $0.breaches = [] } }

    /// How often a function was called, "http.start" for one.
    public func callCount(_ name: String) -> Int { locked { $0.calls[name] ?? 0 } }

    /// Requests and sockets under way.
    public var openCount: Int { locked { $0.requests.count + $0.sockets.count } }

    /// Lets a service fail: asked before each "http.start", "ws.connect" and "ws.send"; nil: it does its work.
    public func refuse(_ decide: ((String) -> vc_status?)?) { locked { $0.refusal = decide } }

    /// Puts a fault to the vendor's next answers; see `VendorPeer.arm`.
    public func arm(_ fault: VendorFault, url: String = "", skip: Int = 0, times: Int? = nil) {
        tell([
            "ask": "fault", "fault": fault.json, "url": .string(url), "skip": .integer(Int64(skip)),
            "times": times.map { .integer(Int64($0)) } ?? .null,
        ])
    }

    public func disarm() { tell(["ask": "no-fault"]) }

    /// What the vendor saw so far.
    public func seen() -> [VendorSighting] {
        (ask(["ask": "seen"])["seen"]?.array ?? []).compactMap { VendorSighting($0) }
    }

    /// Has the peer of a telephony plugin begin a dialogue, over UDP or on the plugin's WebSocket. Nil: the script has
    /// no such dialogue.
    public func beginDialogue(_ name: String) -> Int? {
        ask(["ask": "udp-run", "dialogue": .string(name)])["run"]?.integer.map { Int($0) }
            ?? beginOnSocket(name).map { $0 + Self.socketRuns }
    }

    /// How a dialogue goes: `state` "running", "passed" or "failed", `problem`, `received`.
    public func dialogue(_ run: Int) -> JSONValue {
        run > Self.socketRuns
            ? ask(["ask": "ws-state", "run": .integer(Int64(run - Self.socketRuns))])
            : ask(["ask": "udp-state", "run": .integer(Int64(run))])
    }

    /// Dialogues on WebSockets have numbers from here on, so that one number says which peer to ask.
    private static let socketRuns = 1_000_000

    // MARK: What the bench tells

    /// The object is being destroyed: whatever goes on for it stops.
    public func ownerEnded(_ owner: vc_handle) {
        let tells = locked { state -> [JSONValue] in
            state.routes.removeAll { $0.owner == owner }
            return dropRequests(&state) { $0.owner == owner } + dropSockets(&state, of: owner)
        }
        for tell in tells { self.tell(tell) }
    }

    /// The object has a new epoch: requests of older ones stop.
    public func epochRaised(_ owner: vc_handle, to epoch: UInt64) {
        let tells = locked { state in dropRequests(&state) { $0.owner == owner && $0.epoch < epoch } }
        for tell in tells { self.tell(tell) }
    }

    // MARK: For both services

    func locked<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        try lock.locked { try body(&state) }
    }

    func ask(_ question: JSONValue) -> JSONValue { (try? JSONValue(parsing: line.ask(question.text))) ?? .null }

    /// A question with bytes in it. They are put into the line as they are: Base64 needs no quotation, and a minute of
    /// audio that is looked at letter by letter takes its time.
    func ask(_ question: JSONValue, _ name: String, _ bytes: [UInt8]) -> JSONValue {
        let text = question.text.dropLast() + ",\"\(name)\":\"" + Base64.text(of: bytes) + "\"}"
        return (try? JSONValue(parsing: line.ask(String(text)))) ?? .null
    }

    func tell(_ word: JSONValue) { _ = line.ask(word.text) }

    func breach(_ what: String) { locked { note(what, in: &$0) } }

    func note(_ what: String, in state: inout State) {
        // More of them say nothing new.
        if state.breaches.count < 1_000 { state.breaches.append(what) }
    }

    /// What arrives of `bytes`.
    func arrived(_ bytes: [UInt8], isText: Bool) -> [UInt8] {
        let change = locked { state in state.mangles.isEmpty ? nil : state.mangles.removeFirst() }
        guard let change else { return bytes }
        let changed = change.how.changed(bytes, at: change.place)
        // A WebSocket's text is UTF-8, or the host ends the connection.
        return isText ? Array(String(decoding: changed, as: UTF8.self).utf8) : changed
    }

    /// Counts a call, and what a rule wants of it.
    func count(_ name: String) -> vc_status? {
        let refusal = locked { state in
            state.calls[name, default: 0] += 1
            return state.refusal
        }
        return refusal?(name)
    }

    /// A handle that no object of the bench and no other service has.
    func nextHandle(_ state: inout State, kind: UInt64) -> vc_handle {
        state.latest += 1
        return kind << 56 | state.latest
    }

    func end(_ handle: vc_handle, _ ending: Ending, in state: inout State) {
        if state.ended.count > 65_536 { state.ended = [:] }
        state.ended[handle] = ending
    }

    /// Answers the use of a handle whose object is gone.
    func stale(_ handle: vc_handle, _ what: String) -> vc_status {
        locked { state in
            switch state.ended[handle] {
            case .known(let how): note("\(what) of a handle that is stale: \(how)", in: &state)
            case .byHost: break
            case nil: note("\(what) of a handle that never was: \(handle)", in: &state)
            }
        }
        return vc_status(VC_E_STALE)
    }

    /// The owner when something may be begun for it; else what to answer.
    func admit(_ handle: vc_handle, _ what: String) -> Result<ServiceOwner, StatusAnswer> {
        guard let owner = owners.owner(handle) else {
            breach("\(what) for a handle that never was: \(handle)")
            return .failure(StatusAnswer(VC_E_STALE))
        }
        guard !owner.isGone else {
            breach("\(what) for an object that is gone")
            return .failure(StatusAnswer(VC_E_STALE))
        }
        return .success(owner)
    }
}

/// A status on its way out of a check.
struct StatusAnswer: Error {
    let status: vc_status
    init(_ status: Int) { self.status = vc_status(status) }
}

/// A table of C functions that lives as long as the process.
struct PermanentTable: @unchecked Sendable {
    let pointer: UnsafeRawPointer

    init<Table>(_ table: Table) {
        let memory = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        memory.initialize(to: table)
        pointer = UnsafeRawPointer(memory)
    }
}

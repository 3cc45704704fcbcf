// The plugin's thread: waits for datagrams, orders and time, feeds the switchboard, and does what it says. Nothing is
// decided here.

import BackToBack
import Glibc
import PluginKit

final class SwitchboardThread: @unchecked Sendable {
    /// Datagrams taken before orders and time have their turn.
    private static let datagramsInARow = 64
    /// How late a deadline may be noticed, with something under way and without.
    private static let busyTickMs: Int32 = 50
    private static let idleTickMs: Int32 = 500

    private let host: ProviderHost
    private let mailbox: TelephonyMailbox
    private let socket: EventSocket
    private let addresses: Addresses
    private var switchboard: Switchboard
    private var peer: sockaddr_in?
    private var sessions: [UInt64: TelephonySession] = [:]
    private var media: [UInt64: TelephonyMedia] = [:]
    private var isStopped = false

    private let counters: [Counter: Metric]
    private let callsGauge: Metric
    private let subscribedGauge: Metric
    private let repetitionsCounter: Metric
    private let droppedCounter: Metric
    private var shown = (calls: -1, subscribed: -1, repetitions: 0)

    init(
        _ host: ProviderHost, _ mailbox: TelephonyMailbox, _ socket: EventSocket, _ addresses: Addresses,
        _ settings: SwitchboardSettings
    ) {
        self.host = host
        self.mailbox = mailbox
        self.socket = socket
        self.addresses = addresses
        switchboard = Switchboard(settings, nowNs: host.clock.nowNs)
        let metrics = host.metrics
        counters = Dictionary(
            uniqueKeysWithValues: Counter.allCases.map { ($0, metrics.counter($0.rawValue, $0.help)) })
        callsGauge = metrics.gauge("opensips_calls", "Calls that exist now")
        subscribedGauge = metrics.gauge("opensips_subscribed", "1 while OpenSIPS reports its calls to us")
        repetitionsCounter = metrics.counter("opensips_mi_repetitions_total", "Commands said again, unanswered")
        droppedCounter = metrics.counter("opensips_events_dropped_total", "Events lost because the host gave no credit")
    }

    /// False: the machine gives no thread.
    func start() -> Bool {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        guard pthread_create(&thread, nil, runSwitchboard, context) == 0 else {
            Unmanaged<SwitchboardThread>.fromOpaque(context).release()
            return false
        }
        pthread_detach(thread)
        return true
    }

    fileprivate func run() {
        peer = addresses.management()
        host.log.info("listening for events of OpenSIPS", ("address", switchboard.settings.eventSocket))
        while !isStopped {
            perform(switchboard.tick(nowNs: host.clock.nowNs))
            show()
            wait()
            for item in mailbox.take() where !isStopped { take(item) }
            for _ in 0..<Self.datagramsInARow where !isStopped {
                guard let (bytes, peer) = socket.receive() else { break }
                perform(switchboard.receive(bytes, from: peer, nowNs: host.clock.nowNs))
            }
        }
        socket.shut()
    }

    private func wait() {
        var waiting = [
            pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        _ = poll(&waiting, 2, switchboard.isBusy ? Self.busyTickMs : Self.idleTickMs)
    }

    private func take(_ item: TelephonyMailbox.Item) {
        let now = host.clock.nowNs
        switch item {
        case .order(.credit, let session): session.flush()
        case .order(let order, let session):
            if order == .open { sessions[session.id] = session }
            // The host has forgotten it, so nothing may be said of it any more.
            if order == .destroy { sessions[session.id] = nil }
            perform(switchboard.order(order, session: session.id, call: session.call, nowNs: now))
        case .decline(let key, let code, let retryAfterS):
            perform(switchboard.declined(key: key, code: code, retryAfterS: retryAfterS, nowNs: now))
        case .drain: perform(switchboard.drain(nowNs: now))
        case .stop:
            isStopped = true
            sessions = [:]
            perform(switchboard.stop(nowNs: now))
        }
    }

    private func perform(_ first: [Action]) {
        var actions = first
        var next = 0
        while next < actions.count {
            defer { next += 1 }
            let now = host.clock.nowNs
            switch actions[next] {
            case .send(let text): send(text)
            case .incoming(let call):
                if !host.incoming(call) {
                    actions += switchboard.declined(key: call.key, code: 503, retryAfterS: 5, nowNs: now)
                }
            case .withdrawn(let key): host.withdrawn(key: key)
            case .emit(let event, let session):
                if sessions[session]?.emit(event) == false { droppedCounter.record() }
            case .describe(let question, let session):
                actions += switchboard.described(ask(question, session), session: session, nowNs: now)
            case .closeMedia(let session): media.removeValue(forKey: session)?.close()
            case .count(let counter):
                counters[counter]?.record()
                // A container that was replaced may have another address under its name.
                if counter == .subscriptionsLost { peer = addresses.management() ?? peer }
            case .log(let level, let text): log(level, text)
            case .drained:
                socket.shut()
                host.drained()
            }
        }
    }

    private func send(_ text: String) {
        if peer == nil { peer = addresses.management() }
        if let peer { socket.send(text, to: peer) }
    }

    /// A call takes its ports when it is answered or placed, and keeps them to its end.
    private func ask(_ question: MediaQuestion, _ session: UInt64) -> MediaAnswer {
        guard let owner = sessions[session] else { return .failed }
        if media[session] == nil {
            do throws(PluginError) { media[session] = try TelephonyMedia(for: owner) } catch {
                return error.code == .again ? .noPort : .failed
            }
        }
        do throws(PluginError) {
            switch question {
            case .answer(let offer): return .text(try media[session]!.answer(offer))
            case .offer: return .text(try media[session]!.offer())
            case .accept(let answer):
                try media[session]!.accept(answer)
                return .text("")
            }
        } catch {
            host.log.debug("the media service refused a description: \(error.message)")
            switch error.code {
            case .unsupported: return .mismatch
            case .argument: return .nonsense
            default: return .failed
            }
        }
    }

    private func log(_ level: Action.LogLevel, _ text: String) {
        switch level {
        case .debug: host.log.debug(text)
        case .info: host.log.info(text)
        case .warning: host.log.warning(text)
        }
    }

    private func show() {
        if shown.calls != switchboard.callCount {
            shown.calls = switchboard.callCount
            callsGauge.record(Double(shown.calls))
        }
        let subscribed = switchboard.isSubscribed ? 1 : 0
        if shown.subscribed != subscribed {
            shown.subscribed = subscribed
            subscribedGauge.record(Double(subscribed))
        }
        if shown.repetitions != switchboard.repetitions {
            repetitionsCounter.record(Double(switchboard.repetitions - shown.repetitions))
            shown.repetitions = switchboard.repetitions
        }
    }
}

private func runSwitchboard(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    // For `top -H` and a debugger. The functions for it are not in the module Glibc.
    let name = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
    if name >= 0 {
        _ = write(name, "opensips", 8)
        close(name)
    }
    Unmanaged<SwitchboardThread>.fromOpaque(context!).takeRetainedValue().run()
    return nil
}

// Where calls come in: each is admitted or declined, given its profile, and kept until it is over. Those that go out
// (`CallDesk+Outbound.swift`) are kept beside them.
//
// Plugins report calls on their own threads and must get their answer at once, so what takes longer than a look at the
// table is done on the desk's own thread, one thing after the other.

import Calls
import Control
import Dispatch
import Glibc
import HostServices
import JSON
import Media
import Providers
import Synchronization

final class CallDesk: Sendable {
    struct State {
        var admission: Admission
        var calls: [String: LiveCall] = [:]
        /// Keys of calls whose session is not open yet, and whether their caller has given up meanwhile.
        var opening: [String: Bool] = [:]
        var number = 0
    }

    let loop: CallLoop
    let pump: FramePump
    let detection: DetectionDesk
    let sessions: ProviderSessions
    private let health: ProviderHealth
    let tools: any CallTools
    let clips: any ClipLibrary
    /// A stream for a call whose audio the plugin carries; nil when the engine has no room.
    let openFrames: @Sendable () -> MediaStream?
    /// Whoever can call, of each name the newest generation.
    let telephony: @Sendable () -> [TelephonyProvider]
    /// Names of providers that nothing runs under, of those given.
    private let missing: @Sendable ([String]) -> [String]
    let profiles: [CallProfile]
    let defaultProfiles: [String]
    let callsMax: Int
    private let retryAfterS: Int
    private let recordings: String
    private let events: EventSocket?
    let logger: Logger
    let state: Mutex<State>
    let queue = DispatchQueue(label: "calls desk")
    /// Completing a file waits for the media thread and the disk; new calls shall not.
    private let files = DispatchQueue(label: "recordings")
    /// Tells the calls of this run from those of another in logs and file names.
    let run: String

    init(
        loop: CallLoop, pump: FramePump, detection: DetectionDesk, sessions: ProviderSessions, health: ProviderHealth,
        tools: any CallTools, clips: any ClipLibrary, openFrames: @escaping @Sendable () -> MediaStream?,
        telephony: @escaping @Sendable () -> [TelephonyProvider],
        missing: @escaping @Sendable ([String]) -> [String], profiles: [CallProfile], configuration: Configuration,
        events: EventSocket?, logger: Logger
    ) {
        self.loop = loop
        self.pump = pump
        self.detection = detection
        self.sessions = sessions
        self.health = health
        self.tools = tools
        self.clips = clips
        self.openFrames = openFrames
        self.telephony = telephony
        self.missing = missing
        self.profiles = profiles
        self.events = events
        self.logger = logger
        defaultProfiles = configuration.list("vchost", "default_profile")
        recordings = configuration.text("vchost", "recordings")
        callsMax = configuration.integer("vchost", "calls_max")
        retryAfterS = configuration.integer("vchost", "retry_after_s")
        state = Mutex(State(admission: Admission(callsMax: callsMax, retryAfterS: UInt32(retryAfterS))))
        run = String(UInt32(truncatingIfNeeded: time(nil)), radix: 36)
    }

    var callCount: Int { state.withLock { $0.calls.count } }

    // MARK: Calls that come in

    /// From a telephony provider, on its thread.
    func happened(_ event: TelephonyProviderEvent, on provider: @escaping @Sendable () -> TelephonyProvider?) {
        switch event {
        case .withdrawn(let key):
            state.withLock { if $0.opening[key] != nil { $0.opening[key] = true } }
        case .incoming(let incoming):
            let profile = profiles.profile(for: incoming.to, defaults: defaultProfiles)
            let (verdict, id) = state.withLock { state -> (Admission.Verdict, String) in
                state.number += 1
                let verdict = state.admission.arrived(hasProfile: profile != nil)
                if verdict == .admit { state.opening[incoming.key] = false }
                return (verdict, "\(run)-\(state.number)")
            }
            queue.async { [self] in
                guard let provider = provider() else { return }
                switch verdict {
                case .admit: open(incoming, profile!, id, provider)
                case .decline(let code, let retryAfterS):
                    logger.info(
                        "declined with \(code): \(incoming.from) called \(incoming.to)",
                        of: LogSubject(name: provider.instance.name))
                    provider.decline(key: incoming.key, code: Int(code), retryAfterSeconds: Int(retryAfterS))
                }
            }
        }
    }

    /// On the desk's thread.
    private func open(_ incoming: IncomingCall, _ profile: CallProfile, _ id: String, _ provider: TelephonyProvider) {
        let call = LiveCall(incoming, id: id, profile: profile, desk: self)
        let isWithdrawn = state.withLock { state in
            state.calls[id] = call
            return state.opening.removeValue(forKey: incoming.key) ?? false
        }
        guard !isWithdrawn else { return ended(call) }
        if let kind = missingKind(of: profile) {
            logger.error(
                "declined with 503: [profile.\(profile.name)] has no \(kind) that runs",
                of: LogSubject(name: provider.instance.name, call: id))
            provider.decline(key: incoming.key, code: 503, retryAfterSeconds: retryAfterS)
            return ended(call)
        }
        var frames: MediaStream?
        if provider.profile == .frames {
            frames = openFrames()
            guard frames != nil else {
                logger.error("no media stream is left for this call", of: LogSubject(call: id))
                provider.decline(key: incoming.key, code: 503, retryAfterSeconds: 1)
                return ended(call)
            }
        }
        // Whatever becomes of it, a call that was `incoming` is `ended`.
        publish(
            "incoming", call.identity,
            [
                "from": .string(incoming.from), "to": .string(incoming.to), "profile": .string(profile.name),
            ])
        do throws(ProviderFailure) {
            let session = try provider.answerable(key: incoming.key, call: id) { [weak call] event in
                call?.happened(event) ?? .stale
            }
            logger.info(
                "\(incoming.from) calls \(incoming.to), answered by [profile.\(profile.name)]",
                of: LogSubject(name: provider.instance.name, call: id))
            call.begin(session, frames: frames)
        } catch {
            logger.error(error.message, of: LogSubject(name: provider.instance.name, call: id))
            frames?.close()
            provider.decline(key: incoming.key, code: 503, retryAfterSeconds: 1)
            call.fail(error.message)
        }
    }

    /// The media service opened a stream's description for a session.
    func negotiated(_ session: UInt64, _ stream: MediaStream) {
        let call = state.withLock { $0.calls.values.first { $0.handle == session } }
        call?.negotiated(stream)
    }

    /// The kind of provider of which this profile has none that runs. Nobody could hear, think or speak in its calls,
    /// so they are refused while a trunk can still take its next route.
    func missingKind(of profile: CallProfile) -> String? {
        let chains = profile.chains
        let kinds = [
            ("stt", chains.speechToText), ("llm", chains.languageModel), ("tts", chains.textToSpeech),
        ]
        return kinds.first { !$0.1.isEmpty && missing($0.1).count == $0.1.count }?.0
    }

    // MARK: For a call

    /// Tells whoever watches.
    func publish(_ event: String, _ call: CallIdentity, _ members: [String: JSONValue] = [:]) {
        let own: [String: JSONValue] = [
            "event": .string(event), "call": .string(call.id), "protocolCall": .string(call.protocolCall),
        ]
        events?.publish(JSONValue.object(own.merging(members) { $1 }).text)
    }

    func reporter(for call: LiveCall) -> any CallObserver {
        let reporter = CallReporter(
            socket: events,
            log: { [logger] level, message, identity in
                logger.write(Logger.Level(level), message, of: LogSubject(call: identity.id))
            },
            whenEnded: { [logger] record, identity in
                call.recorded(record)
                logger.info(
                    "ended after \(record.durationMs / 1000) s: \(record.end.name), "
                        + "\(record.callerTurns) turns of the caller, \(record.bargeIns) interruptions, "
                        + "\(record.failovers) failovers",
                    of: LogSubject(call: identity.id))
            })
        return HealthObserver(health, next: reporter)
    }

    func log(_ level: CallLogLine.Level, _ message: String, _ call: CallIdentity) {
        logger.write(Logger.Level(level), message, of: LogSubject(call: call.id))
    }

    func recorder(for call: CallIdentity, _ stream: MediaStream) -> StereoRecorder? {
        guard !recordings.isEmpty else { return nil }
        do throws(WAVError) {
            return try StereoRecorder(stream: stream, path: "\(recordings)/\(call.id).wav")
        } catch {
            logger.error("this call is not recorded: \(error)", of: LogSubject(call: call.id))
            return nil
        }
    }

    func complete(_ recorder: StereoRecorder, _ call: CallIdentity) {
        files.async { [logger] in
            do throws(WAVError) {
                try recorder.finish()
            } catch {
                logger.error("the recording is not complete: \(error)", of: LogSubject(call: call.id))
            }
        }
    }

    /// Once for each admitted call.
    func ended(_ call: LiveCall) {
        state.withLock { state in
            guard state.calls.removeValue(forKey: call.identity.id) != nil else { return }
            state.admission.ended()
        }
    }

    /// Takes nothing new and ends what there is; true when all calls are over within the time.
    func close(timeoutMs: Int) -> Bool {
        let calls = state.withLock { state in
            state.admission.isDraining = true
            return Array(state.calls.values)
        }
        for call in calls { call.end(.shutdown) }
        for _ in 0..<max(1, timeoutMs / 20) where callCount > 0 { usleep(20_000) }
        return callCount == 0
    }
}

extension Logger.Level {
    init(_ level: CallLogLine.Level) {
        self =
            switch level {
            case .debug: .debug
            case .info: .info
            case .warning: .warning
            case .error: .error
            case .providerFault: .pluginFault
            }
    }
}

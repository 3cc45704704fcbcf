// Calls that go out: admitted like those that come in, because they need the same ports, the same threads and the same
// models, and made on the desk's thread, because a plugin may think about `open`.
//
//     dial ─► admitted ─► outgoing ─► ringing ─► answered ─► ... as a call that came in ... ─► ended
//                            └─ busy, refused, nobody there, out of time, the host stops ────────┘
//
// Whatever becomes of it, a call that was `outgoing` is `ended`.

import Calls
import Control
import Dispatch
import HostServices
import JSON
import Media
import Providers
import Synchronization

extension CallDesk {
    /// How much longer than the ring timeout a plugin may be silent. It gives up by itself, and Twilio may need a
    /// minute from the answer to the stream (`stream_timeout_ms`); this is for a plugin that says nothing at all.
    static let silenceAfterRingingMs = 61_000

    /// Calls somebody. `answer` has the call's id, or why nobody is called; `whenOver` is asked once if it has an id.
    func dial(
        _ wanted: OutgoingCall, answer: @escaping @Sendable (Result<String, DialRefusal>) -> Void,
        whenOver: @escaping @Sendable (DialedEnd) -> Void = { _ in }
    ) {
        let provider: TelephonyProvider, profile: CallProfile, id: String
        do throws(DialRefusal) {
            provider = try caller(named: wanted.provider)
            profile = try agent(named: wanted.profile)
            id = try admit()
        } catch {
            return answer(.failure(error))
        }
        queue.async { [self] in
            dial(
                LiveCall(wanted, id: id, profile: profile, desk: self, whenOver: whenOver), wanted, profile, provider,
                answer)
        }
    }

    private func caller(named name: String) throws(DialRefusal) -> TelephonyProvider {
        let known = telephony()
        guard let provider = known.first(where: { $0.instance.name == name }) else {
            let names = Set(known.map(\.instance.name)).sorted().joined(separator: ", ")
            throw DialRefusal("there is no telephony provider \(name); there are: \(names.isEmpty ? "none" : names)")
        }
        guard provider.instance.state == .running else {
            throw DialRefusal("\(name) takes no calls just now: it stops, or is exchanged; try again")
        }
        guard provider.instance.declaration.capabilities.flag("outbound") else {
            throw DialRefusal("\(name) cannot call anybody: its manifest has no \"outbound\"")
        }
        return provider
    }

    private func agent(named name: String) throws(DialRefusal) -> CallProfile {
        let name = name.isEmpty ? defaultProfiles.first ?? profiles.first?.name ?? "" : name
        guard let profile = profiles.first(where: { $0.name == name }) else {
            throw DialRefusal(
                "there is no profile \(name); there are: \(profiles.map(\.name).sorted().joined(separator: ", "))")
        }
        if let kind = missingKind(of: profile) {
            throw DialRefusal("[profile.\(profile.name)] has no \(kind) that runs: nobody could talk")
        }
        return profile
    }

    private func admit() throws(DialRefusal) -> String {
        let (verdict, number, isDraining) = state.withLock { state in
            state.number += 1
            return (state.admission.arrived(hasProfile: true), state.number, state.admission.isDraining)
        }
        guard verdict == .admit else {
            throw DialRefusal(
                isDraining
                    ? "the host is about to stop" : "the host is full: calls_max = \(callsMax) calls are there")
        }
        return "\(run)-\(number)"
    }

    /// On the desk's thread.
    private func dial(
        _ call: LiveCall, _ wanted: OutgoingCall, _ profile: CallProfile, _ provider: TelephonyProvider,
        _ answer: @escaping @Sendable (Result<String, DialRefusal>) -> Void
    ) {
        let id = call.identity.id
        state.withLock { $0.calls[id] = call }
        publish(
            "outgoing", call.identity,
            [
                "provider": .string(wanted.provider), "from": .string(wanted.from), "to": .string(wanted.to),
                "profile": .string(profile.name),
            ])
        func refuse(_ message: String) {
            logger.error(message, of: LogSubject(name: wanted.provider, call: id))
            call.fail(message)
            answer(.failure(DialRefusal("\(wanted.provider): \(message)")))
        }
        var frames: MediaStream?
        if provider.profile == .frames {
            frames = openFrames()
            guard frames != nil else { return refuse("no media stream is left for this call") }
        }
        do throws(ProviderFailure) {
            let session = try provider.dial(
                to: wanted.to, from: wanted.from, ringTimeoutMs: wanted.ringTimeoutMs, call: id
            ) { [weak call] event in call?.happened(event) ?? .stale }
            logger.info(
                "calls \(wanted.to) for [profile.\(profile.name)]", of: LogSubject(name: wanted.provider, call: id))
            answer(.success(id))
            call.begin(session, frames: frames)
        } catch {
            frames?.close()
            return refuse(error.message)
        }
        // For a plugin that says nothing and opens no media; where there is a conversation, that gives up by itself.
        let patienceMs = wanted.ringTimeoutMs + Self.silenceAfterRingingMs
        queue.asyncAfter(deadline: .now() + .milliseconds(patienceMs)) { [weak call] in call?.giveUpUnheard() }
    }

    /// A plugin opens media for a call of this id: if that goes out, its conversation can be made ready.
    func opened(_ id: String, _ stream: MediaStream) {
        state.withLock { $0.calls[id] }?.opened(stream)
    }

    /// Whether there is a way for digits to the far end of a call.
    func takesDigits(_ call: CallIdentity) -> Bool { state.withLock { $0.calls[call.id] }?.takesDigits ?? false }

    /// Whether the call of this id goes out.
    func isOutbound(_ id: String) -> Bool { state.withLock { $0.calls[id] }?.isOutbound ?? false }
}

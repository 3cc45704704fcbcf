// A judge of the end of a turn behind the C line, as a conversation knows it.

import Calls
import PluginABI
import Synchronization

final class PluginTurn: TurnSession, PluginSessionDelegate, @unchecked Sendable {
    private let provider: Provider
    private let mailbox: CallMailbox
    private let callRateHz: Int
    private let rateHz: Int
    private let converter: (any SampleRateConverter)?
    private var session: PluginSession!
    private var ops = vc_turn_ops()
    private var cutter: FrameCutter
    private var sequence: UInt64 = 0
    /// Of the call, after the last sample that came, and of the session, where the next frame begins.
    private var endPosition: UInt64 = 0
    private var outPosition: UInt64 = 0
    private var isDiscontinuous = false
    private var request: UInt64 = 0
    private var origin: UInt64?

    /// Questions that are not answered: a pause asks one or two, and late answers are ignored.
    private let asked = Mutex<[UInt64: UInt64]>([:])
    private static let askedMax = 16

    static func open(
        _ instance: ProviderInstance, as provider: Provider, _ request: SessionRequest, callRateHz: Int,
        mailbox: CallMailbox, converter: SampleRateConverterMaker?
    ) throws(ProviderFailure) -> PluginTurn {
        let rateHz = chooseRate(instance.declaration.capabilities.ratesHz, for: callRateHz)
        let made = try makeConverter(converter, from: callRateHz, to: rateHz, for: instance.name)
        let adapter = PluginTurn(provider, mailbox, callRateHz, rateHz, instance.limits.frameMs, made)
        var request = request
        request.rateHz = rateHz
        adapter.session = try PluginSession.open(instance, request, delegate: adapter)
        adapter.ops = try adapter.session.kindTable(vc_turn_ops.self, "vc_turn_ops") { [("decide", $0.decide != nil)] }
        return adapter
    }

    private init(
        _ provider: Provider, _ mailbox: CallMailbox, _ callRateHz: Int, _ rateHz: Int, _ frameMs: Int,
        _ converter: (any SampleRateConverter)?
    ) {
        self.provider = provider
        self.mailbox = mailbox
        self.callRateHz = callRateHz
        self.rateHz = rateHz
        cutter = FrameCutter(frameSamples: rateHz * frameMs / 1_000)
        self.converter = converter
    }

    func push(_ samples: UnsafeBufferPointer<Int16>, at position: UInt64) -> Handover {
        guard ops.push != nil else { return .accepted }
        if position != endPosition || origin == nil {
            outPosition = max(outPosition, sessionPosition(position))
            isDiscontinuous = sequence > 0
            cutter.dropRest()
        }
        endPosition = position + UInt64(samples.count)
        var handover = Handover.accepted
        func send(_ heard: UnsafeBufferPointer<Int16>) {
            cutter.cut(heard) { frame in
                if !give(Array(frame)) { handover = .full }
            }
        }
        if let converter { converter.convert(samples).withUnsafeBufferPointer(send) } else { send(samples) }
        return handover
    }

    /// False: too much waits for READY already.
    private func give(_ piece: [Int16]) -> Bool {
        let (number, from, rateHz, push) = (sequence, outPosition, rateHz, ops.push!)
        let flags = isDiscontinuous ? UInt32(VC_FRAME_DISCONTINUITY) : 0
        sequence += 1
        outPosition += UInt64(piece.count)
        isDiscontinuous = false
        return session.ask("push", samples: piece.count) { theirs in
            piece.withUnsafeBufferPointer { buffer in
                var frame = vc_frame(
                    size: sizeOnTheLine(vc_frame.self), format: UInt32(VC_FORMAT_S16), rate_hz: UInt32(rateHz),
                    channels: 1, samples: UInt32(buffer.count), flags: flags, sequence: number, position: from,
                    captured_ns: hostClockNs(), epoch: 0, data: UnsafeRawPointer(buffer.baseAddress),
                    bytes: UInt64(buffer.count * 2))
                _ = push(theirs, &frame)
            }
        }
    }

    func decide(text: String, at position: UInt64) {
        request += 1
        let number = request
        asked.withLock { asked in
            if asked.count >= Self.askedMax, let oldest = asked.keys.min() { asked[oldest] = nil }
            asked[number] = position
        }
        if let transcript = ops.transcript, !text.isEmpty {
            session.ask("transcript") { theirs in _ = withStr(text) { transcript(theirs, $0, 1) } }
        }
        let decide = ops.decide!
        let at = sessionPosition(position)
        session.ask("decide") { [self] theirs in
            let status = decide(theirs, number, at)
            if status != VC_OK { session.refused("decide", status) }
        }
    }

    func close() { session.close() }

    private func sessionPosition(_ position: UInt64) -> UInt64 {
        let zero = origin ?? position
        origin = zero
        return rescale(position > zero ? position - zero : 0, from: callRateHz, to: rateHz)
    }

    // MARK: PluginSessionDelegate

    func receive(_ event: UnsafePointer<vc_event>, _ type: Int) -> vc_status {
        guard type == VC_EVENT_VERDICT else { return vc_status(VC_E_ARGUMENT) }
        let body = UnsafeRawPointer(event).load(as: vc_event_verdict.self)
        guard (0...1).contains(body.probability) else {
            return session.broken("VERDICT", "a probability outside of 0...1")
        }
        guard let position = asked.withLock({ $0.removeValue(forKey: event.pointee.request) }) else {
            return vc_status(VC_OK)
        }
        return mailbox.post(.turnProbability(body.probability, position: position)).status
    }

    func requestFailed(_ request: UInt64, epoch: UInt64, _ failure: ProviderFailure) {
        asked.withLock { _ = $0.removeValue(forKey: request) }
    }

    func lost(_ failure: ProviderFailure) { mailbox.failed(provider, nil, failure) }
}

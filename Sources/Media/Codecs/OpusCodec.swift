// libopus, as far as a telephone call needs it: mono, speech, 20 ms at a time, with its own loss concealment and
// in-band redundancy (RFC 6716, RFC 7587). It decodes to and encodes from the conversation rate directly, so nothing
// is resampled.
//
// States are created by whoever negotiates and used by the media thread; neither call allocates (libopus keeps its
// scratch memory on the stack).

import CPlatform
import Copus

/// A decoder for one sender.
struct OpusDecoder: ~Copyable {
    private let state: OpaquePointer
    private let sampleRateHz: Int32

    /// Nil without memory or for a rate other than 8, 12, 16, 24 or 48 kHz.
    init?(sampleRateHz: Int) {
        var error: Int32 = 0
        guard let state = opus_decoder_create(Int32(sampleRateHz), 1, &error), error == OPUS_OK else { return nil }
        self.state = state
        self.sampleRateHz = Int32(sampleRateHz)
    }

    deinit { opus_decoder_destroy(state) }

    /// Decodes a packet and returns the number of samples, or nil when it is not Opus.
    func decode(
        _ packet: UnsafePointer<UInt8>, count: Int, into samples: UnsafeMutablePointer<Int16>, limit: Int
    ) -> Int? {
        let decoded = opus_decode(state, packet, Int32(count), samples, Int32(limit), 0)
        return decoded > 0 ? Int(decoded) : nil
    }

    /// Makes up `count` samples for a lost packet, out of the redundancy in its successor when there is one.
    func conceal(
        _ count: Int, successor: UnsafePointer<UInt8>?, successorCount: Int, into samples: UnsafeMutablePointer<Int16>
    ) -> Bool {
        opus_decode(state, successor, Int32(successorCount), samples, Int32(count), successor == nil ? 0 : 1) > 0
    }

    /// How long a packet plays, in ticks of 48 kHz, by its first bytes (RFC 6716 section 3.1), or nil when it is not
    /// Opus.
    static func duration(of packet: UnsafeRawBufferPointer) -> Int? {
        guard let bytes = packet.baseAddress?.assumingMemoryBound(to: UInt8.self), packet.count > 0 else { return nil }
        let samples = opus_packet_get_nb_samples(bytes, Int32(packet.count), 48_000)
        return samples > 0 ? Int(samples) : nil
    }
}

/// An encoder for one stream.
struct OpusEncoder: ~Copyable {
    private let state: OpaquePointer

    /// Nil without memory or for a rate other than 8, 12, 16, 24 or 48 kHz.
    init?(sampleRateHz: Int, bitRate: Int = 24_000) {
        var error: Int32 = 0
        guard let state = opus_encoder_create(Int32(sampleRateHz), 1, OPUS_APPLICATION_VOIP, &error), error == OPUS_OK
        else { return nil }
        self.state = state
        // Complexity 5 halves the processor time of 10 and is not heard at these rates.
        for (request, value) in [
            (OPUS_SET_BITRATE_REQUEST, bitRate), (OPUS_SET_COMPLEXITY_REQUEST, 5), (OPUS_SET_INBAND_FEC_REQUEST, 1),
            (OPUS_SET_PACKET_LOSS_PERC_REQUEST, 5), (OPUS_SET_SIGNAL_REQUEST, Int(OPUS_SIGNAL_VOICE)),
        ] {
            _ = vch_opus_encoder_set(state, request, Int32(value))
        }
    }

    deinit { opus_encoder_destroy(state) }

    /// Encodes 20, 40 or 60 ms and returns the number of bytes, or nil when libopus refuses.
    func encode(
        _ samples: UnsafePointer<Int16>, count: Int, into packet: UnsafeMutablePointer<UInt8>, limit: Int
    ) -> Int? {
        let bytes = opus_encode(state, samples, Int32(count), packet, Int32(limit))
        return bytes > 0 ? Int(bytes) : nil
    }
}

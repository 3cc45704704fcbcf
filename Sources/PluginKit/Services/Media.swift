// "vc.media/1": the host's RTP and SDP, for a plugin that only signals.

import PluginABI

/// The media of one call. It belongs to the plugin's thread, and ends with the session that opened it.
public struct TelephonyMedia {
    private let media: vc_handle

    /// Whether this host offers the service.
    public static var isOffered: Bool { HostLine.shared.media != nil }

    /// Takes a pair of ports. Throws `.again` when none is free.
    public init(for session: TelephonySession) throws(PluginError) {
        guard let table = HostLine.shared.media else {
            throw PluginError(.unsupported, "this host offers no \(VC_SERVICE_MEDIA), which the plugin needs")
        }
        var media: vc_handle = 0
        let status = table.pointee.open(session.handle, &media)
        guard status == vc_status(VC_OK) else { throw PluginError(status: status, "a pair of media ports") }
        self.media = media
    }

    /// Our answer to the peer's description. Throws `.unsupported` without a common codec, `.argument` for no SDP.
    public func answer(_ offer: String) throws(PluginError) -> String {
        try described { table, ours, error in withString(offer) { table.answer(media, $0, ours, error) } }
    }

    /// What we can do, for an INVITE of ours or one that came without a description.
    public func offer() throws(PluginError) -> String {
        try described { table, ours, error in table.offer(media, ours, error) }
    }

    /// Takes the peer's answer to our offer. Throws as `answer` does.
    public func accept(_ answer: String) throws(PluginError) {
        _ = try described { table, _, error in withString(answer) { table.accept(media, $0, error) } }
    }

    public func close() { _ = HostLine.shared.media?.pointee.close(media) }

    private func described(
        _ ask: (vc_media, UnsafeMutablePointer<vc_str>, UnsafeMutablePointer<vc_error>) -> vc_status
    ) throws(PluginError) -> String {
        var ours = vc_str()
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let status = ask(HostLine.shared.media!.pointee, &ours, &error)
        guard status == vc_status(VC_OK) else {
            let said = String(error.message)
            throw PluginError(
                PluginError(status: status, "").code, said.isEmpty ? "the media service said \(status)" : said)
        }
        return String(ours)
    }
}

// "vc.media/1" of workers, on the host's side. The session is the real one, and so is the stream: when the worker dies,
// the stream runs on for as long as its session does.

import PluginABI
import Providers
import Synchronization

final class HostSideMedia: Sendable {
    /// Which media belong to which session: a number is no permission.
    private let owners = Mutex<[vc_handle: vc_handle]>([:])

    private var table: vc_media? {
        HostTable.pointer.pointee.service(VC_SERVICE_MEDIA)?.load(as: vc_media.self)
    }

    func received(
        _ operation: WorkerOperation, _ object: PluginObject, _ number: UInt64, _ body: inout WireReader,
        _ line: any WorkerLine
    ) throws(WireFault) {
        guard let table else { return line.reply(number, to: object.handle, .unsupported) { _ in } }
        if operation == .mediaOpen {
            var media: vc_handle = 0
            let status = table.open(object.handle, &media)
            if status == .ok { owners.withLock { $0[media] = object.handle } }
            return line.reply(number, to: object.handle, status) { $0.put(media) }
        }
        let media = try body.take(vc_handle.self)
        let text = try body.takeText()
        guard owners.withLock({ $0[media] == object.handle }) else {
            return line.reply(number, to: object.handle, .stale) { _ in }
        }
        var ours = vc_str()
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let status: vc_status
        switch operation {
        case .mediaAnswer: status = table.answer(media, text, &ours, &error)
        case .mediaOffer: status = table.offer(media, &ours, &error)
        case .mediaAccept: status = table.accept(media, text, &error)
        default:
            owners.withLock { _ = $0.removeValue(forKey: media) }
            status = table.close(media)
        }
        line.reply(number, to: object.handle, status) { writer in
            writer.put(ours)
            writer.put(error)
        }
    }

    func ended(_ session: vc_handle) {
        owners.withLock { owners in owners = owners.filter { $0.value != session } }
    }
}

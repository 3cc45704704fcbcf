// What the kernel says about the plugin directory, as signs of files.
//
// Made before the directory is read for the first time, so that nothing that changes in between is lost. A sidecar's
// sign is that of its library, and the list of what was shipped is about all of them. Where the kernel cannot watch
// (no descriptors left, a network file system whose other side writes), SIGHUP and `vchost plugins reload` look.

import Glibc

public final class DirectoryWatch: Sendable {
    enum Sign: Equatable {
        case file(String, FileSign)
        /// Something that concerns every file, or too much to tell.
        case everything
        /// The directory itself was removed or renamed.
        case lost
    }

    let descriptor: Int32
    /// Why nothing is watched, or nil.
    public let problem: String?

    public init(directory: String) {
        descriptor = inotify_init1(Int32(IN_NONBLOCK) | Int32(IN_CLOEXEC))
        let wanted =
            UInt32(IN_CREATE) | UInt32(IN_MODIFY) | UInt32(IN_CLOSE_WRITE) | UInt32(IN_ATTRIB) | UInt32(IN_MOVED_TO)
            | UInt32(IN_MOVED_FROM) | UInt32(IN_DELETE) | UInt32(IN_DELETE_SELF) | UInt32(IN_MOVE_SELF)
            | UInt32(IN_ONLYDIR)
        let isWatched = descriptor >= 0 && inotify_add_watch(descriptor, directory, wanted) >= 0
        problem = isWatched ? nil : "\(directory) cannot be watched: \(String(cString: strerror(errno)))"
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// All signs that wait, in their order. Never blocks.
    func take() -> [Sign] {
        guard descriptor >= 0 else { return [] }
        var signs: [Sign] = []
        withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 8) { buffer in
            while true {
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                guard count > 0 else { return }
                var offset = 0
                while offset + MemoryLayout<inotify_event>.size <= count {
                    let event = buffer.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
                    offset += MemoryLayout<inotify_event>.size
                    let name = event.len > 0 ? String(cString: buffer.baseAddress!.advanced(by: offset)
                        .assumingMemoryBound(to: CChar.self)) : ""
                    offset += Int(event.len)
                    // A writer of megabytes is one sign, and not thousands.
                    if let sign = Self.sign(event.mask, name), signs.last != sign { signs.append(sign) }
                }
            }
        }
        return signs
    }

    static func sign(_ mask: UInt32, _ name: String) -> Sign? {
        func has(_ bits: Int32...) -> Bool { bits.contains { mask & UInt32(bitPattern: $0) != 0 } }
        if has(Int32(IN_Q_OVERFLOW)) { return .everything }
        if has(Int32(IN_DELETE_SELF), Int32(IN_MOVE_SELF)) { return .lost }
        if name == PluginRegistry.shippedList { return has(Int32(IN_CREATE), Int32(IN_MODIFY)) ? nil : .everything }
        guard !name.hasPrefix("."), mask & 0x4000_0000 == 0 else { return nil }  // IN_ISDIR
        let isSidecar = name.hasSuffix(".json")
        guard isSidecar || name.hasSuffix(".so") else { return nil }
        let file = isSidecar ? name.dropLast(5) + ".so" : name
        if has(Int32(IN_CREATE), Int32(IN_MODIFY)) { return .file(file, .writing) }
        // A sidecar that is gone is a change of its library, which is still there.
        if has(Int32(IN_DELETE), Int32(IN_MOVED_FROM)) { return .file(file, isSidecar ? .written : .gone) }
        return has(Int32(IN_CLOSE_WRITE), Int32(IN_MOVED_TO), Int32(IN_ATTRIB)) ? .file(file, .written) : nil
    }
}

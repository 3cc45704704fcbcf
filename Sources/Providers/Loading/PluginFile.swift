// A file of the plugin directory, read once: everything later looks at these bytes and never at the path again, so
// nobody can exchange the file between the check and the load.

import Glibc

package struct PluginFile: Sendable {
    /// Larger than any library; a model belongs into a file of its own.
    package static let bytesMax = 512 << 20

    package let name: String
    package let path: String
    package let bytes: [UInt8]
    package let sha256: String

    /// Checks the directory and the file, and reads it.
    package init(directory: String, name: String) throws(PluginRefusal) {
        self.name = name
        path = directory + "/" + name
        var link = stat()
        guard lstat(path, &link) == 0 else { throw Self.unreadable(name, errno) }
        if link.st_mode & S_IFMT == S_IFLNK {
            // A link is fine, if where it leads is as safe as the directory itself.
            guard let resolved = realpath(path, nil) else {
                throw PluginRefusal(
                    .unreadable, "\(name) is a link that leads nowhere", mend: "Remove it, or mend its target")
            }
            defer { free(resolved) }
            let target = String(cString: resolved)
            try Self.checkDirectory(String(target[..<(target.lastIndex(of: "/") ?? target.startIndex)]))
        }
        // O_NONBLOCK so that a FIFO called x.so cannot hang the host.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.unreadable(name, errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.unreadable(name, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw PluginRefusal(
                .notRegularFile, "\(name) is not a regular file", mend: "Remove it, or put the library itself there")
        }
        guard status.st_mode & 0o022 == 0 else {
            throw PluginRefusal(
                .fileWritable, "\(name) can be written by other users (mode \(octal(status.st_mode)))",
                mend: "Run: chmod go-w \(path)")
        }
        guard status.st_size <= Self.bytesMax else {
            throw PluginRefusal(
                .unreadable, "\(name) has \(status.st_size) bytes, and at most \(Self.bytesMax) are read",
                mend: "Keep models and data in files of their own")
        }
        bytes = try Self.read(descriptor, count: Int(status.st_size), name)
        sha256 = SHA256.hex(bytes)
    }

    /// Refuses a directory into which others can put libraries: loading one is running it.
    package static func checkDirectory(_ directory: String) throws(PluginRefusal) {
        let directory = directory.isEmpty ? "/" : directory
        var status = stat()
        guard stat(directory, &status) == 0 else { throw unreadable(directory, errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw PluginRefusal(
                .notRegularFile, "\(directory) is not a directory", mend: "Name the directory that holds the plugins")
        }
        guard status.st_mode & 0o022 == 0 else {
            let who = status.st_mode & 0o002 != 0 ? "everybody" : "its group"
            throw PluginRefusal(
                .directoryWritable, "\(directory) can be written by \(who) (mode \(octal(status.st_mode)))",
                mend: "Run: chmod go-w \(directory)")
        }
    }

    static func read(_ descriptor: Int32, count: Int, _ name: String) throws(PluginRefusal) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let got = Glibc.read(descriptor, buffer.baseAddress! + filled, count - filled)
                if got > 0 {
                    filled += got
                    continue
                }
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = errno }
                return
            }
        }
        guard failure == 0 else { throw unreadable(name, failure) }
        return bytes
    }

    private static func unreadable(_ name: String, _ code: Int32) -> PluginRefusal {
        PluginRefusal(
            .unreadable, "\(name) cannot be read: \(String(cString: strerror(code)))",
            mend: "Check its owner and its mode")
    }
}

private func octal(_ mode: mode_t) -> String { "0" + String(mode & 0o7777, radix: 8) }

/// The small files beside plugins: sidecars, the list of what was shipped. Nil when there is none.
func readSmallFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    let limit = 1 << 20
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
        while filled < limit {
            let got = Glibc.read(descriptor, buffer.baseAddress! + filled, limit - filled)
            if got > 0 {
                filled += got
                continue
            }
            if got < 0, errno == EINTR { continue }
            return
        }
    }
    return bytes
}

/// A whole file of any sensible size, for `vchost plugins pack`.
package func readWholeFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_size <= PluginFile.bytesMax else { return nil }
    return try? PluginFile.read(descriptor, count: Int(status.st_size), path)
}

// Files that a provider reads when it is made: a list of words, a voice's table.

import Glibc

extension ProviderHost {
    /// Reads a small file, named absolutely or relative to the host's working directory.
    ///
    /// For `init` only, and for files of at most `bytesMax`: what is larger or slower belongs into a task. The error
    /// names the file and the mend.
    public func contents(ofFile path: String, bytesMax: Int = 1 << 20) throws(PluginError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Self.unreadable(path) }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw Self.unreadable(path) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw PluginError(.configuration, "\(path) is no file that can be read; name a text file")
        }
        guard Int(status.st_size) <= bytesMax else {
            throw PluginError(
                .configuration, "\(path) has \(status.st_size) bytes, and \(bytesMax) is the limit; split it")
        }
        // One byte more than it says, so that a file that grows meanwhile is noticed and not cut.
        var count = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: bytesMax + 1) { buffer, initialized in
            while count <= bytesMax {
                let got = read(file, buffer.baseAddress! + count, bytesMax + 1 - count)
                if got <= 0 { break }
                count += got
            }
            initialized = count
        }
        guard count <= bytesMax else {
            throw PluginError(.configuration, "\(path) grew past \(bytesMax) bytes while it was read; split it")
        }
        return bytes
    }

    private static func unreadable(_ path: String) -> PluginError {
        let reason = String(cString: strerror(errno))
        return PluginError(
            .configuration, "\(path) cannot be read: \(reason); correct the path, or let the host's user read it")
    }
}

// A whole file as text, without Foundation, which would be the only reason to have it in the start-up path.

import Glibc

enum TextFile {
    /// Reads at most `bytesMax` bytes of UTF-8. Throws `SettingsError` with the system's reason.
    static func read(_ path: String, bytesMax: Int) throws(SettingsError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw SettingsError(.unreadable, "\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else {
                throw SettingsError(.unreadable, "\(path) cannot be read: \(String(cString: strerror(errno)))")
            }
            if count == 0 { break }
            bytes += chunk[..<count]
            guard bytes.count <= bytesMax else {
                throw SettingsError(.unreadable, "\(path) is larger than \(bytesMax >> 10) KiB: is it the right file?")
            }
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw SettingsError(.unreadable, "\(path) is not UTF-8: save it in that encoding")
        }
        return text
    }
}

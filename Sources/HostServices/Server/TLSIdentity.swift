// The certificate of the host's own listener and its key, as PEM texts. GnuTLS, within libmicrohttpd, parses them; here
// the files are read, once, so a renewed certificate needs a restart.

import Glibc

/// Why the listener cannot be opened.
public struct ListenFailure: Error, CustomStringConvertible {
    public let description: String
}

struct TLSIdentity: Sendable {
    let certificate: String
    let key: String

    /// Nil when neither path is set.
    init?(certificatePath: String, keyPath: String) throws(ListenFailure) {
        guard !certificatePath.isEmpty || !keyPath.isEmpty else { return nil }
        guard !certificatePath.isEmpty, !keyPath.isEmpty else {
            throw ListenFailure(description: "[server] certificate and key belong together: set both, or none")
        }
        certificate = try Self.text(of: certificatePath, "certificate")
        key = try Self.text(of: keyPath, "key")
    }

    private static func text(of path: String, _ setting: String) throws(ListenFailure) -> String {
        guard let file = fopen(path, "re") else {
            throw ListenFailure(
                description: "[server] \(setting) = \(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        defer { fclose(file) }
        // A chain of certificates has some 10 KiB.
        var bytes = [UInt8](repeating: 0, count: 256 << 10)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

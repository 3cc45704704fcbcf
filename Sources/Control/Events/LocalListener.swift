// A Unix socket that is ready under another name until its host is: whoever waits for the path finds a host that is up.
//
// A socket of the file system and not a port, because its permissions are the file's.

import Glibc

struct LocalListener: Sendable {
    let descriptor: Int32
    let path: String
    private let setting: String

    /// Listens, hidden. `setting` is the key of the configuration, for what is said when that does not work.
    init(path: String, setting: String) throws(SettingsError) {
        self.path = path
        self.setting = setting
        let hidden = path + ".starting"
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard hidden.utf8.count < capacity else {
            throw SettingsError(
                .invalid, "\(setting): \(path) is longer than the \(capacity - 1) bytes of a socket's path")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: hidden.utf8) }
        descriptor = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        unlink(hidden)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0, chmod(hidden, 0o600) == 0, listen(descriptor, 8) == 0 else {
            let reason = String(cString: strerror(errno))
            Glibc.close(descriptor)
            throw SettingsError(.invalid, "\(setting): \(path) cannot be made: \(reason)")
        }
    }

    /// Takes the path, also from a socket that a host before this one left behind.
    func appear() throws(SettingsError) {
        guard rename(path + ".starting", path) == 0 else {
            throw SettingsError(.invalid, "\(setting): \(path) cannot be made: \(String(cString: strerror(errno)))")
        }
    }

    /// The next one who waits, or nil.
    func accept() -> Int32? {
        let client = Glibc.accept(descriptor, nil, nil)
        guard client >= 0 else { return nil }
        _ = fcntl(client, F_SETFL, O_NONBLOCK)
        _ = fcntl(client, F_SETFD, FD_CLOEXEC)
        return client
    }

    func close() {
        Glibc.close(descriptor)
        unlink(path)
        unlink(path + ".starting")
    }
}

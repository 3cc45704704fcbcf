// The other end of the control socket: one question, one answer.

import Glibc
import JSON

public enum ControlClient {
    /// A list of every generation of every plugin is some kilobytes.
    static let answerBytesMax = 4 << 20

    /// Asks the host behind `path`, and waits for its answer at most so long.
    public static func ask(_ path: String, _ request: JSONValue, timeoutMs: Int) throws(SettingsError) -> JSONValue {
        func failure(_ what: String) -> SettingsError {
            SettingsError(.invalid, "\(path): \(what): \(String(cString: strerror(errno)))")
        }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw SettingsError(.invalid, "\(path) is too long for a socket's path")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(descriptor) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else {
            throw failure("no host answers there; it needs [vchost] control_socket")
        }
        var limit = timeval(tv_sec: timeoutMs / 1_000, tv_usec: timeoutMs % 1_000 * 1_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let line = Array((request.text + "\n").utf8)
        guard send(descriptor, line, line.count, Int32(MSG_NOSIGNAL)) == line.count else {
            throw failure("the request could not be sent")
        }
        var answer: [UInt8] = []
        while answer.last != 0x0a, answer.count < answerBytesMax {
            var bytes = [UInt8](repeating: 0, count: 65_536)
            let got = recv(descriptor, &bytes, bytes.count, 0)
            if got < 0, errno == EINTR { continue }
            guard got != 0 else { throw SettingsError(.invalid, "\(path): the host closed without an answer") }
            guard got > 0 else { throw failure("no answer within \(timeoutMs) ms") }
            answer += bytes[..<got]
        }
        guard let value = answer.withUnsafeBufferPointer({ try? JSONValue(parsing: $0) }) else {
            throw SettingsError(.invalid, "\(path): what answers there is no vchost")
        }
        return value
    }
}

// An answer of the server that is read whole before anything is made of it: what a model can do, which models there
// are.

import JSON
import PluginKit
import Synchronization

struct JSONAnswer: Sendable {
    var status: Int
    /// What came, if it is JSON; else the beginning of it, as a text.
    var body: JSONValue
}

extension ProviderHost {
    /// A list of models has a kilobyte for each.
    private static var bytesMax: Int { 4 << 20 }

    /// Asks, and calls `then` once. It may run at the same time as any session.
    func ask(_ request: HTTPRequest, then: @escaping @Sendable (Result<JSONAnswer, PluginError>) -> Void) {
        let answer = Mutex<(status: Int, bytes: [UInt8])>((0, []))
        do throws(PluginError) {
            try start(request) { event in
                switch event {
                case .response(let response): answer.withLock { $0.status = response.status }
                case .data(let bytes): answer.withLock { $0.bytes += bytes.prefix(Self.bytesMax - $0.bytes.count) }
                case .done:
                    let (status, bytes) = answer.withLock { $0 }
                    let text = String(decoding: bytes, as: UTF8.self)
                    let body = (try? JSONValue(parsing: text)) ?? .string(String(text.prefix(200)))
                    then(.success(JSONAnswer(status: status, body: body)))
                case .failed(let error): then(.failure(error))
                }
            }
        } catch {
            then(.failure(error))
        }
    }
}

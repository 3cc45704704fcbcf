// The faults, put to an answer.

import JSON

extension VendorFault {
    /// What arrives in place of `answer`.
    ///
    /// - Parameter errors: The vendor's own bodies for its error statuses.
    func exchange(
        _ answer: VendorAnswer, to request: VendorRequest, _ variables: [String: String], errors: [Int: VendorBody]
    ) -> VendorExchange {
        let good = answer.exchange(variables)
        switch self {
        case .refused: return broken(atMs: 2, .refused(request.url))
        case .dnsFailure: return broken(atMs: 5, .unresolved(request.url))
        case .tlsFailure: return broken(atMs: 15, .untrusted(request.url))
        case .resetBeforeFirstByte: return broken(atMs: 20, .broken(request.url, hasAnswer: false))
        case .resetInTheMiddle, .halfClose:
            var exchange = half(of: good)
            let lastMs = exchange.chunks.last?.atMs ?? answer.afterMs
            exchange.end = .failed(atMs: lastMs + 5, .broken(request.url, hasAnswer: true))
            return exchange
        case .cutShort, .truncatedJSON:
            var exchange = half(of: good)
            exchange.end = .complete(atMs: exchange.chunks.last?.atMs ?? answer.afterMs)
            return exchange
        case .stall: return VendorExchange(status: good.status, headers: [], afterMs: nil)
        case .slowFirstByte(let ms): return delayed(good, by: ms)
        case .slowLoris: return slow(good)
        case .status(let status, let seconds):
            var refusal = VendorAnswer()
            refusal.status = status
            refusal.body = errors[status] ?? Self.usualError(status)
            if let seconds { refusal.headers = [.init(name: "Retry-After", value: String(seconds))] }
            return refusal.exchange(variables)
        case .notJSON:
            let page = "<html><body><h1>It works!</h1></body></html>\n"
            return replaced(answer, "text/html", Array(page.utf8), variables)
        case .invalidUTF8:
            return replaced(answer, nil, [0x7b, 0x22, 0xff, 0xfe, 0x80, 0xc3, 0x28, 0x22, 0x3a, 0xc0, 0xaf], variables)
        case .emptyBody: return replaced(answer, nil, [], variables)
        case .wrongContentType:
            var exchange = good
            exchange.headers.removeAll { $0.name.lowercased() == "content-type" }
            exchange.headers.append(("Content-Type", "application/x-unknown"))
            return exchange
        case .oneByteChunks: return recut(good, size: 1)
        case .splitAt(let offset):
            var exchange = good
            let body = good.body
            let cut = min(max(offset, 0), body.count)
            exchange.chunks = [body[..<cut], body[cut...]].filter { !$0.isEmpty }.map {
                .init(atMs: answer.afterMs, bytes: Array($0))
            }
            exchange.end = .complete(atMs: answer.afterMs)
            return exchange
        case .lineEnd(let end):
            return answer.exchange(variables, lineEnd: end == .crlf ? "\r\n" : end == .cr ? "\r" : "\n")
        case .missingDone:
            guard case .events(let events) = answer.body else { return good }
            var shorter = answer
            shorter.body = .events(events.filter { $0.data != "[DONE]" })
            return shorter.exchange(variables)
        case .comments:
            guard case .events(let events) = answer.body else { return good }
            var longer = answer
            longer.body = .events(events.flatMap { [VendorEvent(data: nil, comment: "keep-alive"), $0] })
            return longer.exchange(variables)
        case .noSpaces: return withoutSpaces(good, answer)
        case .hugeBody: return huge(answer, variables)
        case .closeCode, .abruptEnd, .fragmented, .slowReader, .silentPeer, .hugeMessage: return good
        }
    }

    private func broken(atMs: Int, _ failure: VendorFailure) -> VendorExchange {
        var exchange = VendorExchange(status: 0, headers: [], afterMs: nil)
        exchange.end = .failed(atMs: atMs, failure)
        return exchange
    }

    /// The pieces up to the middle of the body.
    private func half(of exchange: VendorExchange) -> VendorExchange {
        var half = exchange
        var left = exchange.body.count / 2
        half.chunks = exchange.chunks.compactMap { chunk in
            defer { left -= min(left, chunk.bytes.count) }
            return left > 0 ? .init(atMs: chunk.atMs, bytes: Array(chunk.bytes.prefix(left))) : nil
        }
        return half
    }

    private func delayed(_ exchange: VendorExchange, by ms: Int) -> VendorExchange {
        var late = exchange
        late.afterMs = exchange.afterMs.map { $0 + ms }
        late.chunks = exchange.chunks.map { .init(atMs: $0.atMs + ms, bytes: $0.bytes) }
        if case .complete(let atMs) = exchange.end { late.end = .complete(atMs: atMs + ms) }
        return late
    }

    private func slow(_ exchange: VendorExchange) -> VendorExchange {
        var slow = exchange
        let body = exchange.body
        let firstMs = exchange.afterMs ?? 0
        slow.chunks = body.prefix(Self.slowBytesMax).enumerated().map { index, byte in
            .init(atMs: firstMs + 100 * (index + 1), bytes: [byte])
        }
        slow.end = body.count > Self.slowBytesMax ? .never : .complete(atMs: slow.chunks.last?.atMs ?? firstMs)
        return slow
    }

    private func recut(_ exchange: VendorExchange, size: Int) -> VendorExchange {
        var recut = exchange
        recut.chunks = exchange.chunks.flatMap { chunk in
            stride(from: 0, to: chunk.bytes.count, by: size).map {
                .init(atMs: chunk.atMs, bytes: Array(chunk.bytes[$0..<min($0 + size, chunk.bytes.count)]))
            }
        }
        return recut
    }

    private func withoutSpaces(_ exchange: VendorExchange, _ answer: VendorAnswer) -> VendorExchange {
        guard case .events = answer.body else { return exchange }
        var narrow = exchange
        for index in narrow.chunks.indices {
            let lines = String(decoding: narrow.chunks[index].bytes, as: UTF8.self)
                .split(separator: "\n", omittingEmptySubsequences: false)
                .map { $0.hasPrefix("data: ") ? "data:" + $0.dropFirst(6) : String($0) }
            narrow.chunks[index].bytes = Array(lines.joined(separator: "\n").utf8)
        }
        return narrow
    }

    private func replaced(
        _ answer: VendorAnswer, _ type: String?, _ body: [UInt8], _ variables: [String: String]
    ) -> VendorExchange {
        var other = answer
        let own = answer.headers.first { $0.name.lowercased() == "content-type" }?.value
        other.headers.removeAll { $0.name.lowercased() == "content-type" }
        if let type = type ?? own ?? answer.body.contentType {
            other.headers.append(.init(name: "Content-Type", value: type))
        }
        other.body = body.isEmpty ? .none : .bytes(body)
        return other.exchange(variables)
    }

    /// As much as a mebibyte of what is right: events over again, samples over again, JSON with spaces behind it.
    private func huge(_ answer: VendorAnswer, _ variables: [String: String]) -> VendorExchange {
        var large = answer
        switch answer.body {
        case .events(let events):
            // The one with the longest data is content; the first names a role and the last ends the stream.
            guard let content = events.filter({ $0.data != "[DONE]" }).max(by: { $0.size < $1.size }),
                let place = events.firstIndex(of: content)
            else { return answer.exchange(variables) }
            var repeated = events
            var again = content
            again.afterMs = 0
            let count = Self.hugeBytes / max(content.size, 1)
            repeated.insert(contentsOf: [VendorEvent](repeating: again, count: count), at: place)
            large.body = .events(repeated)
            return large.exchange(variables)
        case .audio(var audio):
            audio.length = .ms(Self.hugeBytes * 1000 / (audio.rateHz * 2))
            large.body = .audio(audio)
        default:
            let body = answer.body.bytes(variables)
            let padding = [UInt8](repeating: 0x20, count: max(0, Self.hugeBytes - body.count))
            if let type = answer.body.contentType { large.headers.append(.init(name: "Content-Type", value: type)) }
            large.body = .bytes(body + padding)
        }
        large.chunkBytes = large.chunkBytes ?? 16 << 10
        return large.exchange(variables)
    }

    /// What most vendors send with an error, in the shape of OpenAI's.
    static func usualError(_ status: Int) -> VendorBody {
        let (type, message): (JSONValue, JSONValue) =
            switch status {
            case 401: ("invalid_api_key", "Incorrect API key provided.")
            case 403: ("permission_denied", "The key has no right to use this model.")
            case 429: ("rate_limit_exceeded", "Too many requests.")
            case 503: ("overloaded", "The service is overloaded.")
            default: ("server_error", "The server had an error.")
            }
        return .json(["error": ["message": message, "type": type, "code": type]])
    }

    // MARK: WebSockets

    /// What arrives in place of `actions`, the answer to an upgrade or to a message.
    ///
    /// - Parameter sent: Messages that the vendor sent on this connection before; raised by those that are left.
    func actions(
        _ actions: [VendorSocketAction], url: String, isUpgrade: Bool, sent: inout Int
    ) -> [VendorSocketAction] {
        func ended(_ atMs: Int, _ failure: VendorFailure?, code: Int = 0) -> VendorSocketAction {
            VendorSocketAction(afterMs: atMs, kind: .closed(code: code, reason: "", failure))
        }
        if isUpgrade {
            switch self {
            case .refused: return [ended(2, .refused(url))]
            case .dnsFailure: return [ended(5, .unresolved(url))]
            case .tlsFailure: return [ended(15, .untrusted(url))]
            case .resetBeforeFirstByte: return [ended(20, .refused(url))]
            case .stall: return []
            case .status(let status, _): return [ended(20, .notUpgraded(url, status: status))]
            default: break
            }
        }
        var out: [VendorSocketAction] = []
        for var action in actions {
            switch (action.kind, self) {
            case (_, .slowFirstByte(let ms)) where isUpgrade: action.afterMs += ms
            case (.opened(let subprotocol, _, let pings), .slowReader(let rate)):
                action.kind = .opened(subprotocol: subprotocol, readsBytesPerS: rate, answersPings: pings)
            case (.opened(let subprotocol, _, _), .silentPeer):
                action.kind = .opened(subprotocol: subprotocol, readsBytesPerS: nil, answersPings: false)
            case (.message, .silentPeer), (.closed, .silentPeer): continue
            case (.message(_, let isBinary), .hugeMessage):
                action.kind = .message([UInt8](repeating: 0x20, count: (1 << 20) + 1), isBinary: isBinary)
            case (.message, .fragmented): action.afterMs += 10
            case (.message(let bytes, false), .truncatedJSON):
                action.kind = .message(Array(bytes.prefix(bytes.count / 2)), isBinary: false)
            case (.message(_, false), .notJSON):
                action.kind = .message(Array("<html></html>".utf8), isBinary: false)
            case (.message(_, false), .invalidUTF8):
                // RFC 6455, 8.1: such a text fails the connection, and the plugin hears of the end alone.
                return out + [ended(action.afterMs, .brokenSocket(url), code: 1007)]
            default: break
            }
            var limit = Int.max
            if case .closeCode(_, let count) = self { limit = count }
            if case .abruptEnd(let count) = self { limit = count }
            if case .resetInTheMiddle = self { limit = 1 }
            if case .halfClose = self { limit = 1 }
            if case .message = action.kind {
                guard sent < limit else { return out + [end(at: action.afterMs, url)] }
                sent += 1
            }
            out.append(action)
            if sent >= limit, case .closed = action.kind {} else if sent >= limit {
                return out + [end(at: action.afterMs + 5, url)]
            }
        }
        return out
    }

    private func end(at ms: Int, _ url: String) -> VendorSocketAction {
        if case .closeCode(let code, _) = self {
            return VendorSocketAction(afterMs: ms, kind: .closed(code: code, reason: "conformance", nil))
        }
        return VendorSocketAction(afterMs: ms, kind: .closed(code: 0, reason: "", .brokenSocket(url)))
    }
}

extension VendorEvent {
    fileprivate var size: Int { (data?.utf8.count ?? 0) + 8 }
}

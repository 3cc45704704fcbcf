// A recursive-descent parser over bytes. One pass, no look-ahead beyond a byte, strings copied once.

/// RFC 8259, strictly: no comments, no trailing commas, no text after the document.
struct JSONParser {
    /// Deeper than any document that we read; a hostile one shall not exhaust the stack.
    static let depthMax = 64

    static func parse(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONSyntaxError) -> JSONValue {
        var parser = JSONParser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.index == bytes.count else { throw parser.error("text after the end of the document") }
        return value
    }

    private let bytes: UnsafeBufferPointer<UInt8>
    private var index = 0

    private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    private var current: UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func value(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        guard depth < Self.depthMax else { throw error("more than \(Self.depthMax) levels") }
        skipSpace()
        switch current {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case let byte? where byte == UInt8(ascii: "-") || (0x30...0x39).contains(byte): return try number()
        case nil: throw error("the document ends where a value is expected")
        default: throw error("expected a value")
        }
    }

    private mutating func object(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        index += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard current == UInt8(ascii: "\"") else { throw error("expected a member's name in quotes") }
            let start = index
            let name = try string()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw error("expected ':' after \"\(name)\"") }
            let member = try value(depth: depth + 1)
            // The RFC leaves it open which of two members counts; in a manifest that is an error to be told.
            guard members.updateValue(member, forKey: name) == nil else {
                index = start
                throw error("\"\(name)\" stands here a second time")
            }
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw error("expected ',' or '}' after the value of \"\(name)\"") }
        }
    }

    private mutating func array(depth: Int) throws(JSONSyntaxError) -> JSONValue {
        index += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw error("expected ',' or ']' in an array") }
        }
    }

    private mutating func string() throws(JSONSyntaxError) -> String {
        index += 1
        var start = index
        var text: [UInt8]? = nil  // nil while the string has no escapes and can be taken as it stands
        while let byte = current {
            switch byte {
            case UInt8(ascii: "\""):
                let rest = UnsafeBufferPointer(rebasing: bytes[start..<index])
                let whole = text.map { $0 + rest } ?? Array(rest)
                guard let valid = String(validating: whole, as: UTF8.self) else {
                    throw error("a string that is not UTF-8")
                }
                index += 1
                return valid
            case UInt8(ascii: "\\"):
                text = (text ?? []) + bytes[start..<index]
                index += 1
                let scalar = try escape()
                text?.append(contentsOf: String(Character(scalar)).utf8)
                start = index
            case 0..<0x20:
                throw error("a control character in a string; write it as an escape")
            default:
                index += 1
            }
        }
        throw error("the document ends within a string")
    }

    private mutating func escape() throws(JSONSyntaxError) -> Unicode.Scalar {
        guard let byte = current else { throw error("the document ends within a string") }
        index += 1
        switch byte {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let unit = try hexadecimal()
            guard (0xd800..<0xe000).contains(unit) else { return Unicode.Scalar(unit) ?? "\u{fffd}" }
            // A surrogate pair (section 7); a lone half becomes the replacement character, as other parsers have it.
            guard unit < 0xdc00, current == UInt8(ascii: "\\"), index + 1 < bytes.count,
                bytes[index + 1] == UInt8(ascii: "u")
            else { return "\u{fffd}" }
            let rewind = index
            index += 2
            let low = try hexadecimal()
            guard (0xdc00..<0xe000).contains(low) else {
                index = rewind
                return "\u{fffd}"
            }
            return Unicode.Scalar(0x10000 + (unit - 0xd800) << 10 + (low - 0xdc00)) ?? "\u{fffd}"
        default: throw error("an escape that JSON does not have")
        }
    }

    private mutating func hexadecimal() throws(JSONSyntaxError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = current, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("expected four hexadecimal digits")
            }
            unit = unit << 4 | UInt32(digit)
            index += 1
        }
        return unit
    }

    private mutating func number() throws(JSONSyntaxError) -> JSONValue {
        let start = index
        var isInteger = true
        _ = take(UInt8(ascii: "-"))
        let leading = current
        try digits()
        if leading == UInt8(ascii: "0"), bytes[index - 1] != UInt8(ascii: "0") || index - start > 2 {
            throw error("a number with a leading zero")
        }
        if take(UInt8(ascii: ".")) {
            isInteger = false
            try digits()
        }
        if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
            isInteger = false
            index += 1
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try digits()
        }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if isInteger, let integer = Int64(text) { return .integer(integer) }
        guard let number = Double(text), number.isFinite else { throw error("a number that is too large") }
        return .number(number)
    }

    private mutating func digits() throws(JSONSyntaxError) {
        let start = index
        while let byte = current, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
        guard index > start else { throw error("expected a digit") }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONSyntaxError) -> JSONValue {
        for offset in 0..<word.utf8CodeUnitCount {
            guard current == word.utf8Start[offset] else { throw error("expected \(word)") }
            index += 1
        }
        return value
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard current == byte else { return false }
        index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = current, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
    }

    private func error(_ reason: String) -> JSONSyntaxError {
        let before = bytes[..<min(index, bytes.count)]
        let line = 1 + before.count { $0 == 0x0a }
        let column = 1 + index - (before.lastIndex(of: 0x0a).map { $0 + 1 } ?? 0)
        return JSONSyntaxError(reason: reason, line: line, column: column)
    }
}

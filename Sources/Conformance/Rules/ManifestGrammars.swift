// PKG: the grammars of what a manifest says in words.
//
// Each is the grammar of its standard and no list of what is in use today: a language, a licence or a scheme that was
// registered yesterday is as good as an old one.

/// Semantic Versioning 2.0.0: three numbers without leading zeros, then "-PRERELEASE" and "+BUILD".
func isSemanticVersion(_ text: String) -> Bool {
    let build = text.split(separator: "+", maxSplits: 1, omittingEmptySubsequences: false)
    let release = build[0].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    let numbers = release[0].split(separator: ".", omittingEmptySubsequences: false)
    func isNumber(_ part: Substring) -> Bool {
        !part.isEmpty && part.utf8.allSatisfy(isDigit) && (part == "0" || !part.hasPrefix("0"))
    }
    func areIdentifiers(_ text: Substring) -> Bool {
        text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part.utf8.allSatisfy { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
        }
    }
    return numbers.count == 3 && numbers.allSatisfy(isNumber)
        && release.dropFirst().allSatisfy(areIdentifiers) && build.dropFirst().allSatisfy(areIdentifiers)
}

/// "scheme://host", with a port or a path if they must be; a wildcard only in front of two labels or more.
func isOrigin(_ text: String) -> Bool {
    if text == "udp" || text == "tcp" { return true }
    guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { return false }
    let scheme = text[..<colon]
    guard let first = scheme.utf8.first, isLetter(first),
        scheme.utf8.allSatisfy({ isLetter($0) || isDigit($0) || [0x2b, 0x2d, 0x2e].contains($0) })
    else { return false }
    let rest = text[colon...].dropFirst(3)
    var host = rest.prefix { $0 != "/" }
    if host.hasPrefix("[") { return host.contains("]") }
    host = host.prefix { $0 != ":" }
    if host.hasPrefix("*.") {
        host = host.dropFirst(2)
        guard host.contains(".") else { return false }
    }
    return !host.isEmpty
        && host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty
                && label.utf8.allSatisfy { isLetter($0) || isDigit($0) || [0x2d, 0x5f].contains($0) || $0 >= 0x80 }
        }
}

/// A language of two or three letters, and subtags of up to eight letters and digits (RFC 5646, 2.1).
func isLanguageTag(_ text: String) -> Bool {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    guard let language = parts.first, (2...3).contains(language.utf8.count), language.utf8.allSatisfy(isLetter)
    else { return false }
    return parts.dropFirst().allSatisfy { part in
        (1...8).contains(part.utf8.count) && part.utf8.allSatisfy { isLetter($0) || isDigit($0) }
    }
}

/// The grammar of SPDX 2.3, annex D; whether an identifier is on the list of licences is not asked, since it grows.
func isLicenseExpression(_ text: String) -> Bool {
    var words = text.split(separator: " ").flatMap { word -> [Substring] in
        let open = word.prefix { $0 == "(" }
        let inner = word.dropFirst(open.count)
        let close = inner.reversed().prefix { $0 == ")" }.count
        return open.map { Substring(String($0)) } + [inner.dropLast(close)]
            + Array(repeating: Substring(")"), count: close)
    }.filter { !$0.isEmpty }[...]
    return takeLicense(&words) && words.isEmpty
}

private func takeLicense(_ words: inout ArraySlice<Substring>) -> Bool {
    if words.first == "(" {
        words.removeFirst()
        guard takeLicense(&words), words.popFirst() == ")" else { return false }
    } else {
        guard let name = words.popFirst(), isLicenseName(name) else { return false }
        if words.first == "WITH" {
            words.removeFirst()
            guard let exception = words.popFirst(), isLicenseName(exception) else { return false }
        }
    }
    guard words.first == "AND" || words.first == "OR" else { return true }
    words.removeFirst()
    return takeLicense(&words)
}

private func isLicenseName(_ text: Substring) -> Bool {
    !text.isEmpty && !["AND", "OR", "WITH"].contains(text)
        && text.utf8.allSatisfy {
            isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "+")
                || $0 == UInt8(ascii: ":")
        }
}

func isLetter(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
}
func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

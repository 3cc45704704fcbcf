// How long a server wants to be left alone.
//
// Three headers are in use: `retry-after-ms` of OpenAI, `Retry-After` in seconds, and the same with a date (RFC 9110,
// section 10.2.3). `x-should-retry` of OpenAI overrules what one would think of the status.

public import PluginKit

public enum RetryAfter {
    /// A wish beyond an hour is an outage; it is passed on as an hour.
    private static let msMax = 3_600_000

    /// The wait that an answer asks for; 0 where it asks for none.
    ///
    /// - Parameter nowMs: milliseconds since 1970, against which a date is held.
    public static func ms(_ response: HTTPResponse, nowMs: UInt64) -> Int {
        if let ms = response["retry-after-ms"].flatMap(Double.init), ms > 0 { return bounded(ms) }
        guard let text = response["retry-after"] else { return 0 }
        if let seconds = Double(text) { return bounded(seconds * 1000) }
        guard let date = secondsSince1970(text) else { return 0 }
        return bounded(Double(date) * 1000 - Double(nowMs))
    }

    /// What the server says of another attempt, or nil.
    public static func advice(_ response: HTTPResponse) -> Bool? {
        switch response["x-should-retry"] {
        case "true": true
        case "false": false
        default: nil
        }
    }

    private static func bounded(_ ms: Double) -> Int { ms > 0 ? Int(min(ms, Double(msMax)).rounded(.up)) : 0 }

    /// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7), the only form that may still be sent.
    static func secondsSince1970(_ text: String) -> Int? {
        let parts = text.split { $0 == " " || $0 == ":" }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard parts.count == 8, parts[7] == "GMT", let month = months.firstIndex(of: String(parts[2])),
            let day = Int(parts[1]), let year = Int(parts[3]), (1970...9999).contains(year), (1...31).contains(day),
            let hour = Int(parts[4]), let minute = Int(parts[5]), let second = Int(parts[6]), (0...23).contains(hour),
            (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        // Days by the civil calendar, counted from March so that a leap day is a year's last.
        let (years, shifted) = month < 2 ? (year - 1, month + 10) : (year, month - 2)
        let days = 365 * years + years / 4 - years / 100 + years / 400 + (153 * shifted + 2) / 5 + day - 719_469
        return ((days * 24 + hour) * 60 + minute) * 60 + second
    }
}

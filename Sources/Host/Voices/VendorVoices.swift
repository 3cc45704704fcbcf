// Asks vendors for their voices, page by page, for the command that lists them.
//
// Nothing of it is needed to answer a call, so it is done when somebody wants to see it and not at the start; and a
// vendor that does not answer costs a few seconds and a line, since the manifest has a list of its own.

import Dispatch
import HostServices
import JSON
import Providers
import Synchronization

enum VendorVoices {
    /// One page; a list is a question that vendors answer at once.
    private static let pageMs = 4_000
    /// All pages together.
    private static let wholeMs: UInt64 = 10_000
    /// Two thousand voices in pages of ten.
    private static let pagesMax = 200
    /// A hundred voices with long descriptions, or the model cards of a Piper server.
    private static let pageBytesMax = 8 << 20

    struct Answer {
        var voices: [ListedVoice] = []
        /// Why there are no more; empty when these are all.
        var problem = ""
    }

    /// Nil when the manifest does not say how the vendor is asked.
    static func ask(_ section: ProviderSection) -> Answer? {
        guard let description = section.declaration.capabilities.all["x-voices-at"] else { return nil }
        var answer = Answer()
        do throws(VendorVoiceList.Problem) {
            let list = try VendorVoiceList(description, settings: section.configuration)
            let requests = HostRequests(name: section.name, secrets: section.plugin.manifest.secrets)
            let begun = DispatchTime.now().uptimeNanoseconds
            var next: String?
            for _ in 0..<pagesMax {
                let elapsedMs = (DispatchTime.now().uptimeNanoseconds - begun) / 1_000_000
                guard elapsedMs < wholeMs else { throw .init(message: "not all of it came within \(wholeMs) ms") }
                let page = try list.read(get(list.url(after: next), list.headers, requests))
                let known = Set(answer.voices.map(\.id))
                let new = page.voices.filter { !known.contains($0.id) }
                answer.voices += new.prefix(ListedVoice.listMax - answer.voices.count)
                // A page that has nothing new would be asked for again and again.
                guard let following = page.next, !new.isEmpty, answer.voices.count < ListedVoice.listMax else {
                    return answer
                }
                next = following
            }
            throw .init(message: "its list has more than \(pagesMax) pages")
        } catch {
            answer.problem = error.message
        }
        return answer
    }

    private static func get(
        _ url: String, _ headers: [String: String], _ requests: HostRequests
    ) throws(VendorVoiceList.Problem) -> [UInt8] {
        let outcome = Outcome()
        let answered = DispatchSemaphore(value: 0)
        requests.send(
            HostRequests.Request("GET", url, headers: headers, deadlineMs: pageMs, answerBytesMax: pageBytesMax)
        ) { result in
            outcome.result.withLock { $0 = result }
            answered.signal()
        }
        // It has a deadline of its own, and answers once in any case.
        answered.wait()
        switch outcome.result.withLock({ $0 }) {
        case .success(let answer) where answer.status == 200: return answer.body
        case .success(let answer) where answer.status == 404:
            throw .init(message: "it has no list of voices (HTTP 404)")
        case .success(let answer): throw .init(message: "its list was refused with HTTP \(answer.status)")
        case .failure(.refused(let reason)), .failure(.timeout(let reason)), .failure(.unreachable(let reason)):
            throw .init(message: "its list cannot be had: \(reason)")
        case .failure(.tooLarge): throw .init(message: "its list has more than \(pageBytesMax) bytes")
        case .failure(.busy), nil: throw .init(message: "its list cannot be had now")
        }
    }

    /// Written on a thread of the services, read on ours.
    private final class Outcome: Sendable {
        let result = Mutex<Result<HostRequests.Answer, HostRequests.Failure>?>(nil)
    }
}

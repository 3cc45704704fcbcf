// Runs models one after the other and asks each the same. One after the other, because two that share a machine, or an
// account's limit, would measure each other.
//
// The providers are made exactly as the host makes them: by the configuration's review, through the loader, with the
// host's services, in a worker where the section says so. What is measured is what a call would get.

import Calls
import Control
import Glibc
import HostServices
import JSON
import Providers

/// A model to be asked: a section of the configuration, perhaps with another model in it.
struct BenchCandidate {
    let section: ProviderSection

    /// - Parameter model: nil: the section as it is.
    init(_ section: ProviderSection, model: String?) throws(UsageError) {
        guard let model else {
            self.section = section
            return
        }
        guard section.declaration.configuration.properties["model"] != nil else {
            throw UsageError(message: "\(section.plugin.id) of [\(section.name)] has no setting `model` to be changed")
        }
        var settings = section.configuration.object ?? [:]
        settings["model"] = .string(model)
        self.section = ProviderSection(
            name: section.name, kind: section.kind, plugin: section.plugin, declaration: section.declaration,
            configuration: .object(settings), isolation: section.isolation)
        name = "\(section.name) \(model)"
    }

    private(set) var name = ""
    var title: String { name.isEmpty ? section.name : name }
    var model: String { section.configuration["model"]?.string ?? "" }
}

struct ModelBench {
    /// A model that is being loaded, or pulled, may take so long until it answers at all.
    var warmUpMs = 120_000
    /// Between two questions to one that does not answer yet.
    private static let againMs: UInt32 = 500
    var answerMs = 60_000

    let prompts: BenchPrompts
    let runs: Int
    let language: String
    let tools: JSONValue
    let options: JSONValue
    let log: any ProviderLog

    /// `progress` hears of each model that begins.
    func run(_ candidates: [BenchCandidate], progress: (BenchCandidate) -> Void) -> [ModelResult] {
        candidates.map { candidate in
            progress(candidate)
            return run(candidate)
        }
    }

    private func run(_ candidate: BenchCandidate) -> ModelResult {
        var result = ModelResult(
            name: candidate.title, plugin: candidate.section.plugin.id, model: candidate.model)
        do throws(ProviderFailure) {
            try ProviderInstance.run(candidate.section, log: log) { instance throws(ProviderFailure) in
                let trial = try LanguageModelTrial(instance, language: language)
                defer { trial.close() }
                if warmUp(trial, &result) { measure(trial, &result) }
            }
        } catch {
            result.fail(error.message)
        }
        return result
    }

    /// The first question is not counted: connections are made, a model may be loaded.
    private func warmUp(_ trial: LanguageModelTrial, _ result: inout ModelResult) -> Bool {
        let begun = Self.nowMs()
        while true {
            let answer = ask(trial, prompts.conversations[0])
            guard case .failed(let failure) = answer.end else {
                result.warmUpMs = Self.nowMs() - begun
                return true
            }
            // A server that is being started refuses connections first, and then answers 503.
            guard failure.retryable, Self.nowMs() - begun < Double(warmUpMs) else {
                result.fail(failure.message)
                return false
            }
            usleep(Self.againMs * 1_000)
        }
    }

    private func measure(_ trial: LanguageModelTrial, _ result: inout ModelResult) {
        for run in 0..<runs {
            for index in prompts.conversations.indices {
                result.add(ask(trial, prompts.conversation(index, run: run)))
            }
        }
    }

    private func ask(_ trial: LanguageModelTrial, _ conversation: JSONValue) -> TimedAnswer {
        trial.ask(messages: conversation, tools: tools, options: options, timeoutMs: answerMs)
    }

    private static func nowMs() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1_000 + Double(time.tv_nsec) / 1_000_000
    }
}

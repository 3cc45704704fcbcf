// `vchost models bench`: which of these language models answers soon enough for a telephone.

import Control
import HostServices
import JSON
import Providers

enum ModelsCommand: Command {
    static let name = "models"
    static let summary = "measure language models: time to the first token, tokens a second"

    private static let options = [
        Option("--model", "NAME", "ask this model in place of the section's own; may be given several times"),
        Option("--prompts", "FILE.json", "what to ask: a JSON array of texts, or of arrays of messages"),
        Option("--runs", "N", "how often each prompt is asked; 3"),
        Option("--max-tokens", "N", "longest answer, the same for all; 100"),
        Option("--target-ms", "MS", "by when the first token must be there; 400"),
        Option("--language", "TAG", "of the built-in prompts: en or tr; en"),
        Option("--tools", "tell the models of the functions that they are told of in calls"),
        Option("--warm-up", "SECONDS", "how long a model may take to be loaded before it answers at all; 120"),
        Option("--config", "FILE", "the configuration; vchost.ini when it is not given and exists"),
        Option("--plugins", "DIRECTORY", "where the plugins are; plugins.d, or those installed"),
        Option("--json", "for programs"),
    ]

    static let help = """
        usage: vchost models bench [llm.NAME ...] [--config FILE] [--prompts FILE.json] [--json]
               vchost models bench llm.NAME --model MODEL --model MODEL [...]

        Asks the [llm.NAME] sections of the configuration, all of them or those that are named, the same questions, one
        after the other, through the host's own loader and services. The quickest comes first; the last column says
        whose median first token is there within 400 ms. A first question to each is not counted.

        \(Arguments.help(options))

        Exit status: 0 every model answered, 1 one of them did not, 2 usage.
        """

    static func run(_ words: [String]) throws -> Int32 {
        let arguments = try Arguments(words, options: options)
        guard arguments.positional.first == "bench" else { throw UsageError(message: "say `models bench`") }
        let language = arguments["--language"] ?? "en"
        let prompts = try arguments["--prompts"].map { try BenchPrompts(contentsOf: $0, language: language) }
            ?? BenchPrompts(language: language)
        let targetMs = try number(arguments, "--target-ms", 400, in: 1...60_000)
        let runs = try number(arguments, "--runs", 3, in: 1...1_000)
        let tokensMax = try number(arguments, "--max-tokens", 100, in: 1...100_000)
        let warmUpS = try number(arguments, "--warm-up", 120, in: 0...3_600)

        defer { HostServices.stop() }
        let providers = try ConfiguredProviders(kind: "llm", of: arguments)
        let candidates = try candidates(arguments, providers)
        providers.lendSecrets(of: candidates.map(\.section))

        var bench = ModelBench(
            prompts: prompts, runs: runs, language: language,
            tools: arguments.has("--tools") ? .array(BuiltInTools.all) : [],
            options: ["max_tokens": .integer(Int64(tokensMax))], log: providers.log)
        bench.warmUpMs = warmUpS * 1_000
        let results = bench.run(candidates) { StandardError.write("asking \($0.title) ...\n") }
        let table = ModelTable(results, targetMs: targetMs, prompts: prompts.conversations.count, runs: runs)
        print(arguments.has("--json") ? table.json.text + "\n" : table.text, terminator: "")
        return results.allSatisfy { $0.answers > 0 && $0.failures.isEmpty } ? 0 : 1
    }

    private static func number(
        _ arguments: Arguments, _ name: String, _ usual: Int, in range: ClosedRange<Int>
    ) throws(UsageError) -> Int {
        guard let text = arguments[name] else { return usual }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError(message: "\(name) wants a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Sections by their names, in the order given; each once for every `--model`.
    private static func candidates(
        _ arguments: Arguments, _ providers: ConfiguredProviders
    ) throws -> [BenchCandidate] {
        let names = try providers.names(arguments.positional.dropFirst())
        let models: [String?] = arguments.given.filter { $0.name == "--model" }.map(\.value)
        guard models.isEmpty || names.count == 1 else {
            throw UsageError(message: "with --model name one section: \(providers.known.joined(separator: ", "))")
        }
        return try names.flatMap { name -> [BenchCandidate] in
            let section = try providers.section(name)
            return try (models.isEmpty ? [nil] : models).map { try BenchCandidate(section, model: $0) }
        }
    }
}

// Commands that vchost and its scripts give to vchost; a person needs none of them, and they are in no help text.

import Calls
import Conformance
import HostServices
import Providers

enum InnerCommands {
    /// Nil when `name` is none of them.
    static func run(_ name: String, _ words: some Sequence<String>) -> Int32? {
        switch (name, Array(words).first) {
        case ("__worker", .some):
            // Runs one provider of a plugin for a host, in a process of its own.
            WorkerChild.run(Array(words), services: ChildSideServices())
        case ("__probe", let path?):
            // Opens a foreign library in a process that may die of it.
            PluginProbe.child(path: path)
        case ("__conform", nil):
            // Serves one rule of `vchost conform` in a process that may die of it.
            ConformProbe.main()
        case ("__clips", let language?):
            // The sentences to render beforehand, NAME<tab>TEXT.
            let texts = Language.named(language).clipTexts
            for clip in Clip.allCases { print("\(clip.rawValue)\t\(texts[clip] ?? "")") }
            return 0
        default: return nil
        }
    }
}

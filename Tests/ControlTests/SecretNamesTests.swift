import Testing

@testable import Control

@Suite("Secrets are named in settings and looked up elsewhere")
struct SecretNamesTests {
    @Test("Each name between ${secret: and } is found, and a stray brace is none")
    func names() {
        #expect(ConfigurationReview.secretNames(in: "Bearer ${secret:A_KEY}") == ["A_KEY"])
        #expect(ConfigurationReview.secretNames(in: "${secret:A},${secret:B}") == ["A", "B"])
        #expect(ConfigurationReview.secretNames(in: "${secret:A").isEmpty)
        #expect(ConfigurationReview.secretNames(in: "plain {text}").isEmpty)
    }

    @Test("A secret comes from [secrets], else from the variable of its name")
    func reference() {
        let file = INIFile(parsing: "[secrets]\nGROQ_API_KEY = file:/run/groq", path: "x.ini")
        let configuration = Configuration(file: file)
        #expect(configuration.problems.isEmpty)
        #expect(configuration.secretReference("GROQ_API_KEY") == "file:/run/groq")
        #expect(configuration.secretReference("OPENAI_API_KEY") == "env:OPENAI_API_KEY")
    }
}

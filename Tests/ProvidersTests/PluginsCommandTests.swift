import Glibc
import JSON
import Testing

@testable import Providers

@Suite("vchost plugins") struct PluginsCommandTests {
    let workshop = Workshop()

    private func run(_ arguments: String...) -> (code: Int32, output: String, errors: String) {
        var output = ""
        var errors = ""
        let command = PluginsCommand(directory: workshop.plugins, cacheDirectory: workshop.cache, probe: .forTests)
        let code = command.run(arguments, output: { output += $0 }, errors: { errors += $0 })
        return (code, output, errors)
    }

    private func good(_ name: String, _ id: String) throws {
        let config: JSONValue = [
            "type": "object", "properties": ["speed": ["type": "number", "default": 1, "description": "How fast."]],
        ]
        try workshop.build(
            name, Sources.least(id: id, kind: "vc.tts/1"),
            manifest: Workshop.manifest(id: id, kind: "vc.tts/1", config: config))
    }

    @Test("list shows each file in its row, and says below why one is not loaded; the exit code tells")
    func list() throws {
        try good("a.so", "org.test.a")
        #expect(run("list").code == 0)
        workshop.write("x", to: workshop.plugins + "/b.so")
        let (code, output, _) = run("list")
        let lines = output.split(separator: "\n", omittingEmptySubsequences: false)
        #expect(code == 1)
        #expect(lines[0].hasPrefix("FILE  STATE    KIND      ID          VERSION  ABI  ORIGIN   LEVEL  SHA256"))
        #expect(lines[1].hasPrefix("a.so  loaded   vc.tts/1  org.test.a  1.0.0    1.0  foreign  -      "))
        #expect(lines[2].hasPrefix("b.so  refused  -         -           -        -    foreign  -      "))
        #expect(
            lines[4]
                == "b.so is not a shared library (no ELF header). Remove it, or rename it so that it does not end in .so."
        )
    }

    @Test("list --json has the same for programs")
    func listJSON() throws {
        try good("a.so", "org.test.a")
        workshop.write("x", to: workshop.plugins + "/b.so")
        let (code, output, _) = run("list", "--json")
        let plugins = try #require(try JSONValue(parsing: output)["plugins"]?.array)
        #expect(code == 1)
        #expect(plugins.map { $0["state"]?.string } == ["loaded", "refused"])
        #expect(plugins[0]["kinds"] == ["vc.tts/1"] && plugins[0]["sha256"]?.string?.utf8.count == 64)
        #expect(plugins[1]["code"] == "notELF" && plugins[1]["mend"]?.string?.isEmpty == false)
    }

    @Test("info shows the settings of a plugin, whatever name it is called by")
    func info() throws {
        try good("a.so", "org.test.a")
        for name in ["a.so", "a", "org.test.a"] {
            let (code, output, _) = run("info", name)
            #expect(code == 0)
            #expect(output.contains("setting  speed  a number  default 1  How fast."))
        }
        #expect(try JSONValue(parsing: run("info", "a", "--json").output)["providers"]?.array?.count == 1)
        #expect(run("info", "nothing").code == 1)
    }

    @Test("pack refuses a manifest or a library that is wrong, and then writes nothing")
    func pack() throws {
        let path = try workshop.build("a.so", Sources.least(id: "org.test.a", kind: "vc.tts/1"), manifest: nil)
        let before = readWholeFile(path)
        workshop.write("{}", to: workshop.root + "/m.json")
        #expect(
            run("pack", path, workshop.root + "/m.json").errors.contains(
                "m.json: manifest: is missing; expected an integer"))
        #expect(readWholeFile(path) == before)
        workshop.write(Workshop.manifest(id: "org.test.a", kind: "vc.tts/1").text, to: workshop.root + "/m.json")
        #expect(run("pack", workshop.root + "/m.json", workshop.root + "/m.json").code == 1)
        #expect(run("pack", path, workshop.root + "/m.json", "-o", workshop.plugins + "/b.so").code == 0)
        #expect(readWholeFile(path) == before)
        #expect(run("info", "b").code == 0)
    }

    @Test("A wrong command line is told, with the help, and exit code 2")
    func usage() {
        for arguments in [[], ["lost"], ["info"], ["list", "--colour"], ["pack", "a"], ["list", "--plugins"]] {
            var errors = ""
            let command = PluginsCommand(directory: workshop.plugins, cacheDirectory: workshop.cache, probe: .forTests)
            #expect(command.run(arguments, output: { _ in }, errors: { errors += $0 }) == 2)
            #expect(errors.hasPrefix("vchost plugins: ") && errors.contains("usage: vchost plugins list"))
        }
        #expect(run("--help").code == 0)
    }
}

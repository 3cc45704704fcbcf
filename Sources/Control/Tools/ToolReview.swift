// Tools of a configuration, judged before anybody calls: what keeps one from working is an error with its line.

extension ConfigurationReview {
    /// Tools that are the host's own.
    public static let builtInTools = ["end_call", "transfer_call", "send_dtmf"]

    /// Problems of the [tool.NAME] sections. `missing` says why a secret cannot be had.
    static func problems(
        ofTools configuration: Configuration, missing: (_ secret: String) -> String?
    ) -> [SettingProblem] {
        var problems: [SettingProblem] = []
        for section in configuration.sections(of: "tool") {
            func complain(_ key: String, _ message: String) {
                problems.append(
                    SettingProblem(
                        .error, section.settings[key]?.source ?? section.source, "[\(section.name)] \(message)"))
            }
            let name = section.name.dropFirst("tool.".count)
            let isPlain = name.utf8.allSatisfy { byte in
                (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                    || byte == 0x5f || byte == 0x2d
            }
            if !isPlain || name.utf8.count > ToolDeclaration.nameBytesMax {
                complain("", "vendors take names of up to 64 letters, digits, _ and - only")
            }
            if builtInTools.contains(String(name)) { complain("", "\(name) is a tool of the host itself") }
            if configuration.text(section.name, "description").isEmpty {
                complain("description", "description is needed: it is all that the model knows of the tool")
            }
            if let objection = ToolDeclaration.objection(toURL: configuration.text(section.name, "url")) {
                complain("url", objection)
            }
            for case .wrong(let reason) in ToolDeclaration.headers(configuration.text(section.name, "headers")) {
                complain("headers", reason)
            }
            for secret in secretNames(in: configuration.text(section.name, "headers")) {
                guard let reason = missing(secret) else { continue }
                problems.append(
                    SettingProblem(
                        .warning, section.settings["headers"]?.source ?? section.source,
                        "[\(section.name)] headers: the secret \(secret): \(reason); its calls fail until it is there"))
            }
        }
        return problems
    }

    /// Names of a profile's `tools` that there are not.
    static func problems(ofToolsIn profile: String, _ configuration: Configuration) -> [SettingProblem] {
        let setting = configuration.setting(profile, "tools")
        let known = builtInTools + configuration.sections(of: "tool").map(\.name)
        return configuration.list(profile, "tools").filter { !known.contains($0) }.map { name in
            let hint = Spelling.nearest(to: name, among: known).map { "did you mean \($0)?" }
            return SettingProblem(
                .error, setting.source,
                "[\(profile)] tools: there is no \(name); \(hint ?? "there are \(known.joined(separator: ", "))")")
        }
    }
}

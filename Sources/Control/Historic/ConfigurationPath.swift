// Which file the configuration is, when several names for it may be around.
//
// Containers of the older systems name theirs in a variable, and vchost takes their place with the same variables set.

public enum ConfigurationPath {
    /// The file of the command line, else that of a variable of the older systems, else `vchost.ini`, else the places
    /// where their programs looked without a word. Nil: there is none.
    public static func find(
        given: String?, environment: [String: String], isReadable: (String) -> Bool
    ) -> String? {
        if let given { return given }
        if let named = environment["OAVC_CONFIG_FILE"], !named.isEmpty {
            // One of those programs went on with its environment where the file was missing.
            return isReadable(named) || HistoricDialect.of(environment: environment) == nil ? named : nil
        }
        if let named = environment["CONFIG_FILE"], !named.isEmpty { return named }
        return ["vchost.ini", "cfg/opensips-ai-voice-connector.ini", "config/app.ini"].first(where: isReadable)
    }
}

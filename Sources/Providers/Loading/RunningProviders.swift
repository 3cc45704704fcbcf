// Which provider a name means now. Calls ask when they open a session, reloads answer: the two never wait for each
// other longer than it takes to look into a dictionary.

import Synchronization

public final class RunningProviders: Sendable {
    private let byName: Mutex<[String: ProviderInstance]>

    public init(_ instances: [String: ProviderInstance] = [:]) { byName = Mutex(instances) }

    /// The newest generation under a name; nil when there is none.
    public subscript(name: String) -> ProviderInstance? { byName.withLock { $0[name] } }

    public var all: [ProviderInstance] { byName.withLock { Array($0.values) } }

    /// Names that nothing runs under, of `names`.
    public func missing(of names: [String]) -> [String] {
        byName.withLock { byName in names.filter { byName[$0] == nil } }
    }

    /// New calls get these.
    public func publish(_ instances: [ProviderInstance]) {
        byName.withLock { byName in
            for instance in instances { byName[instance.name] = instance }
        }
    }

    /// New calls do not get these any more; a name that has a newer generation keeps it.
    public func withdraw(_ instances: [ProviderInstance]) {
        byName.withLock { byName in
            for instance in instances where byName[instance.name] === instance { byName[instance.name] = nil }
        }
    }
}

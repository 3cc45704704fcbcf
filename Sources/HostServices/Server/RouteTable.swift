// Which provider serves which path. A path that ends with "/" stands for everything below it, and the longest one that
// fits a request wins; so a provider can own a folder, and another one a path within it.

import PluginABI
import Providers

/// A path that a provider serves.
struct Route: @unchecked Sendable {
    let path: String
    let owner: PluginObject
    let handle: vc_server_request_fn
    let context: UnsafeMutableRawPointer?

    var isPrefix: Bool { path.hasSuffix("/") }
}

struct RouteTable: Sendable {
    enum Refusal: Equatable { case taken(by: String), full }

    private var routes: [String: Route] = [:]
    /// The paths that end with "/", the longest first.
    private var prefixes: [String] = []

    var count: Int { routes.count }

    mutating func add(_ route: Route, perOwnerMax: Int) -> Refusal? {
        if let known = routes[route.path] { return .taken(by: known.owner.name) }
        guard routes.values.count(where: { $0.owner === route.owner }) < perOwnerMax else { return .full }
        routes[route.path] = route
        sortPrefixes()
        return nil
    }

    mutating func removeAll(of owner: PluginObject) {
        routes = routes.filter { $0.value.owner !== owner }
        sortPrefixes()
    }

    func route(for path: String) -> Route? {
        routes[path] ?? prefixes.first { path.hasPrefix($0) }.flatMap { routes[$0] }
    }

    private mutating func sortPrefixes() {
        prefixes = routes.values.filter(\.isPrefix).map(\.path).sorted { $0.utf8.count > $1.utf8.count }
    }
}

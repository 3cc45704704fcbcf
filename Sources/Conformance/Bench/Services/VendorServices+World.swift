// The services in the bench: its clock, its objects, its channel.

import JSON
import PluginABI

extension VendorServices {
    /// Offers "vc.http/1", "vc.ws/1" and "vc.server/1" to the plugin of this probe.
    @discardableResult
    static func attach(to world: World, line: any PeerLine = RunnerLine()) -> VendorServices {
        let services = VendorServices(clock: WorldClock(world), line: line, owners: WorldOwners(world: world))
        current = services
        for id in [VC_SERVICE_HTTP, VC_SERVICE_WS, VC_SERVICE_SERVER] {
            if let table = table(id) { BenchServices.offer(id, table) }
        }
        world.whenEnded.append { services.ownerEnded($0) }
        world.whenEpochRaised.append { services.epochRaised($0, to: $1) }
        return services
    }
}

/// The channel that the runner gave to the probe. One question at a time: it is asked under the services' lock, or by
/// the thread of the rule.
struct RunnerLine: PeerLine {
    private static let monitor = BenchMonitor()

    func ask(_ line: String) -> String { Self.monitor.locked { PeerWire.ask(line) } }
}

private final class WorldClock: BenchClock {
    private unowned let world: World

    init(_ world: World) { self.world = world }

    var nowNs: UInt64 { world.monitor.locked { world.clock.nowNs } }

    func schedule(atNs: UInt64, owner: vc_handle, _ body: @escaping () -> Void) -> Int {
        world.monitor.locked { world.clock.schedule(atNs: atNs, owner: owner, body) }
    }

    func cancel(_ id: Int) { world.monitor.locked { _ = world.clock.cancel(id) } }
}

private struct WorldOwners: ServiceOwners {
    unowned let world: World

    func owner(_ handle: vc_handle) -> ServiceOwner? {
        world.monitor.locked {
            world.object(handle).map { ServiceOwner(epoch: $0.epoch, isGone: $0.isGone) }
        }
    }

    var listedSecrets: Set<String> { world.monitor.locked { world.secretNames } }
    var secrets: [String: String] { world.job.secrets }

    func call(_ place: String, _ body: () -> Void) { world.call(place, body) }
}

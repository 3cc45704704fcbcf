// "vc.secret/1": the bytes are lent for one call, in memory that is zeroed afterwards.

import Glibc
import PluginABI
import Providers

let secretTable = ServiceTable(
    vc_secret(size: UInt32(MemoryLayout<vc_secret>.size), reserved: 0, with: secretWith))

private func secretWith(
    _ handle: vc_handle, _ name: UnsafePointer<CChar>, _ use: @escaping vc_secret_fn,
    _ context: UnsafeMutableRawPointer?
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    guard !isNull(name), !isNullFunction(use) else { return .badArgument }
    guard let object = HandleTable.shared.resolve(handle) else { return .stale }
    do throws(SecretFailure) {
        let value = try services.secrets.value(String(cString: name), section: object.name, listed: object.secrets)
        let lent = UnsafeMutablePointer<CChar>.allocate(capacity: value.count)
        defer {
            explicit_bzero(lent, value.count)
            lent.deallocate()
        }
        for (index, byte) in value.enumerated() { lent[index] = CChar(bitPattern: byte) }
        use(context, vc_str(data: lent, length: UInt64(value.count)))
        return .ok
    } catch {
        return services.refuse(error, for: object)
    }
}

extension HostServices {
    /// Logs why a secret was not given out, and says it as a status.
    func refuse(_ failure: SecretFailure, for object: PluginObject) -> vc_status {
        switch failure {
        case .notListed:
            logger.pluginFault(failure.description, of: LogSubject(object))
            return .badArgument
        case .notSet:
            logger.error(failure.description, of: LogSubject(object))
            return .notFound
        case .unreadable:
            logger.error(failure.description, of: LogSubject(object))
            return .auth
        }
    }
}

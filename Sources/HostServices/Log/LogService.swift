// "vc.log/1". The line is about the object behind the handle, so a plugin cannot write in another's name.

import PluginABI
import Providers

let logTable = ServiceTable(
    vc_log(
        size: UInt32(MemoryLayout<vc_log>.size), reserved: 0, write: logWrite, enabled: logEnabled))

private func logWrite(
    _ handle: vc_handle, _ level: UInt32, _ message: vc_str, _ fields: UnsafePointer<vc_field>?, _ fieldCount: UInt32
) {
    guard let services = HostServices.current else { return }
    let level = Logger.Level(rawValue: level) ?? .error  // a level of a later version is at least worth reading
    guard services.logger.isEnabled(level), message.isValid else { return }
    let subject: LogSubject =
        handle == 0 ? .init() : HandleTable.shared.resolve(handle).map { LogSubject($0) } ?? .init(name: "(gone)")
    var copies: [LogField] = []
    if let fields {
        for index in 0..<min(Int(fieldCount), Logger.fieldsMax)
        where fields[index].name.isValid && fields[index].value.isValid {
            copies.append(
                LogField(
                    fields[index].name.text(limit: 256),
                    // One byte more than is kept, so that the logger sees that it must cut.
                    fields[index].value.text(limit: Logger.fieldBytesMax + 1)))
        }
    }
    services.logger.write(level, message.text(limit: Logger.messageBytesMax + 1), copies, of: subject)
}

private func logEnabled(_ level: UInt32) -> UInt32 {
    guard let services = HostServices.current, let level = Logger.Level(rawValue: level) else { return 0 }
    return services.logger.isEnabled(level) ? 1 : 0
}

extension LogSubject {
    /// The plugin, the section and the call of an object.
    public init(_ object: PluginObject) {
        self.init(plugin: object.plugin, name: object.name, call: object.call)
    }
}

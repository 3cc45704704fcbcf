// "vc.config/1": single settings out of what the object was created with. The values were checked against the
// manifest's schema and have their defaults before an object exists, so nothing is judged here.

import JSON
import PluginABI
import Providers

let configTable = ServiceTable(
    vc_config(
        size: UInt32(MemoryLayout<vc_config>.size), reserved: 0, text: configText, integer: configInteger,
        number: configNumber, flag: configFlag))

/// The value at `key`, which goes down with dots. A key that has dots itself is found as it stands, before any descent.
func setting(_ key: String, in configuration: JSONValue) -> JSONValue? {
    // Spelled out, since `nil` alone would be JSON's null here.
    let notSet = JSONValue?.none
    if let value = configuration[key] { return value == .null ? notSet : value }
    var value = configuration
    for part in key.split(separator: ".", omittingEmptySubsequences: false) {
        guard let member = value[String(part)] else { return notSet }
        value = member
    }
    return value == .null ? notSet : value
}

/// Looks the value up and has it stored; what is missing or of another type is left as it was.
private func read<Value>(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<Value>,
    _ convert: (PluginObject, String, JSONValue) -> Value?
) -> vc_status {
    guard !isNull(key), !isNull(value) else { return .badArgument }
    guard let object = HandleTable.shared.resolve(handle) else { return .stale }
    let name = String(cString: key)
    guard let found = setting(name, in: object.configuration) else { return .notFound }
    guard let converted = convert(object, name, found) else { return .badArgument }
    value.pointee = converted
    return .ok
}

private func configText(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<vc_str>
) -> vc_status {
    guard let services = HostServices.current else { return .closed }
    return read(handle, key, value) { object, name, found in
        found.string.map { text in services.keptText.text(of: object, key: "config " + name) { text } }
    }
}

private func configInteger(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<Int64>
) -> vc_status {
    read(handle, key, value) { $2.integer }
}

private func configNumber(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<Double>
) -> vc_status {
    read(handle, key, value) { $2.number }
}

private func configFlag(
    _ handle: vc_handle, _ key: UnsafePointer<CChar>, _ value: UnsafeMutablePointer<UInt32>
) -> vc_status {
    read(handle, key, value) { $2.bool.map { $0 ? 1 : 0 } }
}

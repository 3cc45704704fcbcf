// Rule 3 of the contract's growth (`vchost/abi.h`): a reader takes a smaller struct, whose missing end is zero, and a
// larger one, whose unknown end it ignores.

import PluginABI

/// A struct of the contract that a plugin hands in.
protocol Growable {
    init()
}

extension vc_http_request: Growable {}
extension vc_http_events: Growable {}
extension vc_ws_connect: Growable {}
extension vc_ws_events: Growable {}

/// Copies what the plugin filled in. Nil when `size` cannot be right.
func copy<Value: Growable>(_ pointer: UnsafePointer<Value>) -> Value? {
    guard !isNull(pointer) else { return nil }
    let size = UnsafeRawPointer(pointer).load(as: UInt32.self)
    // Eight bytes are the head of every struct; a megabyte is no struct of any version.
    guard size >= 8, size < 1 << 20 else { return nil }
    var value = Value()
    withUnsafeMutableBytes(of: &value) { bytes in
        bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: min(bytes.count, Int(size))))
    }
    return value
}

// How values lie in a message between host and worker: integers and floats as they are (both sides are one machine and
// one binary), texts with their length in front, everything packed.
//
// The host reads what a worker wrote, and a worker runs a stranger's code: so a reader never believes a length, and
// what it reads from was copied out of the shared memory before.

import PluginABI

/// A message that cannot be: the worker that sent it is ended.
package struct WireFault: Error, Equatable {
    package let problem: String

    package init(problem: String) { self.problem = problem }
}

/// Appends values to a message.
package struct WireWriter {
    package private(set) var bytes: [UInt8] = []

    package mutating func clear() { bytes.removeAll(keepingCapacity: true) }

    package mutating func put<Value: BitwiseCopyable>(_ value: Value) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    package mutating func put(_ text: vc_str) {
        // A length that no text has is no text: reading it would end the process.
        let count = text.data == nil || text.length > 1 << 28 ? 0 : Int(text.length)
        put(UInt32(clamping: count))
        bytes.append(contentsOf: UnsafeRawBufferPointer(start: text.data, count: count))
    }

    package mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { utf8 in
            put(UInt32(clamping: utf8.count))
            bytes.append(contentsOf: UnsafeRawBufferPointer(utf8))
        }
    }

    package mutating func put(raw: UnsafeRawBufferPointer) {
        put(UInt32(clamping: raw.count))
        bytes.append(contentsOf: raw)
    }

    package mutating func put(_ fields: UnsafePointer<vc_field>?, _ count: UInt32) {
        let count = fields == nil ? 0 : count
        put(count)
        for index in 0..<Int(count) {
            put(fields![index].name)
            put(fields![index].value)
        }
    }

    package mutating func put(_ fields: [(name: String, value: String)]) {
        put(UInt32(clamping: fields.count))
        for field in fields {
            put(field.name)
            put(field.value)
        }
    }
}

/// Takes values from a message; texts point into it.
package struct WireReader {
    private let base: UnsafeRawPointer
    private let count: Int
    private var offset = 0

    package init(_ bytes: UnsafeRawBufferPointer) {
        base = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
        count = bytes.count
    }

    package var remaining: Int { count - offset }

    package mutating func take<Value: BitwiseCopyable>(_: Value.Type = Value.self) throws(WireFault) -> Value {
        let size = MemoryLayout<Value>.size
        guard size <= remaining else {
            throw WireFault(problem: "a value of \(size) bytes at byte \(offset) of \(count)")
        }
        defer { offset += size }
        return base.loadUnaligned(fromByteOffset: offset, as: Value.self)
    }

    package mutating func takeText() throws(WireFault) -> vc_str {
        let length = Int(try take(UInt32.self))
        guard length <= remaining else {
            throw WireFault(problem: "a text of \(length) bytes at byte \(offset) of \(count)")
        }
        defer { offset += length }
        return vc_str(data: (base + offset).assumingMemoryBound(to: CChar.self), length: UInt64(length))
    }

    /// Repaired where it is not UTF-8.
    package mutating func takeString() throws(WireFault) -> String {
        let text = try takeText()
        return String(decoding: UnsafeRawBufferPointer(start: text.data, count: Int(text.length)), as: UTF8.self)
    }

    package mutating func takeBytes() throws(WireFault) -> [UInt8] {
        let text = try takeText()
        return [UInt8](UnsafeRawBufferPointer(start: text.data, count: Int(text.length)))
    }

    package mutating func takeFields() throws(WireFault) -> [vc_field] {
        let count = Int(try take(UInt32.self))
        // Each has at least its two lengths: a count beyond that is a lie, and no reason to take memory.
        guard count <= remaining / 8 else { throw WireFault(problem: "\(count) fields in \(remaining) bytes") }
        var fields: [vc_field] = []
        fields.reserveCapacity(count)
        for _ in 0..<count { fields.append(vc_field(name: try takeText(), value: try takeText())) }
        return fields
    }
}

// MARK: Shapes that several messages share

extension WireWriter {
    package mutating func put(_ error: vc_error) {
        put(error.code)
        put(error.retryable)
        put(error.retry_after_ms)
        put(error.protocol_status)
        put(error.message)
        put(error.vendor)
        put(error.vendor_code)
    }

    package mutating func put(_ frame: vc_frame) {
        put(frame.format)
        put(frame.rate_hz)
        put(frame.channels)
        put(frame.samples)
        put(frame.flags)
        put(frame.sequence)
        put(frame.position)
        put(frame.captured_ns)
        put(frame.epoch)
        put(vc_str(data: frame.data?.assumingMemoryBound(to: CChar.self), length: frame.bytes))
    }
}

extension WireReader {
    package mutating func takeError() throws(WireFault) -> vc_error {
        vc_error(
            size: UInt32(MemoryLayout<vc_error>.size), code: try take(), retryable: try take(),
            retry_after_ms: try take(), protocol_status: try take(), reserved: 0, message: try takeText(),
            vendor: try takeText(), vendor_code: try takeText())
    }

    package mutating func takeFrame() throws(WireFault) -> vc_frame {
        var frame = vc_frame(
            size: UInt32(MemoryLayout<vc_frame>.size), format: try take(), rate_hz: try take(), channels: try take(),
            samples: try take(), flags: try take(), sequence: try take(), position: try take(),
            captured_ns: try take(), epoch: try take(), data: nil, bytes: 0)
        let data = try takeText()
        frame.data = UnsafeRawPointer(data.data)
        frame.bytes = data.length
        return frame
    }
}

// Drives a plugin through its tables: create, open, the slots of the kind, close, destroy.

import Glibc
import PluginABI
import Testing

/// A plugin, from its entry function on.
struct LoadedPlugin: @unchecked Sendable {
    let providers: [vc_provider]

    typealias Entry = (UnsafePointer<vc_host>, UnsafeMutablePointer<UnsafePointer<vc_module>?>) -> vc_status

    init(_ entry: Entry) throws {
        var module: UnsafePointer<vc_module>?
        try #require(entry(ScriptedHost.table, &module) == vc_status(VC_OK))
        let table = try #require(module).pointee
        providers = (0..<Int(table.provider_count)).map { table.providers![$0]!.pointee }
    }

    /// Loads `lib<name>.so` from where the tests were built.
    init(library name: String) throws {
        var path = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &path, path.count)
        let executable = String(decoding: path[..<max(0, length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = executable.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
            separator: "/")
        let file = "\(folder)/lib\(name).so"
        let library = try #require(
            dlopen(file, RTLD_NOW | RTLD_LOCAL), "\(file) does not load: \(dlerror().map { String(cString: $0) } ?? "")"
        )
        let symbol = try #require(dlsym(library, VC_PLUGIN_ENTRY))
        try self.init(unsafeBitCast(symbol, to: vc_plugin_entry_fn.self))
    }

    func provider(_ id: String) throws -> vc_provider { try #require(providers.first { text($0.id) == id }) }
}

/// The outcome of a call with a `vc_error`.
struct Refusal: Error, Equatable {
    let status: vc_status
    let message: String
}

final class ScriptedProvider {
    let object = ScriptedObject()
    let table: vc_provider
    private var instance: UnsafeMutableRawPointer?

    init(_ plugin: LoadedPlugin, _ index: Int = 0, config: String = "{}") throws {
        table = plugin.providers[index]
        var instance: UnsafeMutableRawPointer? = nil
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let handle = object.handle
        let table = table
        let status = lend("section") { name in
            lend(config) { config in
                var request = vc_create()
                request.size = UInt32(MemoryLayout<vc_create>.size)
                request.provider = handle
                request.name = name
                request.config = config
                return table.create!(&request, &instance, &error)
            }
        }
        guard status == vc_status(VC_OK) else { throw Refusal(status: status, message: text(error.message)) }
        self.instance = instance
        let started = table.start?(instance, &error) ?? 0
        guard started == vc_status(VC_OK) else { throw Refusal(status: started, message: text(error.message)) }
    }

    func open(rateHz: Int = 8000, epoch: UInt64 = 1, language: String = "en", config: String = "{}") throws
        -> ScriptedSession
    {
        let object = ScriptedObject()
        var session = vc_session()
        session.size = UInt32(MemoryLayout<vc_session>.size)
        var error = vc_error()
        error.size = UInt32(MemoryLayout<vc_error>.size)
        let table = table
        let instance = instance
        let status = lend("call-1") { call in
            lend(language) { language in
                lend(config) { config in
                    var request = vc_open()
                    request.size = UInt32(MemoryLayout<vc_open>.size)
                    request.rate_hz = UInt32(rateHz)
                    request.session = object.handle
                    request.epoch = epoch
                    request.call = call
                    request.language = language
                    request.config = config
                    return table.open!(instance, &request, &session, &error)
                }
            }
        }
        guard status == vc_status(VC_OK) else { throw Refusal(status: status, message: text(error.message)) }
        return ScriptedSession(object, session)
    }

    func destroy() {
        table.destroy?(instance)
        ScriptedHost.remove(object.handle)
    }
}

final class ScriptedSession {
    let object: ScriptedObject
    private let state: UnsafeMutableRawPointer?
    private let ops: vc_session_ops
    private let kindOps: UnsafeRawPointer

    init(_ object: ScriptedObject, _ session: vc_session) {
        self.object = object
        state = session.state
        ops = session.ops!.pointee
        kindOps = session.kind_ops!
    }

    var kinds: [RecordedEvent.Kind] { object.kinds }

    // Every session.
    func cancel(_ epoch: UInt64) { ops.cancel!(state, epoch) }
    func credit(_ events: Int) {
        object.credit = events
        ops.credit!(state, UInt32(events), 1 << 20)
    }
    func unlimitedCredit() {
        object.credit = nil
        ops.credit!(state, .max, .max)
    }
    func close() { ops.close!(state) }
    func destroy() {
        ops.destroy!(state)
        ScriptedHost.remove(object.handle)
    }

    // Speech to text.
    private var position: UInt64 = 0
    func begin(_ utterance: UInt64, _ position: UInt64) -> vc_status {
        kindOps.load(as: vc_stt_ops.self).begin!(state, utterance, position)
    }
    @discardableResult
    func push(_ samples: [Int16], rateHz: Int = 8000, format: Int = Int(VC_FORMAT_S16)) -> vc_status {
        samples.withUnsafeBytes { bytes in
            var frame = vc_frame()
            frame.size = UInt32(MemoryLayout<vc_frame>.size)
            frame.format = UInt32(format)
            frame.rate_hz = UInt32(rateHz)
            frame.channels = 1
            frame.samples = UInt32(samples.count)
            frame.position = position
            frame.data = bytes.baseAddress
            frame.bytes = UInt64(bytes.count)
            position += UInt64(samples.count)
            return kindOps.load(as: vc_stt_ops.self).push!(state, &frame)
        }
    }
    func finalize(_ request: UInt64, _ position: UInt64, tentative: Bool = false) -> vc_status {
        kindOps.load(as: vc_stt_ops.self).finalize!(state, request, position, tentative ? UInt32(VC_STT_TENTATIVE) : 0)
    }

    // Language model.
    @discardableResult
    func ask(
        _ request: UInt64, _ messages: String, epoch: UInt64 = 1, tools: String = "[]", options: String = "{}"
    ) -> vc_status {
        lend(messages) { messages in
            lend(tools) { tools in
                lend(options) { options in
                    var cRequest = vc_llm_request()
                    cRequest.size = UInt32(MemoryLayout<vc_llm_request>.size)
                    cRequest.request = request
                    cRequest.epoch = epoch
                    cRequest.messages = messages
                    cRequest.tools = tools
                    cRequest.options = options
                    return kindOps.load(as: vc_llm_ops.self).request!(state, &cRequest)
                }
            }
        }
    }

    // Text to speech.
    @discardableResult
    func speak(_ request: UInt64, _ clause: String, epoch: UInt64 = 1, last: Bool = false) -> vc_status {
        lend(clause) {
            kindOps.load(as: vc_tts_ops.self).speak!(state, request, epoch, $0, last ? UInt32(VC_TTS_LAST) : 0)
        }
    }
}

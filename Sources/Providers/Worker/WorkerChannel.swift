// The memory between a host and one worker: three rings and a page of numbers.
//
//     calls      host → worker   what the plugin is asked; read by the one thread that calls the plugin's slots
//     services   host → worker   answers of services, credit, epochs; read by a thread that never calls a slot
//     events     worker → host   what the plugin emits, answers, and asks of services
//
// Two rings down and not one, because a plugin may wait within a slot for an answer of the host (a secret, a
// description of media), and the thread that is inside that slot cannot be the one that reads the answer.
//
// The page of numbers is the worker's: how far it answered the heartbeat, in which call it is and since when, what it
// has used. It outlives the worker by as long as the host looks at it, so a worker that was killed still says where it
// was.

import CPlatform
import Glibc

final class WorkerChannel: @unchecked Sendable {
    /// Room for the audio of a hundred sessions while one call of a plugin takes its 5 ms, fifty times over.
    private static let callsBytes = 2 << 20
    /// A WebSocket message of a MiB, and room beside it.
    private static let servicesBytes = 4 << 20
    /// Two seconds of 16 kHz for sixty voices at once.
    private static let eventsBytes = 4 << 20
    private static let pageBytes = 4_096
    private static let totalBytes = pageBytes + callsBytes + servicesBytes + eventsBytes

    let descriptor: Int32
    let calls: RingMemory
    let services: RingMemory
    let events: RingMemory
    let page: WorkerPage
    private let base: UnsafeMutableRawPointer

    /// The host's side makes the memory; the worker's maps what it inherited. Nil without memory.
    init?(inherited: Int32? = nil) {
        let descriptor = inherited ?? vch_memory_file("vchost-worker", UInt64(Self.totalBytes))
        guard descriptor >= 0,
            let base = mmap(nil, Self.totalBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
            base != MAP_FAILED
        else {
            if descriptor >= 0 { close(descriptor) }
            return nil
        }
        self.descriptor = descriptor
        self.base = base
        page = WorkerPage(base: base)
        let data = base + Self.pageBytes
        calls = RingMemory(base: base + 1_024, data: data, capacity: Self.callsBytes)
        services = RingMemory(base: base + 2_048, data: data + Self.callsBytes, capacity: Self.servicesBytes)
        events = RingMemory(
            base: base + 3_072, data: data + Self.callsBytes + Self.servicesBytes, capacity: Self.eventsBytes)
    }

    deinit {
        munmap(base, Self.totalBytes)
        close(descriptor)
    }
}

/// Numbers that the worker keeps for the host, one 64-bit word each; and its last words.
struct WorkerPage: @unchecked Sendable {
    let base: UnsafeMutableRawPointer

    /// The last heartbeat that was answered.
    var beat: UInt64 {
        get { vch_load64(base) }
        nonmutating set { vch_store64(base, newValue) }
    }
    /// When the call that runs now began; 0 between calls.
    var callBegunNs: UInt64 {
        get { vch_load64(base + 8) }
        nonmutating set { vch_store64(base + 8, newValue) }
    }
    var callSlot: UInt32 {
        get { vch_load32(base + 16) }
        nonmutating set { vch_store32(base + 16, newValue) }
    }
    var callObject: UInt64 {
        get { vch_load64(base + 24) }
        nonmutating set { vch_store64(base + 24, newValue) }
    }
    /// Calls into the plugin, and the time within them.
    var calls: UInt64 {
        get { vch_load64(base + 32) }
        nonmutating set { vch_store64(base + 32, newValue) }
    }
    var callsNs: UInt64 {
        get { vch_load64(base + 40) }
        nonmutating set { vch_store64(base + 40, newValue) }
    }
    /// From which level log lines are kept: written by the host.
    var logLevel: UInt32 {
        get { vch_load32(base + 128) }
        nonmutating set { vch_store32(base + 128, newValue) }
    }

    var lastWordsMemory: UnsafeMutableRawPointer { base + 64 }

    /// What the thread that ended the worker said; nil when it had no time to.
    var lastWords: vch_last_words? {
        let words = (base + 64).load(as: vch_last_words.self)
        return words.how == 0 ? nil : words
    }
}

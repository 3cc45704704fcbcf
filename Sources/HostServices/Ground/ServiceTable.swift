// A table of C functions that lives as long as the process, as the contract promises: a plugin may keep its address.

import Providers

struct ServiceTable: @unchecked Sendable {
    let pointer: UnsafeRawPointer

    init<Table>(_ table: Table) {
        let memory = UnsafeMutablePointer<Table>.allocate(capacity: 1)
        memory.initialize(to: table)
        pointer = UnsafeRawPointer(memory)
    }
}

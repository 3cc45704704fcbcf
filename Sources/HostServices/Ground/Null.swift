// The contract says which pointers are never NULL, and Swift believes it. A plugin in C may still pass one, and is told
// so with VC_E_ARGUMENT. The functions are not inlined, lest the optimiser believe it too and take the question away.

@inline(never)
func isNull(_ pointer: UnsafeRawPointer) -> Bool { UInt(bitPattern: pointer) == 0 }

@inline(never)
func isNullFunction<Function>(_ function: Function) -> Bool {
    precondition(MemoryLayout<Function>.size == MemoryLayout<UInt>.size, "only for C function pointers")
    return unsafeBitCast(function, to: UInt.self) == 0
}

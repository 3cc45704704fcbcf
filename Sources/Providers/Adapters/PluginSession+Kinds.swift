// What the adapters of all kinds need of a session.

import Calls
import PluginABI

extension PluginSession {
    /// A private copy of the kind's table. A missing mandatory slot closes the session and is the plugin's fault.
    func kindTable<Table>(
        _: Table.Type, _ name: String, mandatory: (Table) -> [(String, Bool)]
    ) throws(ProviderFailure) -> Table {
        do throws(TableFault) {
            let table = try adopt(kindOps, as: Table.self, name)
            for (slot, isThere) in mandatory(table) where !isThere {
                throw TableFault(problem: "\(name).\(slot) is NULL")
            }
            return table
        } catch {
            instance.faults.note(
                .slotMissing, call: object.call, "opened a session that cannot be used: \(error.problem)")
            close()
            throw ProviderFailure(code: .misbehaved, retryable: false, message: error.problem)
        }
    }

    /// An event with a body that makes no sense. Gives the status for the plugin.
    func broken(_ event: String, _ how: String) -> vc_status {
        instance.faults.note(.eventBody, sort: "\(event) \(how)", call: object.call, "emitted \(event) with \(how)")
        return vc_status(VC_E_ARGUMENT)
    }

    /// A slot gave a status for which the conversation has no use: by its range it is our fault, the world's or the
    /// plugin's.
    func refused(_ slot: StaticString, _ status: vc_status) {
        switch Int(status) {
        case VC_E_CANCELED, VC_E_CLOSED, VC_E_STALE, VC_E_AGAIN: return
        default: break
        }
        instance.faults.note(
            .status, sort: "\(slot) \(status)", call: object.call,
            "\(slot) answered with status \(status); the session goes on")
    }
}

extension CallMailbox.Outcome {
    /// What `emit` answers.
    var status: vc_status {
        switch self {
        case .accepted: vc_status(VC_OK)
        case .canceled: vc_status(VC_E_CANCELED)
        case .stale: vc_status(VC_E_CLOSED)
        case .full: vc_status(VC_E_AGAIN)
        }
    }
}

func makeConverter(
    _ maker: SampleRateConverterMaker?, from: Int, to: Int, for name: String
) throws(ProviderFailure) -> (any SampleRateConverter)? {
    guard from != to else { return nil }
    guard let converter = maker?(from, to) else {
        throw ProviderFailure(
            code: .configuration, retryable: false,
            message: "\(name) works at \(to) Hz, and the call's \(from) Hz cannot be converted")
    }
    return converter
}

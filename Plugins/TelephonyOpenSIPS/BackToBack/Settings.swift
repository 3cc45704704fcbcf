// The settings that decisions depend on.

/// The settings of one switchboard.
public struct SwitchboardSettings: Sendable, Equatable {
    /// Where OpenSIPS is to send its events, "udp:127.0.0.1:50060".
    public var eventSocket = "udp:127.0.0.1:50060"
    /// What the log calls the management interface, "127.0.0.1:8080".
    public var management = "127.0.0.1:8080"
    /// The header that says whom the caller called: "To", "From" or "Contact".
    public var calleeHeader = "To"
    /// ACK is reported (flag `a` of `ua_session_server_init`).
    public var reportsACK = false
    /// OpenSIPS leaves the ACK of our own re-INVITE to us (flag `d`).
    public var leavesACK = true
    public var renewS = 30
    public var checkS = 30
    public var callsMax = 2000
    /// The host of numbers that are called, "sip.example.com".
    public var outboundDomain = ""
    /// Where OpenSIPS sends calls, "sip:192.0.2.7:5060", or empty: where the address says.
    public var outboundProxy = ""
    /// From which of its sockets OpenSIPS calls, "udp:192.0.2.1:5060", or empty: its `advertised_contact`.
    public var outboundSocket = ""
    /// As whom, when the call does not say.
    public var outboundUser = "vchost"
    /// Tells the numbers of this process's commands from those of the one before.
    public var commandPrefix = "vchost"

    public init() {}
}

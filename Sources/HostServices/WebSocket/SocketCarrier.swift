// Who has the connection of a socket. There are two: the loop of our own connections to vendors, on libwebsockets, and
// the loop of those that came in through the host's listener. The socket between carrier and plugin is the same.

/// The I/O side of a socket. Any thread may call; the work is done on the carrier's own.
protocol SocketCarrier: AnyObject, Sendable {
    /// Something waits to be sent.
    func write(_ socket: WebSocket)

    /// A close was asked for, or the owner ended: `WebSocket.closeRequest` has the code.
    func close(_ socket: WebSocket)

    /// The plugin has caught up, and the socket may be read from again.
    func resume(_ socket: WebSocket)
}

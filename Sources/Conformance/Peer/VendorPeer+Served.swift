// The vendor that calls: its dialogues send requests to the plugin's paths, wait for the answers, and open WebSockets
// there. What goes out is fetched by the bench, which has the clock.

import JSON

extension VendorPeer {
    /// The plugin answered the request of a run.
    public mutating func answered(run number: Int, status: Int, body: String) {
        guard runs.indices.contains(number - 1), !runs[number - 1].isOver else { return }
        var run = runs[number - 1]
        let step = run.steps[run.position]
        guard case .answer(let pattern) = step else {
            run.problem = "an answer with \(status) where none was awaited: \(body.prefix(200))"
            runs[number - 1] = run
            return
        }
        let known = variables.merging(run.variables) { _, own in own }
        if let found = pattern.match(status: status, body: body, known) {
            run.variables.merge(found) { _, new in new }
            run.position += 1
        } else {
            run.problem = "\(pattern.status) was awaited, with \(pattern.body?.source ?? "anything"); "
                + "the answer was \(status): \(body.prefix(200))"
        }
        runs[number - 1] = run
        goOnUnconnected(number - 1)
    }

    /// The plugin accepted the WebSocket of a run.
    public mutating func upgraded(run number: Int, id: Int, path: String, atNs: UInt64) -> [VendorSocketAction] {
        guard runs.indices.contains(number - 1) else { return [] }
        let url = "served:\(path)"
        var sighting = VendorSighting(.ws, id: id, atNs: atNs, VendorRequest("GET", url))
        let fault = takeFault(url)
        sighting.fault = fault
        see(sighting)
        var connection = Connection(entry: Self.servedEntry, url: url, fault: fault)
        connection.runs = [number - 1]
        runs[number - 1].connection = id
        if case .upgrade? = runs[number - 1].steps.dropFirst(runs[number - 1].position).first {
            runs[number - 1].position += 1
        }
        let opened = VendorSocketAction(
            afterMs: 0, kind: .opened(subprotocol: "", readsBytesPerS: nil, answersPings: true))
        let actions = [opened] + goOn(number - 1, &connection)
        return finish(&connection, actions, id: id, isUpgrade: true)
    }

    /// In place of the number of an entry.
    static let servedEntry = Int.max

    func entry(of connection: Connection) -> VendorSocketScript? {
        connection.entry == Self.servedEntry ? script.served?.socket : script.sockets[connection.entry]
    }

    /// Dialogues that wait until the plugin asks for something.
    mutating func asked(_ request: VendorRequest) {
        for number in runs.indices where !runs[number].isOver {
            guard case .asked(let condition) = runs[number].steps[runs[number].position] else { continue }
            let known = variables.merging(runs[number].variables) { _, own in own }
            guard let found = condition.match(request, known) else { continue }
            runs[number].variables.merge(found) { _, new in new }
            runs[number].position += 1
            goOnUnconnected(number)
            return
        }
    }

    mutating func goOnUnconnected(_ number: Int) {
        if var connection = connections[runs[number].connection] {
            _ = goOn(number, &connection)
            connections[runs[number].connection] = connection
        } else {
            var nowhere = Connection(entry: Self.servedEntry, url: "")
            _ = goOn(number, &nowhere)
        }
    }
}

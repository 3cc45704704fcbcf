// What the two halves of the services say to each other. Both are the same binary, so the numbers are no contract.

import Providers

enum WorkerOperation: UInt16 {
    // From the worker.
    case log, metricDefine, metricRecord, span, secret
    case httpStart, httpBody, httpCancel, httpPrewarm, httpTaken
    case socketConnect, socketSend, socketClose, socketTaken
    case mediaOpen, mediaAnswer, mediaOffer, mediaAccept, mediaClose

    // From the host.
    case reply
    case httpResponse, httpData, httpDone
    case socketOpened, socketMessage, socketSent, socketClosed
}

/// What may be on its way to a worker for one request or socket before the host stops reading from the vendor: the
/// same as waits for a slow plugin in process.
let workerWindowBytes = 256 << 10


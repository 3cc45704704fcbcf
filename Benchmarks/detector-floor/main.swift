// When a detector without any delay would have known: the host's own energy detector and gate, fed with a recording
// frame by frame, each frame the moment it ends. What a call takes longer than this is the host's time and not the
// detector's.
//
// The recording is a loop. It is fed twice, and the second pass is told, when the detector knows the line's noise.
//
// usage: DetectorFloor SAMPLES.s16 (8 kHz, mono)      prints a line for each event: frame of the loop, "started", or
// "stopped" with the silence in milliseconds that it had seen by the end of that frame

import Glibc
import Providers

func fail(_ text: String) -> Never {
    _ = "\(text)\n".utf8CString.withUnsafeBytes { write(2, $0.baseAddress!, $0.count - 1) }
    exit(1)
}

func measure() {
    guard CommandLine.arguments.count == 2, let file = fopen(CommandLine.arguments[1], "r") else {
        fail("usage: DetectorFloor SAMPLES.s16")
    }
    // An hour; longer recordings are cut.
    var samples = [Int16](repeating: 0, count: 3_600 * 8_000)
    samples.removeLast(samples.count - fread(&samples, 2, samples.count, file))
    fclose(file)
    let frame = 160
    let frames = samples.count / frame
    var reframer = Reframer(windowSamples: EnergyDetector.windowSamples8k)
    var detector = EnergyDetector()
    var gate = SpeechGate(rateHz: 8_000)
    var window = [Int16](repeating: 0, count: EnergyDetector.windowSamples8k)
    for number in 0..<2 * frames {
        samples.withUnsafeBufferPointer {
            reframer.append($0.baseAddress! + number % frames * frame, count: frame, position: UInt64(number * frame))
        }
        while let next = reframer.nextWindow(into: &window) {
            let probability = detector.process(window, rateHz: 8_000)
            let event = gate.process(probability: probability, start: next.start, end: next.end, isAgentSpeaking: false)
            guard number >= frames else { continue }
            switch event {
            case .started: print(number - frames, "started")
            case .stopped(let speechEnd, let examined): print(number - frames, "stopped", (examined - speechEnd) / 8)
            case .silence, nil: break
            }
        }
    }
    reframer.deallocate()
}

measure()

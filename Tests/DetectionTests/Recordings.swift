// Recordings of a person, joined into a call whose true starts and ends of speech are known.
//
// Debian's prompts for Asterisk, which `services/recordings` fetches and nobody commits (CC-BY-SA 3.0). A prompt is
// studio quality, so where its speech begins can be read off the clean recording: the first 10 ms that reach 35 dB
// below its loudest. Then noise is added and all of it goes through mu-law, as on a telephone.

import Glibc

enum Recordings {
    struct Call {
        var samples: [Int16] = []
        /// First sample of each stretch of speech, and the one after its last.
        var speech: [(start: Int, end: Int)] = []
    }

    /// Where they lie: `VCHOST_RECORDINGS`, or `.cache/recordings` of this package.
    static var folder: String {
        if let set = getenv("VCHOST_RECORDINGS") { return String(cString: set) }
        let package = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return "/" + package + "/.cache/recordings"
    }

    static var areThere: Bool { access(folder + "/en/vm-goodbye.wav", R_OK) == 0 }

    /// `count` prompts of 1 to 6 s, always the same, with 0.8 to 1.6 s between them.
    static func call(prompts count: Int, noiseDBFS: Double, gainDB: Double = 0) -> Call {
        var random = SplitMix(state: 5)
        var call = Call()
        var clean: [Double] = []
        for prompt in prompts(count, random: &random) {
            clean += [Double](repeating: 0, count: 6400 + Int(random.next() % 6400))
            let levels = stride(from: 0, to: prompt.count - 79, by: 80).map { start in
                prompt[start..<start + 80].reduce(0.0) { $0 + Double($1) * Double($1) }
            }
            let audible = (levels.max() ?? 0) * pow(10, -3.5)
            guard let first = levels.firstIndex(where: { $0 > audible }),
                let last = levels.lastIndex(where: { $0 > audible })
            else { continue }
            call.speech.append((clean.count + first * 80, clean.count + (last + 1) * 80))
            clean += prompt.map { Double($0) * pow(10, gainDB / 20) }
        }
        clean += [Double](repeating: 0, count: 8000)
        let noise = Sounds.noise(dBFS: noiseDBFS, count: clean.count)
        call.samples = Sounds.samples(clean, noise).map(throughMuLaw)
        return call
    }

    /// Every name in the folder, sorted and then drawn by the generator: the same prompts on every machine.
    private static func prompts(_ count: Int, random: inout SplitMix) -> [[Int16]] {
        guard let directory = opendir(folder + "/en") else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".wav") { names.append(name) }
        }
        names.sort()
        var found: [[Int16]] = []
        while found.count < count, !names.isEmpty {
            let name = names.remove(at: Int(random.next() % UInt64(names.count)))
            let samples = read(folder + "/en/" + name)
            if samples.count > 8000, samples.count < 48000 { found.append(samples) }
        }
        return found
    }

    /// A WAV file of 8 kHz, 16 bit, one channel with the usual 44 bytes of header; empty when it is another.
    private static func read(_ path: String) -> [Int16] {
        guard let file = fopen(path, "rb") else { return [] }
        defer { fclose(file) }
        var header = [UInt8](repeating: 0, count: 44)
        guard fread(&header, 1, 44, file) == 44, header[24] == 0x40, header[25] == 0x1f, header[34] == 16 else {
            return []
        }
        var samples = [Int16](repeating: 0, count: 480_000)
        let count = fread(&samples, 2, samples.count, file)
        return Array(samples[..<count])
    }

    /// What G.711 leaves of a sample: 8 segments of 16 steps.
    private static func throughMuLaw(_ sample: Int16) -> Int16 {
        let magnitude = min(abs(Int(sample)) + 132, 32767)
        let segment = max(0, magnitude.bitWidth - magnitude.leadingZeroBitCount - 8)
        let step = 1 << (segment + 3)
        let value = magnitude / step * step + step / 2 - 132
        return Int16(sample < 0 ? -value : value)
    }
}

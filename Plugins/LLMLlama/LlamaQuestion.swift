// A question that is not answered, with what is known of its answer.

import ChatStream
import PluginKit

final class LlamaQuestion {
    let question: Question
    /// As it is written to the service.
    let frame: String
    var retriesLeft: Int
    /// Something was said: from here on a second attempt would say it twice.
    var hasOutput = false
    var limit: SentenceLimit
    var thoughts = ThoughtFilter()
    /// For the first words, and for the whole answer.
    var timers: [ScheduledTimer] = []

    init(_ question: Question, _ frame: String, retriesLeft: Int, sentencesMax: Int) {
        self.question = question
        self.frame = frame
        self.retriesLeft = retriesLeft
        limit = SentenceLimit(sentencesMax: sentencesMax)
    }
}

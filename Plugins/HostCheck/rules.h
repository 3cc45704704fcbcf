/*  What a host may not do, each with the sentence of the contract that forbids it.

    A list of its own, because three things are made of it: the numbers by which faults are counted, the names that
    stand in log and report, and the table of the tests, which break each of them once.  */
// SPDX-License-Identifier: Apache-2.0
#ifndef HOSTCHECK_RULES_H
#define HOSTCHECK_RULES_H

#define RULES(RULE)                                                                                                    \
    RULE(OVERLAP, "overlap", "VC_CONTROL calls on one object never overlap")                                           \
    RULE(NESTED, "nested", "nothing is called on an object from within its own emit or another of its calls")          \
    RULE(OVERLAPS_END, "overlaps-end", "no call overlaps create, open or destroy of the same object")                  \
    RULE(AFTER_DESTROY, "after-destroy", "nothing is called on an object after destroy")                               \
    RULE(BEFORE_READY, "before-ready", "nothing is asked of a session before READY")                                   \
    RULE(AFTER_CLOSE, "after-close", "nothing is asked of a session after close")                                      \
    RULE(CLOSE_TWICE, "close-twice", "close is called once")                                                           \
    RULE(MISSING_CLOSE, "missing-close", "a session is closed before it is destroyed")                                 \
    RULE(BEFORE_CLOSED, "destroy-before-closed", "a session is destroyed after it emitted CLOSED")                     \
    RULE(MISSING_DESTROY, "missing-destroy", "all sessions of a provider are destroyed before it is")                  \
    RULE(PROVIDER_STATE, "provider-state", "create, start, READY, open, drain, destroy: in this order, each once")     \
    RULE(EPOCH_BACK, "epoch-back", "an epoch only grows")                                                              \
    RULE(CANCEL_BACK, "cancel-back", "cancel comes with a larger epoch each time, or with the same")                   \
    RULE(EPOCH_UNTOLD, "epoch-untold", "a new epoch is told by cancel before anything is asked in it")                 \
    RULE(EMIT_ANSWER, "emit-answer", "emit takes what a living session says in its epoch, and refuses older epochs")   \
    RULE(STRUCT_SIZE, "struct-size", "a struct says its size, which is never smaller than in 1.0")                     \
    RULE(RESERVED, "reserved", "a reserved member is 0")                                                               \
    RULE(NULL_POINTER, "null", "a pointer is not NULL where the contract needs something")                             \
    RULE(TEXT, "text", "a text is UTF-8, of a sane length, and has its bytes")                                         \
    RULE(POISON, "poison", "what an event points to is copied before emit returns")                                    \
    RULE(OPEN, "open", "vc_open has a handle, a call, a leg, a rate of the manifest, and `kind` only for telephony")   \
    RULE(TWO_SESSIONS, "two-sessions", "a provider has one session for each leg of a call")                            \
    RULE(CONFIG, "config", "configuration is JSON, checked against the manifest, defaults filled in")                  \
    RULE(CONFIG_SERVICE, "config-service", "vc.config/1 gives the values of the JSON text")                            \
    RULE(SECRET, "secret", "a credential reaches a plugin through vc.secret/1 only")                                   \
    RULE(SECRET_UNLISTED, "secret-unlisted", "only secrets that the manifest lists are given out")                     \
    RULE(FRAME_FORMAT, "frame-format", "a frame has the session's rate, a format of the manifest, and one channel")    \
    RULE(FRAME_BYTES, "frame-bytes", "a frame has data of samples * channels * width bytes")                           \
    RULE(FRAME_LENGTH, "frame-length", "a frame has 20 ms")                                                            \
    RULE(FRAME_POSITION, "frame-position", "frames follow each other without gaps, or say DISCONTINUITY")              \
    RULE(FRAME_SEQUENCE, "frame-sequence", "frames are counted from 0, by one")                                        \
    RULE(FRAME_CLOCK, "frame-clock", "captured_ns is on the host's clock, and never goes back")                        \
    RULE(REQUEST_REUSED, "request-reused", "a request's number is used once in a session")                             \
    RULE(AFTER_LAST, "after-last", "no text comes for a request after VC_TTS_LAST")                                    \
    RULE(INTERLEAVED, "interleaved", "requests to speak never interleave")                                             \
    RULE(UTTERANCE, "utterance", "utterances are numbered upwards, and begin one after the other")                     \
    RULE(BEYOND_AUDIO, "beyond-audio", "a position that is asked about lies in audio that was pushed")                 \
    RULE(MESSAGES, "messages", "messages, tools and options are JSON in the shape of OpenAI's chat")                   \
    RULE(TOOL_RESULT, "tool-result", "each tool call gets one result, under its request")                              \
    RULE(CREDIT, "credit", "credit says how much room there is: something, and at most 2 s of audio")                  \
    RULE(BATCH, "batch", "a batch has up to 32 rows of the provider's window, a stride, a rate and a deadline")        \
    RULE(BATCH_ROW, "batch-row", "a row has samples and an open session of the batch's rate")                          \
    RULE(BATCH_TWICE, "batch-twice", "a session stands in a batch at most once")                                       \
    RULE(DETECT_THREAD, "detect-thread", "process is called by one thread, one call at a time")                        \
    RULE(TIMER, "timer", "a timer fires once, not before its time, and not after its owner's end")

#define RULE_NUMBER(name, id, sentence) RULE_##name,
enum { RULES(RULE_NUMBER) RULE_COUNT };

/// Whatever a host can call, counted for the report.
#define SLOTS(SLOT)                                                                                                    \
    SLOT(CREATE, "provider.create") SLOT(START, "provider.start") SLOT(DRAIN, "provider.drain")                        \
    SLOT(DESTROY, "provider.destroy") SLOT(OPEN, "provider.open") SLOT(CANCEL, "session.cancel")                       \
    SLOT(CREDIT, "session.credit") SLOT(CLOSE, "session.close") SLOT(END, "session.destroy")                           \
    SLOT(STT_BEGIN, "stt.begin") SLOT(STT_PUSH, "stt.push") SLOT(STT_FINALIZE, "stt.finalize")                         \
    SLOT(LLM_REQUEST, "llm.request") SLOT(LLM_TOOL_RESULT, "llm.tool_result") SLOT(TTS_SPEAK, "tts.speak")             \
    SLOT(TURN_PUSH, "turn.push") SLOT(TURN_TRANSCRIPT, "turn.transcript") SLOT(TURN_DECIDE, "turn.decide")             \
    SLOT(VAD_PROCESS, "vad.process") SLOT(TIMER, "timer.fire")

#define SLOT_NUMBER(name, id) SLOT_##name,
enum { SLOTS(SLOT_NUMBER) SLOT_COUNT };

#endif

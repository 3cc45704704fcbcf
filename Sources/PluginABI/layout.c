// The layout of every struct of the contract, member by member.
//
// The numbers are written down here and never computed: a plugin that was built last year has them in its code. A
// change that moves a member stops the build. To append one, add its line and the new size; nothing else may change.
// x86-64 and arm64 agree on all of them (LP64, natural alignment), so there is one table.
//
// The script `scripts/abi-gate` compiles this file with every compiler and standard that an author may use, for both
// machines, and checks that nothing is missing in it.

#include <stddef.h>

#include "vchost/vchost.h"

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "the size of " #type " changed")
#define AT(type, member, offset) _Static_assert(offsetof(type, member) == (offset), #type "." #member " moved")

_Static_assert(sizeof(void *) == 8 && sizeof(void (*)(void)) == 8, "the contract is for machines of 64 bits");

// abi.h
SIZE(vc_str, 16);
AT(vc_str, data, 0);
AT(vc_str, length, 8);

SIZE(vc_field, 32);
AT(vc_field, name, 0);
AT(vc_field, value, 16);

SIZE(vc_error, 72);
AT(vc_error, size, 0);
AT(vc_error, code, 4);
AT(vc_error, retryable, 8);
AT(vc_error, retry_after_ms, 12);
AT(vc_error, protocol_status, 16);
AT(vc_error, reserved, 20);
AT(vc_error, message, 24);
AT(vc_error, vendor, 40);
AT(vc_error, vendor_code, 56);

// audio.h
SIZE(vc_frame, 72);
AT(vc_frame, size, 0);
AT(vc_frame, format, 4);
AT(vc_frame, rate_hz, 8);
AT(vc_frame, channels, 12);
AT(vc_frame, samples, 16);
AT(vc_frame, flags, 20);
AT(vc_frame, sequence, 24);
AT(vc_frame, position, 32);
AT(vc_frame, captured_ns, 40);
AT(vc_frame, epoch, 48);
AT(vc_frame, data, 56);
AT(vc_frame, bytes, 64);

// event.h
SIZE(vc_event, 32);
AT(vc_event, size, 0);
AT(vc_event, type, 4);
AT(vc_event, flags, 8);
AT(vc_event, reserved, 12);
AT(vc_event, epoch, 16);
AT(vc_event, request, 24);

SIZE(vc_event_error, 48);
AT(vc_event_error, head, 0);
AT(vc_event_error, error, 32);
AT(vc_event_error, fatal, 40);
AT(vc_event_error, reserved, 44);

// host.h
SIZE(vc_host, 24);
AT(vc_host, size, 0);
AT(vc_host, minor, 4);
AT(vc_host, emit, 8);
AT(vc_host, service, 16);

// session.h
SIZE(vc_open, 112);
AT(vc_open, size, 0);
AT(vc_open, rate_hz, 4);
AT(vc_open, session, 8);
AT(vc_open, epoch, 16);
AT(vc_open, call, 24);
AT(vc_open, leg, 40);
AT(vc_open, tenant, 56);
AT(vc_open, language, 72);
AT(vc_open, config, 88);
AT(vc_open, kind, 104);

SIZE(vc_session_ops, 40);
AT(vc_session_ops, size, 0);
AT(vc_session_ops, reserved, 4);
AT(vc_session_ops, cancel, 8);
AT(vc_session_ops, credit, 16);
AT(vc_session_ops, close, 24);
AT(vc_session_ops, destroy, 32);

SIZE(vc_session, 32);
AT(vc_session, size, 0);
AT(vc_session, reserved, 4);
AT(vc_session, state, 8);
AT(vc_session, ops, 16);
AT(vc_session, kind_ops, 24);

// plugin.h
SIZE(vc_create, 48);
AT(vc_create, size, 0);
AT(vc_create, reserved, 4);
AT(vc_create, provider, 8);
AT(vc_create, name, 16);
AT(vc_create, config, 32);

SIZE(vc_provider, 88);
AT(vc_provider, size, 0);
AT(vc_provider, reserved, 4);
AT(vc_provider, kind, 8);
AT(vc_provider, id, 24);
AT(vc_provider, create, 40);
AT(vc_provider, start, 48);
AT(vc_provider, drain, 56);
AT(vc_provider, destroy, 64);
AT(vc_provider, open, 72);
AT(vc_provider, kind_ops, 80);

SIZE(vc_module, 24);
AT(vc_module, size, 0);
AT(vc_module, minor, 4);
AT(vc_module, host_minor_min, 8);
AT(vc_module, provider_count, 12);
AT(vc_module, providers, 16);

// kind/llm.h
SIZE(vc_llm_request, 72);
AT(vc_llm_request, size, 0);
AT(vc_llm_request, flags, 4);
AT(vc_llm_request, request, 8);
AT(vc_llm_request, epoch, 16);
AT(vc_llm_request, messages, 24);
AT(vc_llm_request, tools, 40);
AT(vc_llm_request, options, 56);

SIZE(vc_llm_ops, 24);
AT(vc_llm_ops, size, 0);
AT(vc_llm_ops, reserved, 4);
AT(vc_llm_ops, request, 8);
AT(vc_llm_ops, tool_result, 16);

SIZE(vc_event_delta, 48);
AT(vc_event_delta, head, 0);
AT(vc_event_delta, text, 32);

SIZE(vc_event_tool_call, 80);
AT(vc_event_tool_call, head, 0);
AT(vc_event_tool_call, call, 32);
AT(vc_event_tool_call, name, 48);
AT(vc_event_tool_call, arguments, 64);

SIZE(vc_event_usage, 56);
AT(vc_event_usage, head, 0);
AT(vc_event_usage, input_tokens, 32);
AT(vc_event_usage, cached_tokens, 40);
AT(vc_event_usage, output_tokens, 48);

SIZE(vc_event_llm_done, 40);
AT(vc_event_llm_done, head, 0);
AT(vc_event_llm_done, reason, 32);
AT(vc_event_llm_done, reserved, 36);

// kind/stt.h
SIZE(vc_stt_ops, 32);
AT(vc_stt_ops, size, 0);
AT(vc_stt_ops, reserved, 4);
AT(vc_stt_ops, begin, 8);
AT(vc_stt_ops, push, 16);
AT(vc_stt_ops, finalize, 24);

SIZE(vc_word, 40);
AT(vc_word, text, 0);
AT(vc_word, start, 16);
AT(vc_word, end, 24);
AT(vc_word, confidence, 32);
AT(vc_word, reserved, 36);

SIZE(vc_event_transcript, 112);
AT(vc_event_transcript, head, 0);
AT(vc_event_transcript, utterance, 32);
AT(vc_event_transcript, start, 40);
AT(vc_event_transcript, end, 48);
AT(vc_event_transcript, text, 56);
AT(vc_event_transcript, language, 72);
AT(vc_event_transcript, final, 88);
AT(vc_event_transcript, confidence, 92);
AT(vc_event_transcript, stability, 96);
AT(vc_event_transcript, word_count, 100);
AT(vc_event_transcript, words, 104);

SIZE(vc_event_stt_turn, 72);
AT(vc_event_stt_turn, head, 0);
AT(vc_event_stt_turn, utterance, 32);
AT(vc_event_stt_turn, position, 40);
AT(vc_event_stt_turn, text, 48);
AT(vc_event_stt_turn, turn, 64);
AT(vc_event_stt_turn, confidence, 68);

// kind/telephony.h
SIZE(vc_telephony_open, 72);
AT(vc_telephony_open, size, 0);
AT(vc_telephony_open, direction, 4);
AT(vc_telephony_open, key, 8);
AT(vc_telephony_open, to, 24);
AT(vc_telephony_open, from, 40);
AT(vc_telephony_open, headers, 56);
AT(vc_telephony_open, header_count, 64);
AT(vc_telephony_open, ring_timeout_ms, 68);

SIZE(vc_telephony_frames_ops, 32);
AT(vc_telephony_frames_ops, size, 0);
AT(vc_telephony_frames_ops, reserved, 4);
AT(vc_telephony_frames_ops, play, 8);
AT(vc_telephony_frames_ops, mark, 16);
AT(vc_telephony_frames_ops, flush, 24);

SIZE(vc_telephony_ops, 64);
AT(vc_telephony_ops, size, 0);
AT(vc_telephony_ops, reserved, 4);
AT(vc_telephony_ops, ringing, 8);
AT(vc_telephony_ops, answer, 16);
AT(vc_telephony_ops, hangup, 24);
AT(vc_telephony_ops, transfer, 32);
AT(vc_telephony_ops, hold, 40);
AT(vc_telephony_ops, dtmf, 48);
AT(vc_telephony_ops, frames, 56);

SIZE(vc_telephony_provider_ops, 16);
AT(vc_telephony_provider_ops, size, 0);
AT(vc_telephony_provider_ops, reserved, 4);
AT(vc_telephony_provider_ops, decline, 8);

SIZE(vc_event_incoming, 144);
AT(vc_event_incoming, head, 0);
AT(vc_event_incoming, key, 32);
AT(vc_event_incoming, from, 48);
AT(vc_event_incoming, display, 64);
AT(vc_event_incoming, to, 80);
AT(vc_event_incoming, peer, 96);
AT(vc_event_incoming, protocol_call, 112);
AT(vc_event_incoming, headers, 128);
AT(vc_event_incoming, header_count, 136);
AT(vc_event_incoming, reserved, 140);

SIZE(vc_event_withdrawn, 48);
AT(vc_event_withdrawn, head, 0);
AT(vc_event_withdrawn, key, 32);

SIZE(vc_event_hangup, 56);
AT(vc_event_hangup, head, 0);
AT(vc_event_hangup, cause, 32);
AT(vc_event_hangup, code, 36);
AT(vc_event_hangup, reason, 40);

SIZE(vc_event_frame, 40);
AT(vc_event_frame, head, 0);
AT(vc_event_frame, frame, 32);

SIZE(vc_event_played, 48);
AT(vc_event_played, head, 0);
AT(vc_event_played, mark, 32);
AT(vc_event_played, cleared, 40);
AT(vc_event_played, reserved, 44);

SIZE(vc_event_dtmf, 56);
AT(vc_event_dtmf, head, 0);
AT(vc_event_dtmf, digits, 32);
AT(vc_event_dtmf, duration_ms, 48);
AT(vc_event_dtmf, reserved, 52);

SIZE(vc_event_held, 40);
AT(vc_event_held, head, 0);
AT(vc_event_held, on, 32);
AT(vc_event_held, reserved, 36);

SIZE(vc_event_transferred, 56);
AT(vc_event_transferred, head, 0);
AT(vc_event_transferred, succeeded, 32);
AT(vc_event_transferred, code, 36);
AT(vc_event_transferred, reason, 40);

// kind/tts.h
SIZE(vc_tts_ops, 16);
AT(vc_tts_ops, size, 0);
AT(vc_tts_ops, reserved, 4);
AT(vc_tts_ops, speak, 8);

SIZE(vc_event_audio, 40);
AT(vc_event_audio, head, 0);
AT(vc_event_audio, frame, 32);

SIZE(vc_event_mark, 64);
AT(vc_event_mark, head, 0);
AT(vc_event_mark, text_start, 32);
AT(vc_event_mark, text_end, 40);
AT(vc_event_mark, position, 48);
AT(vc_event_mark, end, 56);

SIZE(vc_event_tts_done, 48);
AT(vc_event_tts_done, head, 0);
AT(vc_event_tts_done, reason, 32);
AT(vc_event_tts_done, reserved, 36);
AT(vc_event_tts_done, samples, 40);

// kind/turn.h
SIZE(vc_turn_ops, 32);
AT(vc_turn_ops, size, 0);
AT(vc_turn_ops, reserved, 4);
AT(vc_turn_ops, push, 8);
AT(vc_turn_ops, transcript, 16);
AT(vc_turn_ops, decide, 24);

SIZE(vc_event_verdict, 40);
AT(vc_event_verdict, head, 0);
AT(vc_event_verdict, probability, 32);
AT(vc_event_verdict, backchannel, 36);

// kind/vad.h
SIZE(vc_vad_row, 24);
AT(vc_vad_row, session, 0);
AT(vc_vad_row, samples, 8);
AT(vc_vad_row, probability, 16);
AT(vc_vad_row, flags, 20);

SIZE(vc_vad_batch, 40);
AT(vc_vad_batch, size, 0);
AT(vc_vad_batch, rate_hz, 4);
AT(vc_vad_batch, samples, 8);
AT(vc_vad_batch, row_count, 12);
AT(vc_vad_batch, row_stride, 16);
AT(vc_vad_batch, reserved, 20);
AT(vc_vad_batch, rows, 24);
AT(vc_vad_batch, deadline_ns, 32);

SIZE(vc_vad_provider_ops, 24);
AT(vc_vad_provider_ops, size, 0);
AT(vc_vad_provider_ops, window_8k, 4);
AT(vc_vad_provider_ops, window_16k, 8);
AT(vc_vad_provider_ops, reserved, 12);
AT(vc_vad_provider_ops, process, 16);

// service/clock.h
SIZE(vc_clock, 24);
AT(vc_clock, size, 0);
AT(vc_clock, reserved, 4);
AT(vc_clock, now_ns, 8);
AT(vc_clock, wall_ns, 16);

// service/config.h
SIZE(vc_config, 40);
AT(vc_config, size, 0);
AT(vc_config, reserved, 4);
AT(vc_config, text, 8);
AT(vc_config, integer, 16);
AT(vc_config, number, 24);
AT(vc_config, flag, 32);

// service/http.h
SIZE(vc_http_request, 80);
AT(vc_http_request, size, 0);
AT(vc_http_request, deadline_ms, 4);
AT(vc_http_request, epoch, 8);
AT(vc_http_request, method, 16);
AT(vc_http_request, url, 32);
AT(vc_http_request, headers, 48);
AT(vc_http_request, header_count, 56);
AT(vc_http_request, first_byte_ms, 60);
AT(vc_http_request, body, 64);

SIZE(vc_http_events, 32);
AT(vc_http_events, size, 0);
AT(vc_http_events, reserved, 4);
AT(vc_http_events, response, 8);
AT(vc_http_events, data, 16);
AT(vc_http_events, done, 24);

SIZE(vc_http, 32);
AT(vc_http, size, 0);
AT(vc_http, reserved, 4);
AT(vc_http, start, 8);
AT(vc_http, cancel, 16);
AT(vc_http, prewarm, 24);

// service/log.h
SIZE(vc_log, 24);
AT(vc_log, size, 0);
AT(vc_log, reserved, 4);
AT(vc_log, write, 8);
AT(vc_log, enabled, 16);

// service/media.h
SIZE(vc_media, 48);
AT(vc_media, size, 0);
AT(vc_media, reserved, 4);
AT(vc_media, open, 8);
AT(vc_media, answer, 16);
AT(vc_media, offer, 24);
AT(vc_media, accept, 32);
AT(vc_media, close, 40);

// service/metrics.h
SIZE(vc_metrics, 24);
AT(vc_metrics, size, 0);
AT(vc_metrics, reserved, 4);
AT(vc_metrics, define, 8);
AT(vc_metrics, record, 16);

// service/secret.h
SIZE(vc_secret, 16);
AT(vc_secret, size, 0);
AT(vc_secret, reserved, 4);
AT(vc_secret, with, 8);

// service/server.h
SIZE(vc_server_request, 104);
AT(vc_server_request, size, 0);
AT(vc_server_request, header_count, 4);
AT(vc_server_request, exchange, 8);
AT(vc_server_request, method, 16);
AT(vc_server_request, path, 32);
AT(vc_server_request, query, 48);
AT(vc_server_request, peer, 64);
AT(vc_server_request, headers, 80);
AT(vc_server_request, body, 88);

SIZE(vc_server, 32);
AT(vc_server, size, 0);
AT(vc_server, reserved, 4);
AT(vc_server, route, 8);
AT(vc_server, respond, 16);
AT(vc_server, upgrade, 24);

// service/task.h
SIZE(vc_task, 16);
AT(vc_task, size, 0);
AT(vc_task, reserved, 4);
AT(vc_task, run, 8);

// service/timer.h
SIZE(vc_timer, 24);
AT(vc_timer, size, 0);
AT(vc_timer, reserved, 4);
AT(vc_timer, arm, 8);
AT(vc_timer, disarm, 16);

// service/trace.h
SIZE(vc_trace, 32);
AT(vc_trace, size, 0);
AT(vc_trace, reserved, 4);
AT(vc_trace, begin, 8);
AT(vc_trace, end, 16);
AT(vc_trace, context, 24);

// service/ws.h
SIZE(vc_ws_connect, 56);
AT(vc_ws_connect, size, 0);
AT(vc_ws_connect, connect_ms, 4);
AT(vc_ws_connect, url, 8);
AT(vc_ws_connect, protocols, 24);
AT(vc_ws_connect, headers, 40);
AT(vc_ws_connect, header_count, 48);
AT(vc_ws_connect, ping_ms, 52);

SIZE(vc_ws_events, 40);
AT(vc_ws_events, size, 0);
AT(vc_ws_events, reserved, 4);
AT(vc_ws_events, opened, 8);
AT(vc_ws_events, message, 16);
AT(vc_ws_events, writable, 24);
AT(vc_ws_events, closed, 32);

SIZE(vc_ws, 32);
AT(vc_ws, size, 0);
AT(vc_ws, reserved, 4);
AT(vc_ws, connect, 8);
AT(vc_ws, send, 16);
AT(vc_ws, close, 24);

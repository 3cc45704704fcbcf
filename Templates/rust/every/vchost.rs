// The contract between vchost and a plugin, for Rust: written by scripts/rust-bindings from the headers of version
// 1.0, which are the specification. Do not change it by hand; what each thing means is said in the headers.
// SPDX-License-Identifier: Apache-2.0
#![allow(dead_code, non_camel_case_types, non_upper_case_globals)]

use std::ffi::c_void;
use std::os::raw::c_char;

// abi.h

pub const VC_ABI_MAJOR: u32 = 1;
pub const VC_ABI_MINOR: u32 = 0;

pub type vc_status = i32;

pub const VC_OK: vc_status = 0;
pub const VC_E_AGAIN: vc_status = -1;
pub const VC_E_CANCELED: vc_status = -2;
pub const VC_E_STALE: vc_status = -3;
pub const VC_E_CLOSED: vc_status = -4;
pub const VC_E_ARGUMENT: vc_status = -10;
pub const VC_E_STATE: vc_status = -11;
pub const VC_E_UNSUPPORTED: vc_status = -12;
pub const VC_E_NOT_FOUND: vc_status = -13;
pub const VC_E_CONFIG: vc_status = -20;
pub const VC_E_AUTH: vc_status = -21;
pub const VC_E_QUOTA: vc_status = -22;
pub const VC_E_NETWORK: vc_status = -23;
pub const VC_E_TIMEOUT: vc_status = -24;
pub const VC_E_VENDOR: vc_status = -25;
pub const VC_E_MEMORY: vc_status = -30;
pub const VC_E_CRASHED: vc_status = -31;
pub const VC_E_INTERNAL: vc_status = -32;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_str {
    pub data: *const c_char,
    pub length: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_field {
    pub name: vc_str,
    pub value: vc_str,
}

pub type vc_handle = u64;

pub type vc_self = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_error {
    pub size: u32,
    pub code: vc_status,
    pub retryable: u32,
    pub retry_after_ms: u32,
    pub protocol_status: u32,
    pub reserved: u32,
    pub message: vc_str,
    pub vendor: vc_str,
    pub vendor_code: vc_str,
}

// audio.h

pub const VC_FORMAT_S16: u32 = 1;
pub const VC_FORMAT_PCMU: u32 = 2;
pub const VC_FORMAT_PCMA: u32 = 3;
pub const VC_FORMAT_F32: u32 = 4;

pub const VC_FRAME_DISCONTINUITY: u32 = 1 << 0;
pub const VC_FRAME_CONCEALED: u32 = 1 << 1;
pub const VC_FRAME_LAST: u32 = 1 << 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_frame {
    pub size: u32,
    pub format: u32,
    pub rate_hz: u32,
    pub channels: u32,
    pub samples: u32,
    pub flags: u32,
    pub sequence: u64,
    pub position: u64,
    pub captured_ns: u64,
    pub epoch: u64,
    pub data: *const c_void,
    pub bytes: u64,
}

// event.h

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event {
    pub size: u32,
    pub type_: u32,
    pub flags: u32,
    pub reserved: u32,
    pub epoch: u64,
    pub request: u64,
}

pub const VC_EVENT_OPTIONAL: u32 = 1 << 0;

pub const VC_EVENT_READY: u32 = 1;
pub const VC_EVENT_ERROR: u32 = 2;
pub const VC_EVENT_CANCELED: u32 = 3;
pub const VC_EVENT_CLOSED: u32 = 4;
pub const VC_EVENT_DRAINED: u32 = 5;
pub const VC_EVENT_TELEPHONY: u32 = 100;
pub const VC_EVENT_STT: u32 = 200;
pub const VC_EVENT_TURN: u32 = 300;
pub const VC_EVENT_LLM: u32 = 400;
pub const VC_EVENT_TTS: u32 = 500;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_error {
    pub head: vc_event,
    pub error: *const vc_error,
    pub fatal: u32,
    pub reserved: u32,
}

// host.h

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_host {
    pub size: u32,
    pub minor: u32,
    pub emit: unsafe extern "C" fn(object: vc_handle, event: *const vc_event) -> vc_status,
    pub service: unsafe extern "C" fn(id: *const c_char) -> *const c_void,
}

// session.h

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_open {
    pub size: u32,
    pub rate_hz: u32,
    pub session: vc_handle,
    pub epoch: u64,
    pub call: vc_str,
    pub leg: vc_str,
    pub tenant: vc_str,
    pub language: vc_str,
    pub config: vc_str,
    pub kind: *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_session_ops {
    pub size: u32,
    pub reserved: u32,
    pub cancel: Option<unsafe extern "C" fn(self_: vc_self, epoch: u64)>,
    pub credit: Option<unsafe extern "C" fn(self_: vc_self, events: u32, bytes: u64)>,
    pub close: Option<unsafe extern "C" fn(self_: vc_self)>,
    pub destroy: Option<unsafe extern "C" fn(self_: vc_self)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_session {
    pub size: u32,
    pub reserved: u32,
    pub state: vc_self,
    pub ops: *const vc_session_ops,
    pub kind_ops: *const c_void,
}

// plugin.h

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_create {
    pub size: u32,
    pub reserved: u32,
    pub provider: vc_handle,
    pub name: vc_str,
    pub config: vc_str,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_provider {
    pub size: u32,
    pub reserved: u32,
    pub kind: vc_str,
    pub id: vc_str,
    pub create: Option<unsafe extern "C" fn(request: *const vc_create, self_: *mut vc_self, error: *mut vc_error) -> vc_status>,
    pub start: Option<unsafe extern "C" fn(self_: vc_self, error: *mut vc_error) -> vc_status>,
    pub drain: Option<unsafe extern "C" fn(self_: vc_self)>,
    pub destroy: Option<unsafe extern "C" fn(self_: vc_self)>,
    pub open: Option<unsafe extern "C" fn(self_: vc_self, request: *const vc_open, session: *mut vc_session, error: *mut vc_error) -> vc_status>,
    pub kind_ops: *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_module {
    pub size: u32,
    pub minor: u32,
    pub host_minor_min: u32,
    pub provider_count: u32,
    pub providers: *const *const vc_provider,
}

pub type vc_plugin_entry_fn = unsafe extern "C" fn(host: *const vc_host, module: *mut *const vc_module) -> vc_status;

// kind/llm.h

pub const VC_KIND_LLM: &str = "vc.llm/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_llm_request {
    pub size: u32,
    pub flags: u32,
    pub request: u64,
    pub epoch: u64,
    pub messages: vc_str,
    pub tools: vc_str,
    pub options: vc_str,
}

pub const VC_LLM_SPECULATIVE: u32 = 1 << 0;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_llm_ops {
    pub size: u32,
    pub reserved: u32,
    pub request: Option<unsafe extern "C" fn(self_: vc_self, request: *const vc_llm_request) -> vc_status>,
    pub tool_result: Option<unsafe extern "C" fn(self_: vc_self, request: u64, call: vc_str, result: vc_str) -> vc_status>,
}

pub const VC_EVENT_DELTA: u32 = VC_EVENT_LLM + 0;
pub const VC_EVENT_TOOL_CALL: u32 = VC_EVENT_LLM + 1;
pub const VC_EVENT_USAGE: u32 = VC_EVENT_LLM + 2;
pub const VC_EVENT_LLM_DONE: u32 = VC_EVENT_LLM + 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_delta {
    pub head: vc_event,
    pub text: vc_str,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_tool_call {
    pub head: vc_event,
    pub call: vc_str,
    pub name: vc_str,
    pub arguments: vc_str,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_usage {
    pub head: vc_event,
    pub input_tokens: u64,
    pub cached_tokens: u64,
    pub output_tokens: u64,
}

pub const VC_LLM_STOP: u32 = 1;
pub const VC_LLM_LENGTH: u32 = 2;
pub const VC_LLM_TOOL: u32 = 3;
pub const VC_LLM_CANCELED: u32 = 4;
pub const VC_LLM_DECLINED: u32 = 5;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_llm_done {
    pub head: vc_event,
    pub reason: u32,
    pub reserved: u32,
}

// kind/stt.h

pub const VC_KIND_STT: &str = "vc.stt/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_stt_ops {
    pub size: u32,
    pub reserved: u32,
    pub begin: Option<unsafe extern "C" fn(self_: vc_self, utterance: u64, position: u64) -> vc_status>,
    pub push: Option<unsafe extern "C" fn(self_: vc_self, frame: *const vc_frame) -> vc_status>,
    pub finalize: Option<unsafe extern "C" fn(self_: vc_self, request: u64, position: u64, flags: u32) -> vc_status>,
}

pub const VC_STT_TENTATIVE: u32 = 1 << 0;

pub const VC_EVENT_TRANSCRIPT: u32 = VC_EVENT_STT + 0;
pub const VC_EVENT_FINALIZED: u32 = VC_EVENT_STT + 1;
pub const VC_EVENT_STT_TURN: u32 = VC_EVENT_STT + 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_word {
    pub text: vc_str,
    pub start: u64,
    pub end: u64,
    pub confidence: f32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_transcript {
    pub head: vc_event,
    pub utterance: u64,
    pub start: u64,
    pub end: u64,
    pub text: vc_str,
    pub language: vc_str,
    pub final_: u32,
    pub confidence: f32,
    pub stability: f32,
    pub word_count: u32,
    pub words: *const vc_word,
}

pub const VC_STT_TURN_START: u32 = 1;
pub const VC_STT_TURN_EAGER: u32 = 2;
pub const VC_STT_TURN_RESUMED: u32 = 3;
pub const VC_STT_TURN_END: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_stt_turn {
    pub head: vc_event,
    pub utterance: u64,
    pub position: u64,
    pub text: vc_str,
    pub turn: u32,
    pub confidence: f32,
}

// kind/telephony.h

pub const VC_KIND_TELEPHONY: &str = "vc.telephony/1";

pub const VC_CALL_INBOUND: u32 = 1;
pub const VC_CALL_OUTBOUND: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_telephony_open {
    pub size: u32,
    pub direction: u32,
    pub key: vc_str,
    pub to: vc_str,
    pub from: vc_str,
    pub headers: *const vc_field,
    pub header_count: u32,
    pub ring_timeout_ms: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_telephony_frames_ops {
    pub size: u32,
    pub reserved: u32,
    pub play: Option<unsafe extern "C" fn(self_: vc_self, frame: *const vc_frame) -> vc_status>,
    pub mark: Option<unsafe extern "C" fn(self_: vc_self, mark: u64) -> vc_status>,
    pub flush: Option<unsafe extern "C" fn(self_: vc_self) -> vc_status>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_telephony_ops {
    pub size: u32,
    pub reserved: u32,
    pub ringing: Option<unsafe extern "C" fn(self_: vc_self) -> vc_status>,
    pub answer: Option<unsafe extern "C" fn(self_: vc_self) -> vc_status>,
    pub hangup: Option<unsafe extern "C" fn(self_: vc_self, code: u32, reason: vc_str) -> vc_status>,
    pub transfer: Option<unsafe extern "C" fn(self_: vc_self, target: vc_str) -> vc_status>,
    pub hold: Option<unsafe extern "C" fn(self_: vc_self, on: u32) -> vc_status>,
    pub dtmf: Option<unsafe extern "C" fn(self_: vc_self, digits: vc_str) -> vc_status>,
    pub frames: *const vc_telephony_frames_ops,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_telephony_provider_ops {
    pub size: u32,
    pub reserved: u32,
    pub decline: Option<unsafe extern "C" fn(self_: vc_self, key: vc_str, code: u32, retry_after_s: u32) -> vc_status>,
}

pub const VC_EVENT_INCOMING: u32 = VC_EVENT_TELEPHONY + 0;
pub const VC_EVENT_WITHDRAWN: u32 = VC_EVENT_TELEPHONY + 1;
pub const VC_EVENT_RINGING: u32 = VC_EVENT_TELEPHONY + 2;
pub const VC_EVENT_ANSWERED: u32 = VC_EVENT_TELEPHONY + 3;
pub const VC_EVENT_HANGUP: u32 = VC_EVENT_TELEPHONY + 4;
pub const VC_EVENT_FRAME: u32 = VC_EVENT_TELEPHONY + 5;
pub const VC_EVENT_PLAYED: u32 = VC_EVENT_TELEPHONY + 6;
pub const VC_EVENT_DTMF: u32 = VC_EVENT_TELEPHONY + 7;
pub const VC_EVENT_HELD: u32 = VC_EVENT_TELEPHONY + 8;
pub const VC_EVENT_TRANSFERRED: u32 = VC_EVENT_TELEPHONY + 9;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_incoming {
    pub head: vc_event,
    pub key: vc_str,
    pub from: vc_str,
    pub display: vc_str,
    pub to: vc_str,
    pub peer: vc_str,
    pub protocol_call: vc_str,
    pub headers: *const vc_field,
    pub header_count: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_withdrawn {
    pub head: vc_event,
    pub key: vc_str,
}

pub const VC_HANGUP_CALLER: u32 = 1;
pub const VC_HANGUP_AGENT: u32 = 2;
pub const VC_HANGUP_CANCELED: u32 = 3;
pub const VC_HANGUP_REFUSED: u32 = 4;
pub const VC_HANGUP_NO_ANSWER: u32 = 5;
pub const VC_HANGUP_FAILED: u32 = 6;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_hangup {
    pub head: vc_event,
    pub cause: u32,
    pub code: u32,
    pub reason: vc_str,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_frame {
    pub head: vc_event,
    pub frame: *const vc_frame,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_played {
    pub head: vc_event,
    pub mark: u64,
    pub cleared: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_dtmf {
    pub head: vc_event,
    pub digits: vc_str,
    pub duration_ms: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_held {
    pub head: vc_event,
    pub on: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_transferred {
    pub head: vc_event,
    pub succeeded: u32,
    pub code: u32,
    pub reason: vc_str,
}

// kind/tts.h

pub const VC_KIND_TTS: &str = "vc.tts/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_tts_ops {
    pub size: u32,
    pub reserved: u32,
    pub speak: Option<unsafe extern "C" fn(self_: vc_self, request: u64, epoch: u64, text: vc_str, flags: u32) -> vc_status>,
}

pub const VC_TTS_LAST: u32 = 1 << 0;

pub const VC_EVENT_AUDIO: u32 = VC_EVENT_TTS + 0;
pub const VC_EVENT_MARK: u32 = VC_EVENT_TTS + 1;
pub const VC_EVENT_TTS_DONE: u32 = VC_EVENT_TTS + 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_audio {
    pub head: vc_event,
    pub frame: *const vc_frame,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_mark {
    pub head: vc_event,
    pub text_start: u64,
    pub text_end: u64,
    pub position: u64,
    pub end: u64,
}

pub const VC_TTS_COMPLETE: u32 = 1;
pub const VC_TTS_CANCELED: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_tts_done {
    pub head: vc_event,
    pub reason: u32,
    pub reserved: u32,
    pub samples: u64,
}

// kind/turn.h

pub const VC_KIND_TURN: &str = "vc.turn/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_turn_ops {
    pub size: u32,
    pub reserved: u32,
    pub push: Option<unsafe extern "C" fn(self_: vc_self, frame: *const vc_frame) -> vc_status>,
    pub transcript: Option<unsafe extern "C" fn(self_: vc_self, text: vc_str, final_: u32) -> vc_status>,
    pub decide: Option<unsafe extern "C" fn(self_: vc_self, request: u64, position: u64) -> vc_status>,
}

pub const VC_EVENT_VERDICT: u32 = VC_EVENT_TURN + 0;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_event_verdict {
    pub head: vc_event,
    pub probability: f32,
    pub backchannel: f32,
}

// kind/vad.h

pub const VC_KIND_VAD: &str = "vc.vad/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_vad_row {
    pub session: vc_self,
    pub samples: *const i16,
    pub probability: f32,
    pub flags: u32,
}

pub const VC_VAD_ROW_RESET: u32 = 1 << 0;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_vad_batch {
    pub size: u32,
    pub rate_hz: u32,
    pub samples: u32,
    pub row_count: u32,
    pub row_stride: u32,
    pub reserved: u32,
    pub rows: *mut vc_vad_row,
    pub deadline_ns: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_vad_provider_ops {
    pub size: u32,
    pub window_8k: u32,
    pub window_16k: u32,
    pub reserved: u32,
    pub process: Option<unsafe extern "C" fn(self_: vc_self, batch: *const vc_vad_batch) -> vc_status>,
}

// service/clock.h

pub const VC_SERVICE_CLOCK: &str = "vc.clock/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_clock {
    pub size: u32,
    pub reserved: u32,
    pub now_ns: unsafe extern "C" fn() -> u64,
    pub wall_ns: unsafe extern "C" fn() -> u64,
}

// service/config.h

pub const VC_SERVICE_CONFIG: &str = "vc.config/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_config {
    pub size: u32,
    pub reserved: u32,
    pub text: unsafe extern "C" fn(object: vc_handle, key: *const c_char, value: *mut vc_str) -> vc_status,
    pub integer: unsafe extern "C" fn(object: vc_handle, key: *const c_char, value: *mut i64) -> vc_status,
    pub number: unsafe extern "C" fn(object: vc_handle, key: *const c_char, value: *mut f64) -> vc_status,
    pub flag: unsafe extern "C" fn(object: vc_handle, key: *const c_char, value: *mut u32) -> vc_status,
}

// service/http.h

pub const VC_SERVICE_HTTP: &str = "vc.http/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_http_request {
    pub size: u32,
    pub deadline_ms: u32,
    pub epoch: u64,
    pub method: vc_str,
    pub url: vc_str,
    pub headers: *const vc_field,
    pub header_count: u32,
    pub first_byte_ms: u32,
    pub body: vc_str,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_http_events {
    pub size: u32,
    pub reserved: u32,
    pub response: Option<unsafe extern "C" fn(context: *mut c_void, request: vc_handle, http_status: u32, headers: *const vc_field, header_count: u32)>,
    pub data: Option<unsafe extern "C" fn(context: *mut c_void, request: vc_handle, bytes: vc_str)>,
    pub done: Option<unsafe extern "C" fn(context: *mut c_void, request: vc_handle, error: *const vc_error)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_http {
    pub size: u32,
    pub reserved: u32,
    pub start: unsafe extern "C" fn(owner: vc_handle, request: *const vc_http_request, events: *const vc_http_events, context: *mut c_void, handle: *mut vc_handle) -> vc_status,
    pub cancel: unsafe extern "C" fn(handle: vc_handle) -> vc_status,
    pub prewarm: unsafe extern "C" fn(owner: vc_handle, url: vc_str),
}

// service/log.h

pub const VC_SERVICE_LOG: &str = "vc.log/1";

pub const VC_LOG_DEBUG: u32 = 1;
pub const VC_LOG_INFO: u32 = 2;
pub const VC_LOG_WARNING: u32 = 3;
pub const VC_LOG_ERROR: u32 = 4;
pub const VC_LOG_HOST_FAULT: u32 = 5;
pub const VC_LOG_PLUGIN_FAULT: u32 = 6;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_log {
    pub size: u32,
    pub reserved: u32,
    pub write: unsafe extern "C" fn(object: vc_handle, level: u32, message: vc_str, fields: *const vc_field, field_count: u32),
    pub enabled: unsafe extern "C" fn(level: u32) -> u32,
}

// service/media.h

pub const VC_SERVICE_MEDIA: &str = "vc.media/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_media {
    pub size: u32,
    pub reserved: u32,
    pub open: unsafe extern "C" fn(session: vc_handle, media: *mut vc_handle) -> vc_status,
    pub answer: unsafe extern "C" fn(media: vc_handle, offer: vc_str, answer: *mut vc_str, error: *mut vc_error) -> vc_status,
    pub offer: unsafe extern "C" fn(media: vc_handle, offer: *mut vc_str, error: *mut vc_error) -> vc_status,
    pub accept: unsafe extern "C" fn(media: vc_handle, answer: vc_str, error: *mut vc_error) -> vc_status,
    pub close: unsafe extern "C" fn(media: vc_handle) -> vc_status,
}

// service/metrics.h

pub const VC_SERVICE_METRICS: &str = "vc.metrics/1";

pub const VC_METRIC_COUNTER: u32 = 1;
pub const VC_METRIC_GAUGE: u32 = 2;
pub const VC_METRIC_HISTOGRAM: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_metrics {
    pub size: u32,
    pub reserved: u32,
    pub define: unsafe extern "C" fn(provider: vc_handle, type_: u32, name: *const c_char, help: *const c_char, metric: *mut vc_handle) -> vc_status,
    pub record: unsafe extern "C" fn(metric: vc_handle, value: f64),
}

// service/secret.h

pub const VC_SERVICE_SECRET: &str = "vc.secret/1";

pub type vc_secret_fn = unsafe extern "C" fn(context: *mut c_void, secret: vc_str);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_secret {
    pub size: u32,
    pub reserved: u32,
    pub with: unsafe extern "C" fn(object: vc_handle, name: *const c_char, use_: vc_secret_fn, context: *mut c_void) -> vc_status,
}

// service/ws.h

pub const VC_SERVICE_WS: &str = "vc.ws/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_ws_connect {
    pub size: u32,
    pub connect_ms: u32,
    pub url: vc_str,
    pub protocols: vc_str,
    pub headers: *const vc_field,
    pub header_count: u32,
    pub ping_ms: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_ws_events {
    pub size: u32,
    pub reserved: u32,
    pub opened: Option<unsafe extern "C" fn(context: *mut c_void, socket: vc_handle)>,
    pub message: Option<unsafe extern "C" fn(context: *mut c_void, socket: vc_handle, bytes: vc_str, binary: u32)>,
    pub writable: Option<unsafe extern "C" fn(context: *mut c_void, socket: vc_handle)>,
    pub closed: Option<unsafe extern "C" fn(context: *mut c_void, socket: vc_handle, code: u32, reason: vc_str, error: *const vc_error)>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_ws {
    pub size: u32,
    pub reserved: u32,
    pub connect: unsafe extern "C" fn(owner: vc_handle, request: *const vc_ws_connect, events: *const vc_ws_events, context: *mut c_void, socket: *mut vc_handle) -> vc_status,
    pub send: unsafe extern "C" fn(socket: vc_handle, bytes: vc_str, binary: u32) -> vc_status,
    pub close: unsafe extern "C" fn(socket: vc_handle, code: u32, reason: vc_str) -> vc_status,
}

// service/server.h

pub const VC_SERVICE_SERVER: &str = "vc.server/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_server_request {
    pub size: u32,
    pub header_count: u32,
    pub exchange: vc_handle,
    pub method: vc_str,
    pub path: vc_str,
    pub query: vc_str,
    pub peer: vc_str,
    pub headers: *const vc_field,
    pub body: vc_str,
}

pub type vc_server_request_fn = unsafe extern "C" fn(context: *mut c_void, request: *const vc_server_request);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_server {
    pub size: u32,
    pub reserved: u32,
    pub route: unsafe extern "C" fn(provider: vc_handle, path: *const c_char, handle: vc_server_request_fn, context: *mut c_void) -> vc_status,
    pub respond: unsafe extern "C" fn(exchange: vc_handle, http_status: u32, headers: *const vc_field, header_count: u32, body: vc_str) -> vc_status,
    pub upgrade: unsafe extern "C" fn(exchange: vc_handle, owner: vc_handle, protocol: *const c_char, events: *const vc_ws_events, context: *mut c_void, socket: *mut vc_handle) -> vc_status,
}

// service/task.h

pub const VC_SERVICE_TASK: &str = "vc.task/1";

pub type vc_task_fn = unsafe extern "C" fn(context: *mut c_void);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_task {
    pub size: u32,
    pub reserved: u32,
    pub run: unsafe extern "C" fn(owner: vc_handle, work: vc_task_fn, context: *mut c_void) -> vc_status,
}

// service/timer.h

pub const VC_SERVICE_TIMER: &str = "vc.timer/1";

pub type vc_timer_fn = unsafe extern "C" fn(context: *mut c_void, timer: vc_handle);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_timer {
    pub size: u32,
    pub reserved: u32,
    pub arm: unsafe extern "C" fn(owner: vc_handle, at_ns: u64, fire: vc_timer_fn, context: *mut c_void, timer: *mut vc_handle) -> vc_status,
    pub disarm: unsafe extern "C" fn(timer: vc_handle) -> vc_status,
}

// service/trace.h

pub const VC_SERVICE_TRACE: &str = "vc.trace/1";

#[repr(C)]
#[derive(Clone, Copy)]
pub struct vc_trace {
    pub size: u32,
    pub reserved: u32,
    pub begin: unsafe extern "C" fn(session: vc_handle, request: u64, name: *const c_char, span: *mut vc_handle) -> vc_status,
    pub end: unsafe extern "C" fn(span: vc_handle, detail: vc_str),
    pub context: unsafe extern "C" fn(session: vc_handle, traceparent: *mut vc_str) -> vc_status,
}

// The voice of tts.c once more, as Rust writes it, with the faults that only Rust can commit: a fault is a cfg
// here. No crates, and no newer language than Debian 12's compiler has.
// SPDX-License-Identifier: Apache-2.0
//
// What is Rust here: every slot borrows its session through one function, and none of them can panic as it stands. A
// panic does not leave an `extern "C"` function: it ends the process.
#![allow(non_camel_case_types)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::os::raw::c_char;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::sync::Mutex;
use std::thread;

// The part of the headers that a voice needs.

type Handle = u64;
type Status = i32;
const OK: Status = 0;
const E_AGAIN: Status = -1;
const E_CANCELED: Status = -2;
const E_CLOSED: Status = -4;
const E_UNSUPPORTED: Status = -12;
const E_INTERNAL: Status = -32;
const READY: u32 = 1;
const CANCELED: u32 = 3;
const CLOSED: u32 = 4;
const DRAINED: u32 = 5;
const AUDIO: u32 = 500;
const DONE: u32 = 502;

#[repr(C)]
#[derive(Clone, Copy)]
struct Str { data: *const u8, length: u64 }
#[repr(C)]
struct Error { size: u32, code: Status, details: [u32; 4], message: Str, vendor: Str, vendor_code: Str }
#[repr(C)]
struct Create { size: u32, reserved: u32, provider: Handle, name: Str, config: Str }
#[repr(C)]
struct Open { size: u32, rate_hz: u32, session: Handle, epoch: u64 }
#[repr(C)]
struct Event { size: u32, kind: u32, flags: u32, reserved: u32, epoch: u64, request: u64 }
#[repr(C)]
struct Frame { size: u32, format: u32, rate_hz: u32, channels: u32, samples: u32, flags: u32, sequence: u64,
    position: u64, captured_ns: u64, epoch: u64, data: *const i16, bytes: u64 }
#[repr(C)]
struct AudioEvent { head: Event, frame: *const Frame }
#[repr(C)]
struct DoneEvent { head: Event, reason: u32, reserved: u32, samples: u64 }
#[repr(C)]
struct Host { size: u32, minor: u32, emit: unsafe extern "C" fn(Handle, *const Event) -> Status,
    service: unsafe extern "C" fn(*const c_char) -> *const c_void }
#[repr(C)]
struct Config { size: u32, reserved: u32, text: *const c_void,
    integer: unsafe extern "C" fn(Handle, *const c_char, *mut i64) -> Status }
#[repr(C)]
struct Opened { size: u32, reserved: u32, state: *mut c_void, ops: *const SessionOps, kind_ops: *const VoiceOps }
#[repr(C)]
struct SessionOps { size: u32, reserved: u32, cancel: unsafe extern "C" fn(*mut Session, u64),
    credit: unsafe extern "C" fn(*mut Session, u32, u64), close: unsafe extern "C" fn(*mut Session),
    destroy: unsafe extern "C" fn(*mut Session) }
#[repr(C)]
struct VoiceOps { size: u32, reserved: u32, speak: unsafe extern "C" fn(*mut Session, u64, u64, Str, u32) -> Status }
#[repr(C)]
struct ProviderTable { size: u32, reserved: u32, kind: Str, id: Str,
    create: unsafe extern "C" fn(*const Create, *mut *mut c_void, *mut Error) -> Status, start: *const c_void,
    drain: unsafe extern "C" fn(*mut Provider), destroy: unsafe extern "C" fn(*mut Provider),
    open: unsafe extern "C" fn(*mut Provider, *const Open, *mut Opened, *mut Error) -> Status, kind_ops: *const c_void }
#[repr(C)]
struct Module { size: u32, minor: u32, host_minor_min: u32, provider_count: u32, providers: *const *const ProviderTable }

/// Tables of pointers that are never written.
#[repr(transparent)]
struct Constant<T>(T);
unsafe impl<T> Sync for Constant<T> {}

const fn size<T>() -> u32 { std::mem::size_of::<T>() as u32 }
const fn literal(text: &'static str) -> Str { Str { data: text.as_ptr(), length: text.len() as u64 } }

static HOST: AtomicPtr<Host> = AtomicPtr::new(std::ptr::null_mut());

fn emit(object: Handle, event: *const Event) -> Status { unsafe { ((*HOST.load(SeqCst)).emit)(object, event) } }

fn head<T>(kind: u32, epoch: u64, request: u64) -> Event {
    Event { size: size::<T>(), kind, flags: 0, reserved: 0, epoch, request }
}

// The voice.

const REQUESTS_MAX: usize = 64;

struct Provider { handle: Handle, word_ms: u32, sessions: u32, is_draining: bool }

impl Provider {
    fn say_when_drained(&self) {
        if self.is_draining && self.sessions == 0 { emit(self.handle, &head::<Event>(DRAINED, 0, 0)); }
    }
}

struct Request { number: u64, epoch: u64, text: Vec<u8>, said: usize, left: usize, position: u64, is_complete: bool }

impl Request {
    /// Takes the next word. False: there is none yet, or none any more.
    fn begin_word(&mut self, samples: usize) -> bool {
        let start = match self.text[self.said..].iter().position(|&byte| byte != b' ') {
            Some(blanks) => self.said + blanks,
            None => return false,
        };
        let end = self.text[start..].iter().position(|&byte| byte == b' ').map(|length| start + length);
        if end.is_none() && !self.is_complete { return false }
        self.said = end.unwrap_or(self.text.len());
        self.left = samples;
        true
    }
}

/// What `cancel` touches, on any thread, is atomic and stands apart from what the control calls change.
struct Session { owner: *mut Provider, handle: Handle, rate_hz: u32, epoch: AtomicU64, is_closed: AtomicBool, work: Work,
    log: Mutex<Vec<u8>>, state: RefCell<u64> }
struct Work { sequence: u64, requests: VecDeque<Request> }

// What some of the faults need.

thread_local! { static CURRENT: Cell<Handle> = Cell::new(0); }

/// It owns itself, and what it holds is never given back.
struct Cycle { itself: RefCell<Option<Rc<Cycle>>>, _buffer: [u8; 4096] }

fn forget_to_break_the_cycle() {
    let cycle = Rc::new(Cycle { itself: RefCell::new(None), _buffer: [0; 4096] });
    *cycle.itself.borrow_mut() = Some(cycle.clone());
}

/// A function with a plain name, which every library of the process can now call, or be called instead of.
#[cfg(BREAK_VC_ELF_29)]
#[no_mangle]
pub extern "C" fn voice_version() -> u32 { 1 }

unsafe extern "C" fn speak(session: *mut Session, number: u64, epoch: u64, text: Str, flags: u32) -> Status {
    let text = if text.length == 0 { &[][..] } else { std::slice::from_raw_parts(text.data, text.length as usize) };
    if cfg!(BREAK_VC_ENVI_01) { println!("speaking {} bytes", text.len()); }
    // It does not leave this function, but it has said so on stderr before it was caught.
    if cfg!(BREAK_VC_ENVI_02) && catch_unwind(|| panic!("no such voice")).is_err() { CURRENT.with(|it| it.set(0)) }
    if cfg!(BREAK_VC_ABI_10) {
        match flags { 0 | 1 => {}, _ => unreachable!("flags {}", flags) }
    }
    if cfg!(BREAK_VC_THR_01) && CURRENT.with(|it| it.get()) != (*session).handle { return E_CLOSED }
    if cfg!(BREAK_VC_ROB_01) {
        // The panic is caught, and the lock that it held is poisoned: from now on there is nothing but panics.
        let log = &(*session).log;
        let first = || { let mut log = log.lock().unwrap(); log.push(*text.iter().find(|it| it.is_ascii_alphanumeric() || **it >= 0x80).unwrap()) };
        if catch_unwind(std::panic::AssertUnwindSafe(first)).is_err() { return E_INTERNAL }
    }
    if cfg!(BREAK_VC_ROB_03) { (*session).log.lock().unwrap().resize(u16::try_from(text.len()).unwrap() as usize, 0) }
    let mut guard = if cfg!(BREAK_VC_THR_04) { Some((*session).state.borrow_mut()) } else { None };
    if let Some(state) = guard.as_mut() { **state = number }
    if cfg!(BREAK_VC_ROB_02) && text.len() >= 3 && &std::str::from_utf8_unchecked(text)[..3] == "..." { return OK }
    if (*session).is_closed.load(SeqCst) { return E_CLOSED }
    let requests = &mut (*session).work.requests;
    let is_new = requests.back().map_or(true, |last| last.number != number || last.is_complete);
    if is_new {
        if requests.len() == REQUESTS_MAX { return E_AGAIN }
        requests.push_back(
            Request { number, epoch, text: Vec::new(), said: 0, left: 0, position: 0, is_complete: false });
    }
    if let Some(last) = requests.back_mut() {
        last.text.extend_from_slice(text);
        last.is_complete = flags & 1 != 0;
    }
    advance(session);
    OK
}

unsafe fn advance(session: *mut Session) {
    let (handle, rate_hz) = ((*session).handle, (*session).rate_hz);
    let word_samples = (rate_hz / 1000 * (*(*session).owner).word_ms) as usize;
    let epoch = &(*session).epoch;
    let work = &mut (*session).work;
    while let Some(request) = work.requests.front_mut() {
        let mut status = if request.epoch < epoch.load(SeqCst) { E_CANCELED } else { OK };
        while status == OK && (request.left > 0 || request.begin_word(word_samples)) {
            status = say(handle, rate_hz, &mut work.sequence, request);
        }
        if status == E_AGAIN || (status == OK && !request.is_complete) { return }
        let done = DoneEvent { head: head::<DoneEvent>(DONE, request.epoch, request.number),
            reason: if status == OK { 1 } else { 2 }, reserved: 0, samples: request.position };
        emit(handle, &done.head);
        work.requests.pop_front();
    }
}

/// 20 ms of the word.
fn say(handle: Handle, rate_hz: u32, sequence: &mut u64, request: &mut Request) -> Status {
    let count = request.left.min(rate_hz as usize / 50);
    let samples: Vec<i16> = (0..count as u64)
        .map(|index| if (request.position + index) % 20 < 10 { 4000 } else { -4000 }).collect();
    let frame = Frame { size: size::<Frame>(), format: 1, rate_hz, channels: 1, samples: count as u32, flags: 0,
        sequence: *sequence, position: request.position, captured_ns: 0, epoch: request.epoch, data: samples.as_ptr(),
        bytes: count as u64 * 2 };
    let event = AudioEvent { head: head::<AudioEvent>(AUDIO, request.epoch, request.number), frame: &frame };
    let status = emit(handle, &event.head);
    if status == OK {
        *sequence += 1;
        request.position += count as u64;
        request.left -= count;
    }
    status
}

unsafe extern "C" fn cancel(session: *mut Session, epoch: u64) {
    if cfg!(BREAK_VC_THR_04) { *(*session).state.borrow_mut() = epoch }
    let known = (*session).epoch.fetch_max(epoch, SeqCst);
    if known < epoch && !(*session).is_closed.load(SeqCst) {
        emit((*session).handle, &head::<Event>(CANCELED, epoch, 0));
    }
}

unsafe extern "C" fn credit(session: *mut Session, _events: u32, _bytes: u64) { advance(session) }

unsafe extern "C" fn close(session: *mut Session) {
    (*session).is_closed.store(true, SeqCst);
    (*session).work.requests.clear();
    emit((*session).handle, &head::<Event>(CLOSED, (*session).epoch.load(SeqCst), 0));
}

unsafe extern "C" fn destroy_session(session: *mut Session) {
    let (owner, handle) = ((*session).owner, (*session).handle);
    if cfg!(BREAK_VC_LIFE_31) { thread::spawn(move || emit(handle, &head::<Event>(CANCELED, 1 << 40, 0))); }
    drop(Box::from_raw(session));
    (*owner).sessions -= 1;
    (*owner).say_when_drained();
}

unsafe extern "C" fn create(request: *const Create, out: *mut *mut c_void, _error: *mut Error) -> Status {
    if cfg!(BREAK_VC_LOAD_03) { drop(std::env::var("HOME").unwrap()) }
    if cfg!(BREAK_VC_LOAD_15) { drop(std::fs::File::open("/dev/urandom").unwrap()) }
    let mut word_ms = 200i64;
    let config = ((*HOST.load(SeqCst)).service)(b"vc.config/1\0".as_ptr() as *const c_char) as *const Config;
    if !config.is_null() {
        ((*config).integer)((*request).provider, b"word_ms\0".as_ptr() as *const c_char, &mut word_ms);
    }
    let provider =
        Provider { handle: (*request).provider, word_ms: word_ms as u32, sessions: 0, is_draining: false };
    *out = Box::into_raw(Box::new(provider)) as *mut c_void;
    OK
}

unsafe extern "C" fn drain(provider: *mut Provider) {
    (*provider).is_draining = true;
    (*provider).say_when_drained();
}

unsafe extern "C" fn destroy(provider: *mut Provider) { drop(Box::from_raw(provider)) }

unsafe extern "C" fn open(
    provider: *mut Provider, request: *const Open, out: *mut Opened, error: *mut Error,
) -> Status {
    let request = &*request;
    if request.rate_hz != 8000 && request.rate_hz != 16000 {
        (*error).code = E_UNSUPPORTED;
        (*error).message = literal("the voice speaks at 8000 and 16000 Hz; open it with one of them");
        return E_UNSUPPORTED;
    }
    (*provider).sessions += 1;
    if cfg!(BREAK_VC_THR_01) { CURRENT.with(|it| it.set(request.session)) }
    if cfg!(BREAK_VC_MEM_06) { forget_to_break_the_cycle() }
    if cfg!(BREAK_VC_MEM_09) { thread::spawn(|| loop { thread::park() }); }
    let session = Session { owner: provider, handle: request.session, rate_hz: request.rate_hz,
        epoch: AtomicU64::new(request.epoch), is_closed: AtomicBool::new(false),
        work: Work { sequence: 0, requests: VecDeque::new() }, log: Mutex::new(Vec::new()), state: RefCell::new(0) };
    (*out).state = Box::into_raw(Box::new(session)) as *mut c_void;
    (*out).ops = &SESSION_OPS;
    (*out).kind_ops = &VOICE_OPS;
    emit(request.session, &head::<Event>(READY, request.epoch, 0));
    OK
}

static SESSION_OPS: SessionOps =
    SessionOps { size: size::<SessionOps>(), reserved: 0, cancel, credit, close, destroy: destroy_session };
static VOICE_OPS: VoiceOps = VoiceOps { size: size::<VoiceOps>(), reserved: 0, speak };
static PROVIDER: Constant<ProviderTable> = Constant(ProviderTable { size: size::<ProviderTable>(), reserved: 0,
    kind: literal("vc.tts/1"), id: literal("org.vchost.good"), create, start: std::ptr::null(), drain, destroy, open,
    kind_ops: std::ptr::null() });
static PROVIDERS: Constant<[*const ProviderTable; 1]> = Constant([&PROVIDER.0]);
static MODULE: Constant<Module> = Constant(Module { size: size::<Module>(), minor: 0, host_minor_min: 0,
    provider_count: 1, providers: &PROVIDERS.0 as *const *const ProviderTable });

#[no_mangle]
unsafe extern "C" fn vc_plugin_entry_v1(host: *mut Host, out: *mut *const Module) -> Status {
    HOST.store(host, SeqCst);
    *out = &MODULE.0;
    OK
}

// The line to the host: sessions, events, requests to the vendor. All that is unsafe is here and in the tables of
// plugin-name.rs, and all that is of one kind is not.
//
// The host calls a session by one slot at a time, answers of the vendor included, so `Work` needs no lock; only
// `cancel` may come at any moment, and it touches nothing but an atomic. A panic never crosses the line: it becomes
// VC_E_INTERNAL, and the session goes on as far as it can.

use crate::vchost::*;
use crate::vendor::Vendor;
use crate::Work;
use std::cell::UnsafeCell;
use std::ffi::{c_void, CString};
use std::mem::{size_of, zeroed};
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::sync::Mutex;

/// As much as is kept of one answer: four minutes of speech at 16 kHz, or more words than anybody listens to.
const ANSWER_BYTES_MAX: usize = 8 << 20;

static HOST: AtomicPtr<vc_host> = AtomicPtr::new(std::ptr::null_mut());

/// To be called by the entry function, and by nothing else.
pub fn adopt(host: *const vc_host) {
    HOST.store(host as *mut vc_host, SeqCst);
}

fn service<Table>(id: &str) -> Option<&'static Table> {
    let id = CString::new(id).ok()?;
    unsafe { ((*HOST.load(SeqCst)).service)(id.as_ptr()).cast::<Table>().as_ref() }
}

// Texts.

pub const fn literal(text: &'static str) -> vc_str {
    vc_str { data: text.as_ptr() as *const c_char, length: text.len() as u64 }
}

pub fn lend(bytes: &[u8]) -> vc_str {
    vc_str { data: bytes.as_ptr() as *const c_char, length: bytes.len() as u64 }
}

/// The bytes that were passed; they live until the call returns.
pub unsafe fn borrow<'a>(text: vc_str) -> &'a [u8] {
    match text.length {
        0 => &[],
        length => std::slice::from_raw_parts(text.data as *const u8, length as usize),
    }
}

/// Why something failed: whose affair it is, and one sentence that names the thing, the value and the mend.
#[derive(Clone)]
pub struct Failure {
    pub code: vc_status,
    pub sentence: String,
    pub is_retryable: bool,
    pub retry_after_ms: u32,
    pub protocol_status: u32,
    /// The vendor's own code: the first thing that its support asks for.
    pub vendor_code: String,
}

impl Failure {
    pub fn new(code: vc_status, sentence: &str) -> Failure {
        Failure { code, sentence: sentence.into(), is_retryable: false, retry_after_ms: 0, protocol_status: 0,
            vendor_code: String::new() }
    }
}

// Events.

/// Every event begins with its head, so a pointer to one is a pointer to the other.
pub trait Event {}
impl Event for vc_event {}
impl Event for vc_event_error {}
impl Event for vc_event_audio {}
impl Event for vc_event_mark {}
impl Event for vc_event_tts_done {}
impl Event for vc_event_transcript {}
impl Event for vc_event_delta {}
impl Event for vc_event_llm_done {}

pub fn head<E: Event>(type_: u32, epoch: u64, request: u64) -> vc_event {
    vc_event { size: size_of::<E>() as u32, type_, flags: 0, reserved: 0, epoch, request }
}

/// What a slot or a step answers where all is not well: one of the contract's codes, or STILL_COMING.
pub type Outcome = Result<(), vc_status>;
/// More of an answer has yet to arrive.
pub const STILL_COMING: vc_status = 1;

/// A session, as the host holds it.
pub struct Session {
    pub vendor: &'static Vendor,
    handle: vc_handle,
    epoch: AtomicU64, // Raised by `cancel`, on any thread; u64::MAX once closed.
    work: UnsafeCell<Work>,
}

impl Session {
    pub fn emit<E: Event>(&self, event: &E) -> Outcome {
        match unsafe { ((*HOST.load(SeqCst)).emit)(self.handle, event as *const E as *const vc_event) } {
            VC_OK => Ok(()),
            status => Err(status),
        }
    }

    /// An event without a body.
    pub fn emit_plain(&self, type_: u32, epoch: u64, request: u64) -> Outcome {
        self.emit(&head::<vc_event>(type_, epoch, request))
    }

    /// What is told of a failure: an ERROR for `request`, after which the session goes on.
    pub fn report(&self, failure: &Failure, epoch: u64, request: u64) -> Outcome {
        let mut error: vc_error = unsafe { zeroed() };
        failure.fill(&mut error);
        let head = head::<vc_event_error>(VC_EVENT_ERROR, epoch, request);
        self.emit(&vc_event_error { head, error: &error, fatal: 0, reserved: 0 })
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Err when nothing of `epoch` is wanted any more.
    pub fn check(&self, epoch: u64) -> Outcome {
        match self.epoch() {
            u64::MAX => Err(VC_E_CLOSED),
            current if epoch < current => Err(VC_E_CANCELED),
            _ => Ok(()),
        }
    }
}

impl Failure {
    fn fill(&self, error: &mut vc_error) {
        error.size = size_of::<vc_error>() as u32;
        error.code = self.code;
        error.retryable = self.is_retryable as u32;
        error.retry_after_ms = self.retry_after_ms;
        error.protocol_status = self.protocol_status;
        error.message = lend(self.sentence.as_bytes());
        error.vendor_code = lend(self.vendor_code.as_bytes());
    }
}

/// Runs a slot on the session's own turn.
pub unsafe fn control(state: vc_self, body: impl FnOnce(&Session, &mut Work) -> Outcome) -> vc_status {
    let session = &*(state as *const Session);
    catch_unwind(AssertUnwindSafe(|| body(session, &mut *session.work.get())))
        .map_or(VC_E_INTERNAL, |outcome| outcome.err().unwrap_or(VC_OK))
}

// The vendor's answers.

/// A request to the vendor.
pub struct Request<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
    pub epoch: u64,
    pub first_byte_ms: u32,
    pub deadline_ms: u32,
}

/// What came back of one request.
pub struct Answer {
    pub is_complete: bool,
    /// Bytes that came, kept or not.
    pub received: usize,
    pub bytes: Vec<u8>,
    pub failure: Option<Failure>,
    refusal: Vec<u8>, // The beginning of what came with another status than 200.
    exchange: vc_handle,
    // At an address of its own, which the host gives back with everything that arrives.
    route: Box<(vc_self, u64)>,
}

impl Answer {
    /// Of a session's work, which finds it again by `key`.
    pub fn new(session: &Session, key: u64) -> Answer {
        let route = Box::new((session as *const Session as vc_self, key));
        Answer { is_complete: false, received: 0, bytes: Vec::new(), failure: None, refusal: Vec::new(),
            exchange: 0, route }
    }

    /// Sends a request. Where it cannot be sent the answer is complete at once, with its failure.
    pub fn ask(&mut self, session: &Session, request: Request) {
        let fields: Vec<vc_field> = request.headers.iter()
            .map(|(name, value)| vc_field { name: lend(name.as_bytes()), value: lend(value.as_bytes()) }).collect();
        let sent = vc_http_request { size: size_of::<vc_http_request>() as u32, deadline_ms: request.deadline_ms,
            epoch: request.epoch, method: lend(request.method.as_bytes()), url: lend(request.url.as_bytes()),
            headers: fields.as_ptr(), header_count: fields.len() as u32, first_byte_ms: request.first_byte_ms,
            body: lend(request.body) };
        let context = &*self.route as *const (vc_self, u64) as *mut c_void;
        let status = service::<vc_http>(VC_SERVICE_HTTP).map_or(VC_E_UNSUPPORTED, |http| unsafe {
            (http.start)(session.handle, &sent, &EVENTS, context, &mut self.exchange)
        });
        if status == VC_OK { return }
        self.exchange = 0;
        self.fail(Failure { is_retryable: status == VC_E_AGAIN, ..Failure::new(status, match status {
            VC_E_AGAIN => "32 requests of this session are under way already",
            _ => "the request could not be sent: is `url` an http or https address?",
        }) });
    }

    pub fn keep(&mut self, bytes: &[u8]) {
        if bytes.len() > ANSWER_BYTES_MAX - self.bytes.len() {
            return self.fail(Failure::new(VC_E_VENDOR, "the server's answer is longer than 8 MiB, and was cut off"));
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
        self.is_complete = true;
    }
}

/// An answer that is dropped stops its request, and the host calls nothing more for it.
impl Drop for Answer {
    fn drop(&mut self) {
        if self.exchange == 0 { return }
        if let Some(http) = service::<vc_http>(VC_SERVICE_HTTP) { unsafe { (http.cancel)(self.exchange); } }
    }
}

static EVENTS: vc_http_events = vc_http_events { size: size_of::<vc_http_events>() as u32, reserved: 0,
    response: Some(response), data: Some(data), done: Some(done) };

unsafe fn arrived(context: *mut c_void, change: impl FnOnce(&mut Answer)) {
    let (session, key) = *(context as *const (vc_self, u64));
    control(session, |session, work| {
        if let Some(answer) = work.answer(key) { change(answer) }
        work.advance(session);
        Ok(())
    });
}

unsafe extern "C" fn response(context: *mut c_void, _: vc_handle, status: u32, headers: *const vc_field, count: u32) {
    let headers = if count == 0 { &[] } else { std::slice::from_raw_parts(headers, count as usize) };
    let value = |name: &[u8]| headers.iter().find(|header| borrow(header.name).eq_ignore_ascii_case(name))
        .map_or(&b""[..], |header| borrow(header.value));
    if status == 200 {
        if value(b"content-type").to_ascii_lowercase().starts_with(b"text/html") {
            let sentence = "a page of HTML came for an answer: is `url` the server's, and no proxy's?";
            arrived(context, |answer| answer.fail(Failure::new(VC_E_VENDOR, sentence)));
        }
        return;
    }
    let seconds = std::str::from_utf8(value(b"retry-after")).ok().and_then(|text| text.trim().parse::<u32>().ok());
    // What a status means to the host, which decides by it whether to try again, or elsewhere.
    let code = match status { 401 | 403 => VC_E_AUTH, 429 => VC_E_QUOTA, _ => VC_E_VENDOR };
    let failure = Failure { is_retryable: status == 429 || status >= 500, protocol_status: status,
        retry_after_ms: seconds.unwrap_or(0).min(86_400) * 1000,
        ..Failure::new(code, &format!("the server answered with HTTP status {}", status)) };
    arrived(context, |answer| answer.failure = Some(failure)); // Complete when its body is there.
}

/// `"code": "..."` of a refusal in JSON.
fn code_of(refusal: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(refusal);
    let rest = &text[text.find("\"code\"")? + "\"code\"".len()..];
    let rest = rest.trim_start_matches([' ', ':']).strip_prefix('"')?;
    Some(rest[..rest.find('"')?].into())
}

unsafe extern "C" fn data(context: *mut c_void, _: vc_handle, bytes: vc_str) {
    arrived(context, |answer| {
        let bytes = borrow(bytes);
        if answer.failure.is_some() {
            if answer.refusal.len() < 1024 { answer.refusal.extend_from_slice(bytes) }
            return;
        }
        Vendor::answered(answer, bytes);
        answer.received += bytes.len();
    });
}

unsafe extern "C" fn done(context: *mut c_void, _: vc_handle, error: *const vc_error) {
    arrived(context, |answer| {
        answer.exchange = 0;
        if let Some(error) = error.as_ref() {
            answer.fail(Failure { is_retryable: error.retryable != 0,
                ..Failure::new(error.code, &String::from_utf8_lossy(borrow(error.message))) });
        }
        match &mut answer.failure {
            Some(failure) => failure.vendor_code = code_of(&answer.refusal).unwrap_or_default(),
            None if answer.received == 0 => {
                answer.fail(Failure::new(VC_E_VENDOR, "the server answered with nothing"))
            }
            None => {}
        }
        answer.is_complete = true;
    });
}

// The life of a provider and of its sessions.

/// The settings of a provider, as the manifest's `config` declares them.
pub struct Settings(vc_handle);

impl Settings {
    pub fn text(&self, key: &str) -> Option<String> {
        let key = CString::new(key).ok()?;
        let mut value: vc_str = literal("");
        let status = unsafe { (service::<vc_config>(VC_SERVICE_CONFIG)?.text)(self.0, key.as_ptr(), &mut value) };
        if status != VC_OK { return None }
        Some(String::from_utf8_lossy(unsafe { borrow(value) }).into_owned())
    }

    #[allow(dead_code)]
    pub fn integer(&self, key: &str) -> Option<i64> {
        let key = CString::new(key).ok()?;
        let mut value = 0;
        let status = unsafe { (service::<vc_config>(VC_SERVICE_CONFIG)?.integer)(self.0, key.as_ptr(), &mut value) };
        if status == VC_OK { Some(value) } else { None }
    }
}

/// The sentence of the last refusal: the host reads it as soon as `create` has returned.
static LAST_REFUSAL: Mutex<String> = Mutex::new(String::new());

pub unsafe extern "C" fn create(request: *const vc_create, state: *mut vc_self, error: *mut vc_error) -> vc_status {
    let made = catch_unwind(AssertUnwindSafe(|| {
        if service::<vc_http>(VC_SERVICE_HTTP).is_none() {
            let sentence = "this host does not offer vc.http/1, over which the vendor is asked";
            return Err(Failure::new(VC_E_UNSUPPORTED, sentence));
        }
        if service::<vc_config>(VC_SERVICE_CONFIG).is_none() {
            let sentence = "this host does not offer vc.config/1, which has the vendor's address";
            return Err(Failure::new(VC_E_UNSUPPORTED, sentence));
        }
        Vendor::configure(&Settings((*request).provider))
    }));
    match made {
        Ok(Ok(vendor)) => {
            *state = Box::into_raw(Box::new(vendor)) as vc_self;
            VC_OK
        }
        Ok(Err(failure)) => {
            let mut last = LAST_REFUSAL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            *last = failure.sentence;
            (*error).code = failure.code;
            (*error).message = lend(last.as_bytes());
            failure.code
        }
        Err(_) => VC_E_INTERNAL,
    }
}

pub unsafe extern "C" fn destroy(state: vc_self) {
    drop(Box::from_raw(state as *mut Vendor));
}

pub unsafe extern "C" fn open(
    state: vc_self, request: *const vc_open, out: *mut vc_session, _: *mut vc_error,
) -> vc_status {
    let request = &*request;
    // All sessions are destroyed before their provider is.
    let vendor = &*(state as *const Vendor);
    let session = Box::new(Session { vendor, handle: request.session, epoch: AtomicU64::new(request.epoch),
        work: UnsafeCell::new(Work::new(request)) });
    let _ = session.emit_plain(VC_EVENT_READY, request.epoch, 0);
    // A handshake takes longer than a caller likes to wait.
    if let Some(http) = service::<vc_http>(VC_SERVICE_HTTP) { (http.prewarm)(session.handle, lend(vendor.url.as_bytes())) }
    (*out).state = Box::into_raw(session) as vc_self;
    (*out).ops = &SESSION_OPS;
    (*out).kind_ops = Work::table();
    VC_OK
}

static SESSION_OPS: vc_session_ops = vc_session_ops { size: size_of::<vc_session_ops>() as u32, reserved: 0,
    cancel: Some(cancel), credit: Some(credit), close: Some(close), destroy: Some(destroy_session) };

/// On any thread: touches nothing but the atomic. The host ends the requests of old epochs; `advance` drops their work.
unsafe extern "C" fn cancel(state: vc_self, epoch: u64) {
    let session = &*(state as *const Session);
    if session.epoch.fetch_max(epoch, SeqCst) < epoch {
        let _ = session.emit_plain(VC_EVENT_CANCELED, epoch, 0);
    }
}

unsafe extern "C" fn credit(state: vc_self, _: u32, _: u64) {
    // The host counts; offering again is how we learn whether it is enough.
    control(state, |session, work| { work.advance(session); Ok(()) });
}

unsafe extern "C" fn close(state: vc_self) {
    control(state, |session, work| {
        let epoch = session.epoch.swap(u64::MAX, SeqCst);
        work.clear();
        session.emit_plain(VC_EVENT_CLOSED, epoch, 0)
    });
}

unsafe extern "C" fn destroy_session(state: vc_self) {
    drop(Box::from_raw(state as *mut Session));
}

/// Constant data with pointers in it, which Rust does not share between threads unasked.
pub struct Constant<T>(pub T);
unsafe impl<T> Sync for Constant<T> {}

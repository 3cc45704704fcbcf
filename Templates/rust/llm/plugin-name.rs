// plugin-name: a language model that is a server. This file is the kind, line.rs the contract of every kind; what is
// asked of whom is in vendor.rs.
//
// Each question is one request to the server; several may be under way. Text goes to the host as it comes, never cut
// within a character. What the host has no room for waits, and `credit` goes on with it.

mod line;
mod vchost;
mod vendor;

use line::{control, head, lend, literal, Answer, Constant, Failure, Outcome, Session, STILL_COMING};
use std::ffi::c_void;
use std::mem::size_of;
use vchost::*;
use vendor::Vendor;

const QUESTIONS_MAX: usize = 16;
const DELTA_BYTES_MAX: usize = 4096;

/// A request, until LLM_DONE.
struct Question {
    request: u64,
    epoch: u64,
    told: usize, // Bytes of the answer that the host has taken.
    answer: Answer,
}

/// What a session does.
pub struct Work {
    questions: Vec<Question>,
}

impl Work {
    pub fn new(_: &vc_open) -> Work { Work { questions: Vec::new() } }
    pub fn table() -> *const c_void { &LLM_OPS as *const vc_llm_ops as *const c_void }
    pub fn answer(&mut self, key: u64) -> Option<&mut Answer> {
        self.questions.iter_mut().find(|question| question.request == key).map(|question| &mut question.answer)
    }
    pub fn clear(&mut self) { self.questions.clear() }

    fn request(&mut self, session: &Session, asked: &vc_llm_request) -> Outcome {
        session.check(asked.epoch)?;
        self.advance(session); // What a cancel has left behind goes first.
        if self.questions.len() == QUESTIONS_MAX { return Err(VC_E_AGAIN) }
        let mut answer = Answer::new(session, asked.request);
        session.vendor.ask(session, &mut answer, asked);
        self.questions.push(Question { request: asked.request, epoch: asked.epoch, told: 0, answer });
        self.advance(session);
        Ok(())
    }

    pub fn advance(&mut self, session: &Session) {
        let mut is_full = false;
        self.questions.retain_mut(|question| {
            if is_full { return true }
            let outcome = session.check(question.epoch).and_then(|()| tell(session, question));
            is_full = outcome == Err(VC_E_AGAIN);
            is_full || outcome == Err(STILL_COMING)
        });
    }
}

fn tell(session: &Session, question: &mut Question) -> Outcome {
    let (epoch, request, answer) = (question.epoch, question.request, &mut question.answer);
    while question.told < answer.bytes.len() {
        let left = &answer.bytes[question.told..];
        let left = &left[..left.len().min(DELTA_BYTES_MAX)];
        let (length, is_text) = whole_characters(left);
        if !is_text { answer.failure = Some(Failure::new(VC_E_VENDOR, "the server's answer is no text in UTF-8")) }
        if length == 0 { // The rest of a character is still to come, or it never was one.
            answer.is_complete |= !is_text;
            break;
        }
        let left = &answer.bytes[question.told..];
        session.emit(&vc_event_delta { head: head::<vc_event_delta>(VC_EVENT_DELTA, epoch, request),
            text: lend(&left[..length]) })?; // VC_E_AGAIN: the same text again after `credit`.
        question.told += length;
    }
    if !answer.is_complete { return Err(STILL_COMING) }
    if answer.failure.is_none() { Vendor::ended(answer) }
    if let Some(failure) = &answer.failure { return session.report(failure, epoch, request) }
    session.emit(&vc_event_llm_done { head: head::<vc_event_llm_done>(VC_EVENT_LLM_DONE, epoch, request),
        reason: VC_LLM_STOP, reserved: 0 })
}

/// How many of these bytes are whole characters of UTF-8, and whether what follows them may become one.
fn whole_characters(bytes: &[u8]) -> (usize, bool) {
    match std::str::from_utf8(bytes) {
        Err(error) => (error.valid_up_to(), error.error_len().is_none()),
        Ok(_) => (bytes.len(), true),
    }
}

unsafe extern "C" fn request(state: vc_self, asked: *const vc_llm_request) -> vc_status {
    control(state, |session, work| work.request(session, &*asked))
}

static LLM_OPS: vc_llm_ops = vc_llm_ops { size: size_of::<vc_llm_ops>() as u32, reserved: 0, request: Some(request),
    tool_result: None };

static PROVIDER: Constant<vc_provider> = Constant(vc_provider { size: size_of::<vc_provider>() as u32, reserved: 0,
    kind: literal(VC_KIND_LLM), id: literal("org.example.plugin-name"), create: Some(line::create), start: None,
    drain: None, destroy: Some(line::destroy), open: Some(line::open), kind_ops: std::ptr::null() });
static PROVIDERS: Constant<[*const vc_provider; 1]> = Constant([&PROVIDER.0]);
static MODULE: Constant<vc_module> = Constant(vc_module { size: size_of::<vc_module>() as u32, minor: VC_ABI_MINOR,
    host_minor_min: 0, provider_count: 1, providers: &PROVIDERS.0 as *const *const vc_provider });

/// Where the host reads the manifest without running any of this.
#[link_section = ".vchost.manifest"]
static MANIFEST: [u8; include_bytes!("manifest.json").len()] = *include_bytes!("manifest.json");

#[no_mangle]
pub unsafe extern "C" fn vc_plugin_entry_v1(host: *const vc_host, module: *mut *const vc_module) -> vc_status {
    line::adopt(host);
    std::ptr::read_volatile(&MANIFEST[0]); // The linker drops what nobody reads.
    *module = &MODULE.0;
    VC_OK
}

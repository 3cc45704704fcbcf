// plugin-name: a recogniser that is a server. This file is the kind, line.rs the contract of every kind; what is
// asked of whom is in vendor.rs.
//
// The caller's audio is kept from the beginning of the utterance. `finalize` sends what there is of it and is answered
// with its text; several may be under way, and are answered in their order. Silence is not sent: it costs money, and
// recognisers hear words in it.

mod line;
mod vchost;
mod vendor;

use line::{control, head, lend, literal, Answer, Constant, Failure, Outcome, Session, STILL_COMING};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem::size_of;
use vchost::*;

/// More than a minute without a pause is a radio: of it only the last minute is kept.
const SECONDS_MAX: usize = 60;
const QUESTIONS_MAX: usize = 16;
/// Below this level there is no voice.
const QUIET: u16 = 200;

/// A `finalize`, until FINALIZED.
struct Question {
    request: u64,
    epoch: u64,
    utterance: u64,
    start: u64,
    end: u64,
    is_told: bool, // Its transcript went out.
    answer: Answer,
}

/// What a session does.
pub struct Work {
    rate_hz: u32,
    utterance: u64,
    start: u64, // Of the utterance, a position.
    base: u64,  // The position of the first sample that is kept.
    samples: VecDeque<i16>,
    questions: VecDeque<Question>,
}

impl Work {
    pub fn new(request: &vc_open) -> Work {
        Work { rate_hz: request.rate_hz, utterance: 0, start: 0, base: 0, samples: VecDeque::new(),
            questions: VecDeque::new() }
    }

    pub fn table() -> *const c_void { &STT_OPS as *const vc_stt_ops as *const c_void }
    pub fn answer(&mut self, key: u64) -> Option<&mut Answer> {
        self.questions.iter_mut().find(|question| question.request == key).map(|question| &mut question.answer)
    }
    pub fn clear(&mut self) { self.questions.clear() }

    fn forget_before(&mut self, position: u64) {
        if position <= self.base { return }
        let old = (position - self.base).min(self.samples.len() as u64);
        self.samples.drain(..old as usize);
        self.base = position;
    }

    fn begin(&mut self, utterance: u64, position: u64) -> Outcome {
        self.forget_before(position);
        (self.utterance, self.start) = (utterance, position.max(self.base));
        Ok(())
    }

    fn push(&mut self, position: u64, frame: &[i16]) -> Outcome {
        if frame.len() > self.rate_hz as usize { return Err(VC_E_ARGUMENT) }
        if position != self.base + self.samples.len() as u64 { // A gap, or the beginning.
            self.samples.clear();
            self.base = position;
        }
        self.samples.extend(frame);
        let most = SECONDS_MAX * self.rate_hz as usize;
        if self.samples.len() > most { self.forget_before(self.base + (self.samples.len() - most) as u64) }
        self.start = self.start.max(self.base);
        Ok(())
    }

    fn finalize(&mut self, session: &Session, request: u64, position: u64, is_tentative: bool) -> Outcome {
        self.advance(session); // What a cancel has left behind goes first.
        if self.questions.len() == QUESTIONS_MAX { return Err(VC_E_AGAIN) }
        let end = position.min(self.base + self.samples.len() as u64);
        let start = self.start.min(end);
        let skipped = start.saturating_sub(self.base) as usize;
        let samples: Vec<i16> = self.samples.iter().copied().skip(skipped).take((end - start) as usize).collect();
        let mut answer = Answer::new(session, request);
        let epoch = session.epoch();
        if samples.iter().all(|sample| sample.unsigned_abs() <= QUIET) {
            answer.is_complete = true;
        } else {
            session.vendor.ask(session, &mut answer, epoch, self.rate_hz, &samples);
        }
        self.questions.push_back(
            Question { request, epoch, utterance: self.utterance, start, end, is_told: false, answer });
        // What comes after a final text belongs to the next utterance, also where the host does not say `begin`.
        if !is_tentative { self.start = end }
        self.advance(session);
        Ok(())
    }

    pub fn advance(&mut self, session: &Session) {
        while let Some(question) = self.questions.front_mut() {
            let outcome = session.check(question.epoch).and_then(|()| tell(session, question));
            if outcome == Err(VC_E_AGAIN) || outcome == Err(STILL_COMING) { return }
            self.questions.pop_front();
        }
    }
}

fn tell(session: &Session, question: &mut Question) -> Outcome {
    let (epoch, request, answer) = (question.epoch, question.request, &mut question.answer);
    if !answer.is_complete { return Err(STILL_COMING) }
    if std::str::from_utf8(&answer.bytes).is_err() {
        answer.fail(Failure::new(VC_E_VENDOR, "the server's answer is no text in UTF-8"));
    }
    if let Some(failure) = &answer.failure { return session.report(failure, epoch, request) }
    if !answer.bytes.is_empty() && !question.is_told {
        session.emit(&vc_event_transcript {
            head: head::<vc_event_transcript>(VC_EVENT_TRANSCRIPT, epoch, request), utterance: question.utterance,
            start: question.start, end: question.end, text: lend(&answer.bytes), language: literal(""), final_: 1,
            confidence: -1.0, stability: -1.0, word_count: 0, words: std::ptr::null() })?;
        question.is_told = true;
    }
    session.emit_plain(VC_EVENT_FINALIZED, epoch, request)
}

unsafe extern "C" fn begin(state: vc_self, utterance: u64, position: u64) -> vc_status {
    control(state, |_, work| work.begin(utterance, position))
}

unsafe extern "C" fn push(state: vc_self, frame: *const vc_frame) -> vc_status {
    let frame = &*frame;
    control(state, |session, work| {
        if session.epoch() == u64::MAX { return Err(VC_E_CLOSED) }
        if frame.format != VC_FORMAT_S16 || frame.channels != 1 { return Err(VC_E_UNSUPPORTED) }
        if frame.samples == 0 { return Ok(()) }
        work.push(frame.position, std::slice::from_raw_parts(frame.data as *const i16, frame.samples as usize))
    })
}

unsafe extern "C" fn finalize(state: vc_self, request: u64, position: u64, flags: u32) -> vc_status {
    control(state, |session, work| {
        if session.epoch() == u64::MAX { return Err(VC_E_CLOSED) }
        work.finalize(session, request, position, flags & VC_STT_TENTATIVE != 0)
    })
}

static STT_OPS: vc_stt_ops = vc_stt_ops { size: size_of::<vc_stt_ops>() as u32, reserved: 0, begin: Some(begin),
    push: Some(push), finalize: Some(finalize) };

static PROVIDER: Constant<vc_provider> = Constant(vc_provider { size: size_of::<vc_provider>() as u32, reserved: 0,
    kind: literal(VC_KIND_STT), id: literal("org.example.plugin-name"), create: Some(line::create), start: None,
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

// plugin-name: a voice that a server speaks. This file is the kind, line.rs the contract of every kind; what is
// asked of whom is in vendor.rs.
//
// Pieces of text stand in a line. The server is asked for the first and, as soon as that is complete, for the second;
// `advance` hands the host what it has room for and stays where it has none, and `credit` or more audio calls it again.

mod line;
mod vchost;
mod vendor;

use line::{borrow, control, head, literal, Answer, Constant, Outcome, Session, STILL_COMING};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem::size_of;
use vchost::*;

const PIECES_MAX: usize = 256;

/// A stretch of a request's text, and its audio.
struct Piece {
    key: u64,
    request: u64,
    epoch: u64,
    text: String,
    text_start: u64, // In bytes of the request's text.
    is_last: bool,
    is_asked: bool,
    is_marked: bool,
    said: usize, // Bytes of its audio that the host has taken.
    answer: Answer,
}

/// What a session does.
pub struct Work {
    rate_hz: u32,
    pieces: VecDeque<Piece>,
    keys: u64,
    sequence: u64,         // Frames of the session.
    saying: Option<u64>,   // The request that is being said, and how many samples of it were.
    position: u64,
    incoming: Option<u64>, // The request that is coming in, and how much of its text came.
    text_length: u64,
    failed: Option<u64>, // A request that ended with an error; more of its text is not wanted.
}

impl Work {
    pub fn new(request: &vc_open) -> Work {
        Work { rate_hz: request.rate_hz, pieces: VecDeque::new(), keys: 0, sequence: 0, saying: None, position: 0,
            incoming: None, text_length: 0, failed: None }
    }

    pub fn table() -> *const c_void { &TTS_OPS as *const vc_tts_ops as *const c_void }
    pub fn answer(&mut self, key: u64) -> Option<&mut Answer> {
        self.pieces.iter_mut().find(|piece| piece.key == key).map(|piece| &mut piece.answer)
    }
    pub fn clear(&mut self) { self.pieces.clear() }

    fn speak(&mut self, session: &Session, request: u64, epoch: u64, text: &[u8], is_last: bool) -> Outcome {
        self.advance(session); // What a cancel has left behind goes first, and it may end this very request.
        session.check(epoch)?;
        if self.failed == Some(request) { return Err(VC_E_CANCELED) }
        if self.pieces.len() == PIECES_MAX { return Err(VC_E_AGAIN) }
        if self.incoming != Some(request) { (self.incoming, self.text_length) = (Some(request), 0) }
        self.keys += 1;
        let text_start = self.text_length;
        self.text_length += text.len() as u64;
        let mut answer = Answer::new(session, self.keys);
        let text = String::from_utf8_lossy(text).into_owned();
        // Of blanks no voice has anything to say.
        answer.is_complete = text.trim().is_empty();
        self.pieces.push_back(Piece { key: self.keys, request, epoch, is_asked: answer.is_complete, text, text_start,
            is_last, is_marked: false, said: 0, answer });
        self.advance(session);
        Ok(())
    }

    pub fn advance(&mut self, session: &Session) {
        while !self.pieces.is_empty() {
            self.ask(session);
            let piece = &self.pieces[0];
            let (request, is_failed) = (piece.request, piece.answer.failure.is_some());
            let outcome = session.check(piece.epoch).and_then(|()| self.say(session));
            if outcome == Err(VC_E_AGAIN) || outcome == Err(STILL_COMING) { return }
            self.pieces.pop_front();
            if outcome.is_ok() && !is_failed { continue }
            // Cancelled, or its ERROR stands in place of DONE: the rest of the request is not wanted.
            self.failed = Some(request);
            self.pieces.retain(|piece| piece.request != request);
        }
    }

    /// The first piece is asked for, and the second as soon as the first has all of its audio.
    fn ask(&mut self, session: &Session) {
        for piece in self.pieces.iter_mut().take(2) {
            if session.check(piece.epoch).is_err() { return }
            if !piece.is_asked {
                piece.is_asked = true;
                session.vendor.ask(session, &mut piece.answer, piece.epoch, self.rate_hz, &piece.text);
            }
            if !piece.answer.is_complete { return }
        }
    }

    /// Says what there is of the first piece. Ok: it is said.
    fn say(&mut self, session: &Session) -> Outcome {
        let frame_bytes = self.rate_hz as usize / 10 * 2; // 100 ms.
        let piece = &mut self.pieces[0];
        let (epoch, request) = (piece.epoch, piece.request);
        if self.saying != Some(request) { (self.saying, self.position) = (Some(request), 0) }
        while piece.answer.bytes.len() - piece.said >= if piece.answer.is_complete { 2 } else { frame_bytes } {
            let left = &piece.answer.bytes[piece.said..];
            let samples: Vec<i16> = left[..left.len().min(frame_bytes)].chunks_exact(2)
                .map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            let frame = vc_frame { size: size_of::<vc_frame>() as u32, format: VC_FORMAT_S16, rate_hz: self.rate_hz,
                channels: 1, samples: samples.len() as u32, flags: 0, sequence: self.sequence, position: self.position,
                captured_ns: 0, epoch, data: samples.as_ptr() as *const c_void, bytes: samples.len() as u64 * 2 };
            // VC_E_AGAIN: the same frame again after `credit`.
            let head = head::<vc_event_audio>(VC_EVENT_AUDIO, epoch, request);
            session.emit(&vc_event_audio { head, frame: &frame })?;
            self.sequence += 1;
            self.position += samples.len() as u64;
            piece.said += samples.len() * 2;
        }
        if !piece.answer.is_complete { return Err(STILL_COMING) }
        if let Some(failure) = &piece.answer.failure { return session.report(failure, epoch, request) }
        if piece.said > 0 && !piece.is_marked {
            session.emit(&vc_event_mark { head: head::<vc_event_mark>(VC_EVENT_MARK, epoch, request),
                text_start: piece.text_start, text_end: piece.text_start + piece.text.len() as u64,
                position: self.position - piece.said as u64 / 2, end: self.position })?;
            piece.is_marked = true;
        }
        if !piece.is_last { return Ok(()) }
        session.emit(&vc_event_tts_done { head: head::<vc_event_tts_done>(VC_EVENT_TTS_DONE, epoch, request),
            reason: VC_TTS_COMPLETE, reserved: 0, samples: self.position })
    }
}

unsafe extern "C" fn speak(state: vc_self, request: u64, epoch: u64, text: vc_str, flags: u32) -> vc_status {
    control(state, |session, work| work.speak(session, request, epoch, borrow(text), flags & VC_TTS_LAST != 0))
}

static TTS_OPS: vc_tts_ops = vc_tts_ops { size: size_of::<vc_tts_ops>() as u32, reserved: 0, speak: Some(speak) };

static PROVIDER: Constant<vc_provider> = Constant(vc_provider { size: size_of::<vc_provider>() as u32, reserved: 0,
    kind: literal(VC_KIND_TTS), id: literal("org.example.plugin-name"), create: Some(line::create), start: None,
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

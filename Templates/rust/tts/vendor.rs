// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, the text is sent as it is, and the answer is its audio: 16 bit samples, little-endian, one channel, at
// the rate that the address names.

use crate::line::{Answer, Failure, Request, Session, Settings};
use crate::vchost::VC_E_CONFIG;

/// Of one section of the configuration, shared by the sessions of all its calls.
pub struct Vendor {
    pub url: String,
}

impl Vendor {
    pub fn configure(settings: &Settings) -> Result<Vendor, Failure> {
        let url = settings.text("url").unwrap_or_default();
        if url.is_empty() {
            return Err(Failure::new(VC_E_CONFIG, "`url` is empty; name the speech server's address"));
        }
        // Yours: further settings, as the manifest's `config` declares them.
        Ok(Vendor { url })
    }

    /// Asks for the audio of `text`, at `rate_hz`.
    pub fn ask(&self, session: &Session, answer: &mut Answer, epoch: u64, rate_hz: u32, text: &str) {
        let url = format!("{}?rate={}", self.url, rate_hz);
        let headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin
            // never sees it: ("Authorization", "Bearer ${secret:ACME_API_KEY}"),
        ];
        // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end.
        let body = text.as_bytes();
        answer.ask(session, Request { method: "POST", url: &url, headers: &headers, body, epoch, first_byte_ms: 3000,
            deadline_ms: 30_000 });
    }

    /// The next bytes of an answer with status 200.
    pub fn answered(answer: &mut Answer, bytes: &[u8]) {
        // Yours: keep what is audio. `answer.received` bytes of this answer came before these.
        answer.keep(bytes);
    }
}

// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, {"messages": [...], "tools": [...], "options": {...}} is sent, and the answer is plain text as it
// comes. It ends with a line feed: what has none was cut off, and half an answer is none.

use crate::line::{borrow, Answer, Failure, Request, Session, Settings};
use crate::vchost::{vc_llm_request, vc_str, VC_E_CONFIG, VC_E_VENDOR};

/// Of one section of the configuration, shared by the sessions of all its calls.
pub struct Vendor {
    pub url: String,
}

impl Vendor {
    pub fn configure(settings: &Settings) -> Result<Vendor, Failure> {
        let url = settings.text("url").unwrap_or_default();
        if url.is_empty() {
            return Err(Failure::new(VC_E_CONFIG, "`url` is empty; name the language model's address"));
        }
        // Yours: further settings, as the manifest's `config` declares them.
        Ok(Vendor { url })
    }

    /// Asks for the answer to a conversation: a JSON array of messages in the shape of OpenAI's chat.
    pub fn ask(&self, session: &Session, answer: &mut Answer, question: &vc_llm_request) {
        let headers = [
            ("Content-Type", "application/json"),
            // Yours: a credential is named here and in the manifest's `secrets`; the host puts it in, and the plugin
            // never sees it: ("Authorization", "Bearer ${secret:ACME_API_KEY}"),
        ];
        // Yours: the question, as the vendor wants it put, and how long its answer may take to begin, and to end.
        let text = |part: vc_str| String::from_utf8_lossy(unsafe { borrow(part) });
        let body = format!(r#"{{"messages": {}, "tools": {}, "options": {}}}"#, text(question.messages),
            text(question.tools), text(question.options));
        answer.ask(session, Request { method: "POST", url: &self.url, headers: &headers, body: body.as_bytes(),
            epoch: question.epoch, first_byte_ms: 5000, deadline_ms: 60_000 });
    }

    /// The next bytes of an answer with status 200.
    pub fn answered(answer: &mut Answer, bytes: &[u8]) {
        // Yours: keep what is text. `answer.received` bytes of this answer came before these.
        answer.keep(bytes);
    }

    /// An answer is complete: fails it where its end is missing.
    pub fn ended(answer: &mut Answer) {
        // Yours: what the end of an answer looks like.
        if answer.bytes.last() == Some(&b'\n') { return }
        let sentence = "the server's answer breaks off before its end, a line feed";
        answer.fail(Failure { is_retryable: true, ..Failure::new(VC_E_VENDOR, sentence) });
    }
}

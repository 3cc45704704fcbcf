// The vendor: what it is asked, and what its answer means. This file is yours; the others keep the contract.
//
// As it stands, the conversation is sent as it is, a JSON array of messages, and the answer is plain text as it comes.

use crate::line::{borrow, Answer, Failure, Request, Session, Settings};
use crate::vchost::{vc_llm_request, VC_E_CONFIG};

/// Of one section of the configuration, shared by the sessions of all its calls.
pub struct Vendor {
    url: String,
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
        // Yours: the question, as the vendor wants it put (there are `tools` and `options` too), and how long its
        // answer may take to begin, and to end.
        let body = unsafe { borrow(question.messages) };
        answer.ask(session, Request { method: "POST", url: &self.url, headers: &headers, body,
            epoch: question.epoch, first_byte_ms: 5000, deadline_ms: 60_000 });
    }

    /// The next bytes of an answer with status 200.
    pub fn answered(answer: &mut Answer, bytes: &[u8]) {
        // Yours: keep what is text. `answer.received` bytes of this answer came before these.
        answer.keep(bytes);
    }
}

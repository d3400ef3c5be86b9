//! Who may open a control session, and what it may ask.
//!
//! The hook that an application implements; the default lets everybody do everything, as genuine
//! Aeron does. Called by the archive's conductor only.

use wire::time::Now;

/// What an authenticator says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet: ask again in the next cycle.
    Pending,
    /// Let in, as this principal.
    Accepted {
        /// Who it is, opaque to the archive.
        principal: Vec<u8>,
    },
    /// To be asked a question first.
    Challenged {
        /// The question, opaque to the archive.
        challenge: Vec<u8>,
    },
    /// Kept out.
    Rejected,
}

/// Decides on control sessions.
pub trait Authenticator: Send {
    /// A session asks to connect with `credentials`.
    fn on_connect(&mut self, session_id: i64, credentials: &[u8], now: Now) -> Verdict {
        let _ = (session_id, credentials, now);
        Verdict::Accepted { principal: Vec::new() }
    }

    /// A challenged session answers. A second challenge is not possible: it counts as pending.
    fn on_challenge_response(&mut self, session_id: i64, answer: &[u8], now: Now) -> Verdict {
        let _ = (session_id, answer, now);
        Verdict::Rejected
    }

    /// Called once per cycle while the last verdict was [`Verdict::Pending`].
    fn poll(&mut self, session_id: i64, now: Now) -> Verdict {
        let _ = (session_id, now);
        Verdict::Pending
    }

    /// Whether `principal` may make the request with this template id.
    fn is_authorised(&mut self, template_id: u16, principal: &[u8]) -> bool {
        let _ = (template_id, principal);
        true
    }
}

/// Lets everybody do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authenticator for AllowAll {}

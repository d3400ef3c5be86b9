//! Who may open a client session, and what it may ask of the cluster.
//!
//! The hook that an application implements; the default lets everybody in and lets nobody ask for
//! a snapshot, as genuine Aeron does. Called by the leader's module only.

use consensus::ClusterSessionId;
use runtime::Now;

/// What an authenticator says of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet: ask again in the next cycle.
    Pending,
    /// Let in, as this principal of at most [`consensus::PRINCIPAL_BYTES_MAX`] bytes.
    Accepted {
        /// Who it is, opaque to the cluster; it stands in the log for all services to see.
        principal: Vec<u8>,
    },
    /// To be asked a question first.
    Challenged {
        /// The question, opaque to the cluster.
        challenge: Vec<u8>,
    },
    /// Kept out.
    Rejected,
}

impl Verdict {
    /// For the core; `None` while there is nothing to tell it.
    #[must_use]
    pub fn for_core(&self) -> Option<consensus::Verdict<'_>> {
        Some(match self {
            Self::Pending => return None,
            Self::Accepted { principal } if principal.len() > consensus::PRINCIPAL_BYTES_MAX => {
                consensus::Verdict::Rejected
            }
            Self::Accepted { principal } => consensus::Verdict::Accepted { principal },
            Self::Challenged { challenge } => consensus::Verdict::Challenge { challenge },
            Self::Rejected => consensus::Verdict::Rejected,
        })
    }
}

/// Decides on client sessions.
pub trait Authenticator: Send {
    /// What the mark file calls it: its type, unless it says otherwise.
    fn name(&self) -> &str {
        std::any::type_name::<Self>()
    }

    /// A session asks to connect with `credentials`.
    fn on_connect(&mut self, session: ClusterSessionId, credentials: &[u8], now: Now) -> Verdict {
        let _ = (session, credentials, now);
        Verdict::Accepted { principal: Vec::new() }
    }

    /// A challenged session answers.
    fn on_challenge_response(
        &mut self,
        session: ClusterSessionId,
        answer: &[u8],
        now: Now,
    ) -> Verdict {
        let _ = (session, answer, now);
        Verdict::Rejected
    }

    /// Called once per cycle while the last verdict was [`Verdict::Pending`].
    fn poll(&mut self, session: ClusterSessionId, now: Now) -> Verdict {
        let _ = (session, now);
        Verdict::Pending
    }

    /// Whether `principal` may make an administrative request of this type (0: a snapshot).
    fn is_authorised(&mut self, request_type: i32, principal: &[u8]) -> bool {
        let _ = (request_type, principal);
        false
    }
}

/// Lets everybody in, without a principal, and nobody administer.
#[derive(Clone, Copy, Debug, Default)]
pub struct AcceptAll;

impl Authenticator for AcceptAll {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_application_s_say_all_are_let_in_and_none_administers() {
        let session = ClusterSessionId(1);
        let verdict = AcceptAll.on_connect(session, b"anything", Now::default());
        let principal = &[][..];
        assert_eq!(verdict.for_core(), Some(consensus::Verdict::Accepted { principal }));
        assert!(!AcceptAll.is_authorised(0, b""));
    }

    #[test]
    fn the_core_hears_of_a_verdict_once_it_is_made() {
        assert_eq!(Verdict::Pending.for_core(), None);
        assert_eq!(Verdict::Rejected.for_core(), Some(consensus::Verdict::Rejected));
        let challenge = Verdict::Challenged { challenge: vec![1] };
        let expected = consensus::Verdict::Challenge { challenge: &[1] };
        assert_eq!(challenge.for_core(), Some(expected));
    }

    #[test]
    fn a_principal_that_the_log_does_not_take_is_refused() {
        let verdict = |length| Verdict::Accepted { principal: vec![0; length] };
        let rejected = Some(consensus::Verdict::Rejected);
        assert_ne!(verdict(consensus::PRINCIPAL_BYTES_MAX).for_core(), rejected);
        assert_eq!(verdict(consensus::PRINCIPAL_BYTES_MAX + 1).for_core(), rejected);
    }
}

//! What a client shows when it asks for a session.

/// Answers the cluster's authenticator.
pub trait Credentials: Send {
    /// What goes with the request for a session.
    fn encoded(&mut self) -> Vec<u8>;

    /// The answer to a challenge of the authenticator.
    fn on_challenge(&mut self, challenge: &[u8]) -> Vec<u8>;
}

/// For clusters that let everybody in.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn encoded(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn on_challenge(&mut self, _challenge: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

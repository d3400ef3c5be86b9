//! What a client says when an archive asks who it is.

/// Proves to an archive who the client is.
pub trait Credentials: Send {
    /// What goes with the request to connect.
    fn credentials(&mut self) -> Vec<u8>;

    /// What to answer to a challenge.
    fn answer(&mut self, challenge: &[u8]) -> Vec<u8>;
}

/// Says nothing, whatever is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn credentials(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn answer(&mut self, _challenge: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

/// Says the same bytes at once and to every challenge.
#[derive(Clone)]
pub struct FixedCredentials(pub Vec<u8>);

impl Credentials for FixedCredentials {
    fn credentials(&mut self) -> Vec<u8> {
        self.0.clone()
    }

    fn answer(&mut self, _challenge: &[u8]) -> Vec<u8> {
        self.0.clone()
    }
}

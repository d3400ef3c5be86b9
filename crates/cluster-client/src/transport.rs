//! By what client of the driver a session goes.

use client::{Client, ClientError, Handle};
use runtime::{Now, Work};

/// The client of a driver that carries a session.
pub enum Transport {
    /// Owned: stepped with the session.
    Owned(Box<Client>),
    /// Stepped by somebody else.
    Shared(Handle),
}

impl Transport {
    pub(crate) fn handle(&self) -> &Handle {
        match self {
            Self::Owned(client) => client,
            Self::Shared(handle) => handle,
        }
    }

    pub(crate) fn do_work(&mut self, now: Now) -> Result<Work, ClientError> {
        match self {
            Self::Owned(client) => client.do_work(now),
            Self::Shared(handle) if handle.is_closed() => Err(ClientError::Closed),
            Self::Shared(_) => Ok(Work::NONE),
        }
    }
}

impl From<Client> for Transport {
    fn from(client: Client) -> Self {
        Self::Owned(Box::new(client))
    }
}

impl From<Handle> for Transport {
    fn from(handle: Handle) -> Self {
        Self::Shared(handle)
    }
}

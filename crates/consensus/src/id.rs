//! Names of the things consensus talks about. Raw integers exist only on the wire.

/// A member of the cluster: unique in the member list, the same on all members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub i32);

/// A leadership term. The first is 0; [`LeadershipTermId::NONE`] stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeadershipTermId(pub i64);

impl LeadershipTermId {
    /// Before the first term: an empty log, or "no such term" in a message.
    pub const NONE: Self = Self(-1);

    /// The following term, or `None` at the end of the numbers.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The term before this one, not below [`Self::NONE`].
    #[must_use]
    pub const fn previous(self) -> Self {
        if self.0 <= 0 { Self::NONE } else { Self(self.0 - 1) }
    }
}

/// A client session (1 and up), or a message of a service (negative).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterSessionId(pub i64);

/// What the sender of a request, or the owner of a timer, knows it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CorrelationId(pub i64);

/// A clustered service of this member: 0 to 9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub i32);

/// A recording in an archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub i64);

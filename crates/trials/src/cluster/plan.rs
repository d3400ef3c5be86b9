//! Who there is and what may befall them: drawn from the seed.

use std::net::IpAddr;

use archive::config::SyncLevel;
use runtime::random::Rng;

/// A kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    Links,
    Cut,
    Partition,
    Kill,
    KillVoter,
    Stop,
    Outage,
    PowerCut,
    Pause,
    FullDisk,
    FailedSync,
    Clock,
    KillClient,
}

const TROUBLES: [Trouble; 13] = [
    Trouble::Links,
    Trouble::Cut,
    Trouble::Partition,
    Trouble::Kill,
    Trouble::KillVoter,
    Trouble::Stop,
    Trouble::Outage,
    Trouble::PowerCut,
    Trouble::Pause,
    Trouble::FullDisk,
    Trouble::FailedSync,
    Trouble::Clock,
    Trouble::KillClient,
];

/// What one run is.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// How many members.
    pub(super) members: usize,
    /// How many hosts with clients.
    pub(super) client_hosts: usize,
    /// How many clients on each.
    pub(super) clients: usize,
    /// Most messages of a client a second.
    pub(super) rate: u64,
    /// How durable archives are.
    pub(super) sync: SyncLevel,
    /// What strikes in this run.
    pub(super) troubles: Vec<Trouble>,
    /// Mean time between two strikes in milliseconds.
    pub(super) pause: u64,
    /// Mean time between two snapshots in milliseconds.
    pub(super) snapshot_pause: u64,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let members = if rng.chance(0.7) { 3 } else { 5 };
        let sync = [SyncLevel::None, SyncLevel::Data, SyncLevel::All][index(rng, 3)];
        let mut troubles: Vec<_> = TROUBLES.into_iter().filter(|_| rng.chance(0.6)).collect();
        if sync == SyncLevel::None {
            // Without syncs an archive loses what it has told others that it has.
            troubles.retain(|&trouble| trouble != Trouble::PowerCut);
        }
        Self {
            members,
            client_hosts: 1 + index(rng, 2),
            clients: 1 + index(rng, 2),
            rate: 8 + rng.below(24),
            sync,
            troubles,
            pause: 300 + rng.below(3_000),
            snapshot_pause: 2_000 + rng.below(12_000),
        }
    }

    /// The address of a host, members first.
    pub(super) fn address(host: usize) -> IpAddr {
        IpAddr::from([10, 0, 0, u8::try_from(host + 1).unwrap_or(u8::MAX)])
    }

    /// Where a member listens: for clients 0, members 1, the log 2, catch-up 3, its archive 4.
    #[allow(clippy::unused_self)] // So that it reads as a part of the plan.
    pub(super) fn endpoint(&self, member: usize, purpose: u16) -> String {
        format!("{}:{}", Self::address(member), 20_000 + purpose * 10)
    }

    /// The members as modules are told.
    pub(super) fn members_text(&self) -> String {
        let member = |member: usize| {
            let endpoints: Vec<_> = (0..5).map(|it| self.endpoint(member, it)).collect();
            format!("{member},{}", endpoints.join(","))
        };
        (0..self.members).map(member).collect::<Vec<_>>().join("|")
    }

    /// The members as clients are told.
    pub(super) fn ingress_text(&self) -> String {
        let member = |member: usize| format!("{member}={}", self.endpoint(member, 0));
        (0..self.members).map(member).collect::<Vec<_>>().join(",")
    }

    /// More than half of the members.
    pub(super) const fn quorum(&self) -> usize {
        self.members / 2 + 1
    }
}

/// A number below `bound`.
pub(super) fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}

//! What a member is told at launch: who it is, who the others are, how long it waits.

use alloc::vec::Vec;

use wire::time::Nanos;

use crate::id::MemberId;

/// The unit of time stamps in the log: one for the whole cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// Milliseconds, the default of genuine Aeron.
    #[default]
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
}

impl TimeUnit {
    /// Wall-clock nanoseconds in this unit.
    #[must_use]
    pub const fn from_nanos(self, nanos: i64) -> i64 {
        match self {
            Self::Millis => nanos.div_euclid(1_000_000),
            Self::Micros => nanos.div_euclid(1_000),
            Self::Nanos => nanos,
        }
    }

    /// Nanoseconds in one unit.
    #[must_use]
    pub const fn in_nanos(self) -> i64 {
        match self {
            Self::Millis => 1_000_000,
            Self::Micros => 1_000,
            Self::Nanos => 1,
        }
    }

    /// The code of the wire (cluster specification 1.2, ClusterTimeUnit).
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Millis => 0,
            Self::Micros => 1,
            Self::Nanos => 2,
        }
    }

    /// The unit of a code of the wire; an absent one is milliseconds.
    #[must_use]
    pub const fn from_code(code: Option<i32>) -> Option<Self> {
        match code {
            None | Some(0) => Some(Self::Millis),
            Some(1) => Some(Self::Micros),
            Some(2) => Some(Self::Nanos),
            Some(_) => None,
        }
    }
}

/// How long a member waits for what. All are spans of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Without a word from the leader (or a quorum) for this long: an election.
    pub leader_heartbeat_timeout: Nanos,
    /// How often a leader, and a follower, speaks when it has nothing new to say.
    pub leader_heartbeat_interval: Nanos,
    /// How long the first canvass after start waits for every member to appear.
    pub startup_canvass_timeout: Nanos,
    /// How long a ballot lasts. All but the first candidate nominate themselves by chance in its
    /// second half.
    pub election_timeout: Nanos,
    /// How often positions are reported in a canvass.
    pub election_status_interval: Nanos,
    /// How long a client session may be silent.
    pub session_timeout: Nanos,
    /// How long a terminating leader waits for followers and services.
    pub termination_timeout: Nanos,
}

impl Timeouts {
    /// The defaults of genuine Aeron 1.53 (cluster specification 9.1).
    #[must_use]
    pub const fn genuine() -> Self {
        Self {
            leader_heartbeat_timeout: Nanos::from_secs(10),
            leader_heartbeat_interval: Nanos::from_millis(200),
            startup_canvass_timeout: Nanos::from_secs(60),
            election_timeout: Nanos::from_secs(1),
            election_status_interval: Nanos::from_millis(100),
            session_timeout: Nanos::from_secs(10),
            termination_timeout: Nanos::from_secs(10),
        }
    }

    /// The fast profile of one site (architecture 3.17): fails over in well under a second.
    #[must_use]
    pub const fn fast() -> Self {
        Self {
            leader_heartbeat_timeout: Nanos::from_millis(400),
            leader_heartbeat_interval: Nanos::from_millis(50),
            startup_canvass_timeout: Nanos::from_millis(800),
            election_timeout: Nanos::from_millis(150),
            election_status_interval: Nanos::from_millis(20),
            session_timeout: Nanos::from_secs(10),
            termination_timeout: Nanos::from_secs(10),
        }
    }

    /// What clients are told as `leaderHeartbeatTimeoutNs`: genuine ones give up after twice
    /// that, so it is never below 5 s (architecture 3.17).
    #[must_use]
    pub fn announced_to_clients(&self) -> Nanos {
        self.leader_heartbeat_timeout.max(Nanos::from_secs(5))
    }
}

/// The rules of consensus, each of which a test may switch off to show that it is needed.
///
/// For tests and the bug bank only: every production path uses [`Rules::default`], all true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, clippy::struct_excessive_bools)] // Named after the rules they switch.
pub struct Rules {
    pub p1_persist_before_vote: bool,
    pub p2_term_first: bool,
    pub p3_drop_terms_past_end_at_load: bool,
    pub l1_record_term_on_entry: bool,
    pub l2_count_own_term_only: bool,
    pub l3_readiness_of_recorded_term: bool,
    pub l4_step_down: bool,
    pub f1_compare_tables: bool,
    pub f2_term_before_data: bool,
    pub f3_term_before_append_position: bool,
    pub f4_commit_of_adopted_leader: bool,
    pub f5_never_cut_committed: bool,
    pub f6_refuse_incoherent_terms: bool,
    pub v1_promise: bool,
    pub v2_way_out: bool,
    pub v3_answer_older_leader: bool,
    pub h1_silent_after_loss: bool,
    pub h2_whole_before_regained: bool,
    pub h3_loss_before_cut: bool,
    pub h4_own_terms_bind: bool,
    /// Not a rule of the list but of spec 4.7: a leader never commits beyond its own recording.
    pub commit_within_recorded: bool,
    /// Spec 11.1 rule 2: the candidate term read at a restart binds.
    pub vote_saved: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            p1_persist_before_vote: true,
            p2_term_first: true,
            p3_drop_terms_past_end_at_load: true,
            l1_record_term_on_entry: true,
            l2_count_own_term_only: true,
            l3_readiness_of_recorded_term: true,
            l4_step_down: true,
            f1_compare_tables: true,
            f2_term_before_data: true,
            f3_term_before_append_position: true,
            f4_commit_of_adopted_leader: true,
            f5_never_cut_committed: true,
            f6_refuse_incoherent_terms: true,
            v1_promise: true,
            v2_way_out: true,
            v3_answer_older_leader: true,
            h1_silent_after_loss: true,
            h2_whole_before_regained: true,
            h3_loss_before_cut: true,
            h4_own_terms_bind: true,
            commit_within_recorded: true,
            vote_saved: true,
        }
    }
}

/// Everything a member of a cluster is configured with, as far as consensus cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This member.
    pub member_id: MemberId,
    /// All members, this one included.
    pub members: Vec<MemberId>,
    /// If set, only this member ever nominates itself. While it is away there is no leader.
    pub appointed_leader: Option<MemberId>,
    /// Services of this member: 0 to 10.
    pub service_count: usize,
    /// Sessions, pending and open, that a leader accepts.
    pub sessions_max: usize,
    /// Bytes of service messages kept until they are committed, per service.
    pub pending_message_bytes_max: usize,
    /// Waits.
    pub timeouts: Timeouts,
    /// Unit of time stamps in the log.
    pub time_unit: TimeUnit,
    /// Semantic version of the application, `major << 16 | minor << 8 | patch`.
    pub app_version: i32,
    /// `id=host:port,...` of all members' ingress endpoints: detail of redirects.
    pub ingress_endpoints: alloc::string::String,
    /// Length of a term buffer of the log, in bytes: sets how near catch-up comes to the live log
    /// before it joins it.
    pub log_term_length: i32,
    /// For tests only.
    pub rules: Rules,
}

impl Config {
    /// Genuine defaults for `member_id` among `members`, with one service.
    #[must_use]
    pub fn new(member_id: MemberId, members: Vec<MemberId>) -> Self {
        Self {
            member_id,
            members,
            appointed_leader: None,
            service_count: 1,
            sessions_max: 10,
            pending_message_bytes_max: 1 << 30,
            timeouts: Timeouts::genuine(),
            time_unit: TimeUnit::Millis,
            app_version: 1,
            ingress_endpoints: alloc::string::String::new(),
            log_term_length: 64 * 1024 * 1024,
            rules: Rules::default(),
        }
    }

    /// How many members decide: more than half.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// Before catch-up adds the live log it must be this near to it, in bytes.
    pub(crate) fn live_add_window(&self) -> i64 {
        i64::from(self.log_term_length / 4).min(32 * 1024 * 1024)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_quorum_is_more_than_half() {
        let quorum = |count: i32| {
            Config::new(MemberId(0), (0..count).map(MemberId).collect::<Vec<_>>()).quorum()
        };
        assert_eq!(vec![1, 2, 2, 3, 3], (1..=5).map(quorum).collect::<Vec<_>>());
    }

    #[test]
    fn clients_are_never_told_less_than_five_seconds() {
        assert_eq!(Timeouts::fast().announced_to_clients(), Nanos::from_secs(5));
        assert_eq!(Timeouts::genuine().announced_to_clients(), Nanos::from_secs(10));
    }
}

//! What a scenario written by hand lets go wrong in the service under test.
//!
//! Each befalls one event of the log, named by how many came before it, so that all members, in
//! all their lives, meet it at the same place.

/// What happens at one event.
#[derive(Clone, Debug, Default)]
struct At {
    event: Option<u64>,
    /// At none before this one: some members have passed those already.
    from: u64,
    /// Whom it befalls.
    members: Vec<usize>,
}

impl At {
    fn of(members: &[usize], from: u64) -> Self {
        Self { event: None, from, members: members.to_vec() }
    }

    /// Whether it befalls this member now; the first that asks says at which event.
    fn is_met(&mut self, member: usize, count: u64) -> bool {
        let is_meant = self.members.contains(&member) && count >= self.from;
        is_meant && *self.event.get_or_insert(count) == count
    }
}

/// What may go wrong in the service, if a scenario says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Quirks {
    poison: At,
    stray: At,
    storm: At,
    timers: u64,
    /// The length of every fourth message.
    pub(super) length: Option<usize>,
}

impl Quirks {
    /// The service of these members fails at the next message, `from` events having come; of
    /// nobody: it is mended.
    pub(super) fn poison(&mut self, members: &[usize], from: u64) {
        let event = self.poison.event.filter(|_| !members.is_empty());
        self.poison = At { event, ..At::of(members, from) };
    }

    /// The service of a member takes something into its state that is not in the log.
    pub(super) fn stray(&mut self, member: usize) {
        self.stray = At::of(&[member], 0);
    }

    /// The next message, `from` events having come, asks for so many timers, all due at one time.
    pub(super) fn storm(&mut self, members: usize, timers: u64, from: u64) {
        self.storm = At::of(&(0..members).collect::<Vec<_>>(), from);
        self.timers = timers;
    }

    pub(super) fn is_poisoned(&mut self, member: usize, count: u64) -> bool {
        self.poison.is_met(member, count)
    }

    pub(super) fn strays(&mut self, member: usize, count: u64) -> bool {
        self.stray.is_met(member, count)
    }

    /// How many timers the message after `count` events asks for.
    pub(super) fn timers(&mut self, member: usize, count: u64) -> u64 {
        if self.storm.is_met(member, count) { self.timers } else { 0 }
    }
}

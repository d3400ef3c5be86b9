//! Who there is and what may befall them: drawn from the seed.

use std::net::IpAddr;

use archive::config::SyncLevel;
use runtime::point::Point;
use runtime::random::Rng;

/// Makes an enumeration with names and a list of all.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident: $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$each])* $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// How it is written in a scenario.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// The one with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.name() == name)
            }
        }
    };
}

named! {
    /// A kind of trouble.
    Trouble {
        /// What was cut, clogged or narrowed is as before.
        Mend: "mend",
        /// Loss, bursts, duplicates, reordering and delay, on all links alike.
        Links: "links",
        /// Copies of datagrams that come again up to a minute later.
        Late: "late",
        /// Datagrams without their ends.
        Truncate: "truncate",
        /// A way that swallows what is long.
        Mtu: "mtu",
        /// Datagrams with flipped bits that no checksum finds. Only where nothing but survival is
        /// asked for.
        Corrupt: "corrupt",
        /// One way from one host to another is cut.
        Cut: "cut",
        /// Some members are apart from all others.
        Partition: "partition",
        /// Each member reaches only its two neighbours in a row.
        Chain: "chain",
        /// Each member reaches only its two neighbours in a circle.
        Ring: "ring",
        /// Two halves that have one member in common.
        Bridge: "bridge",
        /// A way keeps everything for a while.
        Clog: "clog",
        /// The ways of a member are clogged one by one and open in another order.
        Swizzle: "swizzle",
        /// A way comes and goes.
        Flap: "flap",
        /// A member is killed.
        Kill: "kill",
        /// A member ends in order.
        Stop: "stop",
        /// All members are gone at once.
        Outage: "outage",
        /// The power of a member is cut.
        PowerCut: "power-cut",
        /// A member is not stepped for a while.
        Pause: "pause",
        /// A member's host freezes, clocks and all.
        Freeze: "freeze",
        /// One part of a member is not stepped: driver, archive, module or service.
        Starve: "starve",
        /// A member's disk has no room.
        FullDisk: "full-disk",
        /// Syncs fail.
        FailedSync: "failed-sync",
        /// Writes fail.
        FailedWrite: "failed-write",
        /// Reads fail.
        FailedRead: "failed-read",
        /// Writes take half of what they are given.
        ShortWrite: "short-write",
        /// Each operation takes long.
        SlowDisk: "slow-disk",
        /// No operation is answered for a while.
        StalledDisk: "stalled-disk",
        /// Syncs do nothing, and then the power is cut.
        LyingDisk: "lying-disk",
        /// A bit is flipped at rest.
        Rot: "rot",
        /// Reads bring flipped bits.
        RotRead: "rot-read",
        /// Writes land elsewhere.
        Misdirect: "misdirect",
        /// A member loses everything that it had.
        Wipe: "wipe",
        /// A member's files are copied; the next time they come back.
        Restore: "restore",
        /// A second process is started where one runs.
        Twice: "twice",
        /// A wall clock is set.
        Clock: "clock",
        /// The clocks of a member run fast or slow.
        Drift: "drift",
        /// A client is killed.
        KillClient: "kill-client",
    }
}

/// Short terms, so that many end.
const LOG_CHANNEL: &str = "aeron:udp?term-length=64k";

/// What one run is.
#[derive(Clone, Debug, PartialEq)]
#[allow(unreachable_pub)] // A part of what is public.
pub struct Plan {
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
    /// Whether recorded frames have checksums.
    pub(super) checksums: bool,
    /// Whether power cuts tear blocks into sectors.
    pub(super) tears: bool,
    /// Whether members are killed when they have voted.
    pub(super) voters: bool,
    /// Mean time between two snapshots in milliseconds; 0: there are none.
    pub(super) snapshot_pause: u64,
    /// Points that strike in the code, and how often in a thousand times.
    pub(super) points: Vec<(Point, u64)>,
    /// How many services a member has: 1 or 2.
    pub(super) services: usize,
    /// The channel of the log of members that have another than all others.
    pub(super) odd_log_channels: Vec<(usize, String)>,
    /// Whether bits flip on the network that nothing finds: then all that is asked of anybody is
    /// to survive.
    pub(super) is_hostile: bool,
}

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let members = if rng.chance(0.7) { 3 } else { 5 };
        let sync = [SyncLevel::None, SyncLevel::Data, SyncLevel::All][index(rng, 3)];
        let checksums = rng.chance(0.5);
        let has_points = rng.chance(0.5);
        let mut points = Vec::new();
        for point in Point::ALL {
            let chance = 1 + rng.below(60);
            if has_points && rng.chance(0.5) {
                points.push((point, chance));
            }
        }
        Self {
            members,
            client_hosts: 1 + index(rng, 2),
            clients: 1 + index(rng, 2),
            rate: 8 + rng.below(24),
            sync,
            checksums,
            tears: checksums && rng.chance(0.7),
            voters: rng.chance(0.6),
            snapshot_pause: 2_000 + rng.below(12_000),
            points,
            services: 1,
            odd_log_channels: Vec::new(),
            is_hostile: rng.chance(0.08),
        }
    }

    /// Whether frame headers have sums, and other files logs: as in the profile of a node that is
    /// safe. They count what is synced.
    pub(super) fn has_guards(&self) -> bool {
        self.checksums && self.sync != SyncLevel::None
    }

    /// What strikes in a run: each kind or not.
    pub(super) fn draw_troubles(&self, rng: &mut Rng) -> Vec<Trouble> {
        let drawn = Trouble::ALL.iter().copied().filter(|_| rng.chance(0.5));
        let mut troubles: Vec<_> = drawn.filter(|it| *it != Trouble::Mend).collect();
        troubles.retain(|trouble| match trouble {
            // Without syncs an archive loses what it has told others that it has.
            Trouble::PowerCut => self.sync != SyncLevel::None,
            // Nor does it find what rots without checksums, or knows what it once had.
            Trouble::Rot | Trouble::RotRead | Trouble::Misdirect => self.has_guards(),
            Trouble::Corrupt => false,
            _ => true,
        });
        if self.is_hostile {
            troubles.push(Trouble::Corrupt);
        }
        troubles
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

    /// The channel of the log, as a member is told.
    pub(super) fn log_channel(&self, member: usize) -> &str {
        let odd = self.odd_log_channels.iter().find(|(it, _)| *it == member);
        odd.map_or(LOG_CHANNEL, |(_, channel)| channel)
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

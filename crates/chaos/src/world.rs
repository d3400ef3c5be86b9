//! All that takes part, stepped together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coracle::os::clock;
use coracle::runtime::{Nanos, Ports};

use crate::load::Load;
use crate::network::{MEMBERS, Network};
use crate::nodes::{Nodes, Status};

/// How often to look at the members.
const LOOK_INTERVAL: Nanos = Nanos::from_millis(20);
/// How long to sleep after a pass in which nothing came and nothing went.
const IDLE: Nanos = Nanos::from_micros(200);
/// How long a cluster that nothing is done to may take until it serves.
const RECOVERY_MAX: Nanos = Nanos::from_secs(60);

/// Network, nodes and clients; they end in this order of fields.
pub(crate) struct World {
    /// The clients.
    pub(crate) load: Load,
    /// The nodes.
    pub(crate) nodes: Nodes,
    /// Their links.
    pub(crate) network: Network,
    _place: Place,
    stop: Arc<AtomicBool>,
    members: [Option<Status>; MEMBERS],
    next_look: Nanos,
    leader: Option<usize>,
    /// How often another member led than before.
    pub(crate) failovers: u64,
    /// The longest time from a heal to an answer.
    pub(crate) longest_recovery: Nanos,
}

/// Directories of this run. Dropping it removes them.
struct Place {
    disk: PathBuf,
    memory: PathBuf,
    keep: bool,
}

impl Place {
    fn make(keep: bool) -> Result<Self, String> {
        let name = format!("coracle-chaos-{}", std::process::id());
        let memory = PathBuf::from("/dev/shm");
        let memory = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let place = Self {
            disk: std::env::temp_dir().join(format!("{name}-disk")),
            memory: memory.join(name),
            keep,
        };
        for directory in [&place.disk, &place.memory] {
            std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.memory);
        if self.keep {
            println!("kept {}", self.disk.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.disk);
        }
    }
}

impl World {
    /// Starts all, and waits until the cluster serves.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn start(
        network: Network,
        program: PathBuf,
        ports: &Ports,
        keep: bool,
    ) -> Result<Self, String> {
        let stop = coracle::os::signal::termination().map_err(|error| error.to_string())?;
        let place = Place::make(keep)?;
        let mut nodes = Nodes::new(program, &network, &place.disk, &place.memory);
        (0..MEMBERS).try_for_each(|id| nodes.start(id))?;
        let (directory, own) = (place.memory.join("client"), network.client());
        let load = Load::start(&directory, ports, &Nodes::endpoints(&network), &own)?;
        let mut world = Self {
            load,
            nodes,
            network,
            _place: place,
            stop,
            members: [None; MEMBERS],
            next_look: clock::now().mono,
            leader: None,
            failovers: 0,
            longest_recovery: Nanos(0),
        };
        world.until("all serve", |world| world.all_serve())?;
        world.answers()?;
        (world.failovers, world.load.longest_silence) = (0, Nanos(0));
        Ok(world)
    }

    /// Goes on for so long.
    ///
    /// # Errors
    /// An answer is wrong, a node ended, or the run is stopped.
    pub(crate) fn run_for(&mut self, span: Nanos) -> Result<(), String> {
        let end = clock::now().mono + span;
        while clock::now().mono < end {
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        // Acquire: pairs with the store of the signal handler.
        if self.stop.load(Ordering::Acquire) {
            return Err("stopped before its end".to_string());
        }
        let now = clock::now();
        if !self.load.step(now)? {
            coracle::os::thread::sleep(IDLE);
        }
        if now.mono >= self.next_look {
            self.next_look = now.mono + LOOK_INTERVAL;
            self.nodes.check()?;
            self.members = std::array::from_fn(|id| self.nodes.status(id));
            // A leader that is cut off still thinks that it leads.
            let led = |id: &usize| self.members[*id].filter(Status::is_leading);
            let by_term = |id: &usize| led(id).map(|status| status.term);
            let leader = (0..MEMBERS).filter(|id| led(id).is_some()).max_by_key(by_term);
            if leader.is_some() && leader != self.leader {
                self.failovers += u64::from(self.leader.is_some());
                self.leader = leader;
            }
        }
        Ok(())
    }

    /// Who led last.
    pub(crate) const fn leader(&self) -> Option<usize> {
        self.leader
    }

    fn all_serve(&self) -> bool {
        self.members.iter().all(|member| member.is_some_and(|it| it.is_in_service()))
            && self.members.iter().flatten().any(Status::is_leading)
    }

    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        let end = clock::now().mono + RECOVERY_MAX;
        while !is_so(self) {
            self.step()?;
            if clock::now().mono > end {
                return Err(format!("{what}: not within {} s", RECOVERY_MAX.as_millis() / 1000));
            }
        }
        Ok(())
    }

    /// Nothing is done to the cluster now: waits until it answers.
    ///
    /// # Errors
    /// It does not in time.
    pub(crate) fn answers(&mut self) -> Result<(), String> {
        let (began, before) = (clock::now().mono, self.load.acknowledged);
        self.until("answers", |world| world.load.acknowledged > before)?;
        self.longest_recovery = self.longest_recovery.max(clock::now().mono - began);
        Ok(())
    }

    /// Nothing is done to the cluster now: waits until every member serves.
    ///
    /// # Errors
    /// One does not in time.
    pub(crate) fn serves(&mut self) -> Result<(), String> {
        self.until("all serve", Self::all_serve)
    }

    /// Waits until all is answered and every member stands where the others do.
    ///
    /// # Errors
    /// They do not, or not alike.
    pub(crate) fn settle(&mut self) -> Result<String, String> {
        self.load.is_sending = false;
        self.until("all is answered", |world| world.load.unanswered() == 0)?;
        self.serves()?;
        let acknowledged = self.load.acknowledged;
        let stands = |world: &Self| {
            let executed = |it: Status| u64::try_from(it.executed) == Ok(acknowledged);
            let first = world.members[0].map(|it| it.position);
            let is_equal =
                |it: &Option<Status>| it.is_some_and(executed) && it.map(|it| it.position) == first;
            world.all_serve() && world.members.iter().all(is_equal)
        };
        self.until("every member has executed all", stands)?;
        // Gauges are not set in one instant.
        self.run_for(Nanos::from_millis(200))?;
        let statuses = self.members.iter().flatten().copied().collect::<Vec<_>>();
        let [first, ..] = statuses[..] else { return Err("no member".to_string()) };
        let is_equal = |it: &Status| it.hash == first.hash && it.position == first.position;
        if statuses.len() != MEMBERS || !statuses.iter().all(is_equal) {
            return Err("the states of members differ".to_string());
        }
        if let Some(doubled) = statuses.iter().map(|it| it.doubled).find(|count| *count != 0) {
            return Err(format!("{doubled} commands were executed twice"));
        }
        Ok(format!(
            "  acknowledged {acknowledged}, none lost, none doubled\n  \
             failovers {}, sessions lost {}, longest silence {} ms, longest recovery {} ms\n  \
             equal states at {}: hash {:016x}, term {}",
            self.failovers,
            self.load.sessions_lost(),
            self.load.longest_silence.as_millis(),
            self.longest_recovery.as_millis(),
            first.position,
            first.hash.unwrap_or(0),
            first.term,
        ))
    }

    /// What the counters of all say, for the report of a failure.
    pub(crate) fn states(&mut self) -> String {
        let acknowledged = self.load.acknowledged;
        let mut text = format!(
            "\n  acknowledged {acknowledged}, {} unanswered, last answer {} ms ago",
            self.load.unanswered(),
            (clock::now().mono - self.load.last_answer).as_millis()
        );
        for id in 0..MEMBERS {
            text += &format!("\n  member {id}: {:?}", self.nodes.status(id));
        }
        text
    }

    /// Ends all.
    ///
    /// # Errors
    /// A node cannot be ended.
    pub(crate) fn close(mut self) -> Result<(), String> {
        (0..MEMBERS).try_for_each(|id| self.nodes.kill(id))
    }
}

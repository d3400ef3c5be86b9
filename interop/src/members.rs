//! Members of clusters in processes of their own: ours, genuine, or one of each in parts.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use coracle::cluster::config::Config;
use coracle::directory::DriverDirectory;
use coracle::memory::counters::CounterRecord;
use coracle::os;
use coracle::wire::counters::state::ALLOCATED;

use crate::java::Peer;
use crate::ours::Deadline;
use crate::transport::port;
use crate::{Setting, echo, member};

/// Types of counters that tell the state of a member.
pub(crate) mod counter {
    /// What the module is doing.
    pub(crate) const STATE: i32 = 200;
    /// Follower, candidate or leader.
    pub(crate) const ROLE: i32 = 201;
    /// How far the log is committed.
    pub(crate) const COMMIT: i32 = 203;
    /// How many snapshots were taken.
    pub(crate) const SNAPSHOTS: i32 = 205;
    /// How far an election is.
    pub(crate) const ELECTION: i32 = 207;
}

const LEADER: i64 = 2;
const ACTIVE: i64 = 1;
const NO_ELECTION: i64 = 17;

/// All parts of a node.
pub(crate) const WHOLE: &str = "driver,archive,module,container";
/// A node without services.
pub(crate) const WITHOUT_CONTAINER: &str = "driver,archive,module";
/// Services alone.
pub(crate) const CONTAINER: &str = "container";

/// Whose code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// This workspace's.
    Ours,
    /// The jar's.
    Theirs,
}

/// Where the members of a cluster are, whoever they are.
pub(crate) struct Plan {
    work: PathBuf,
    members: String,
    ingress: Vec<String>,
    control: Vec<String>,
    more: Vec<(&'static str, String)>,
}

impl Plan {
    /// A cluster of this many members in a test's directory.
    pub(crate) fn new(work: &Path, count: usize) -> Self {
        let mut plan = Self {
            work: work.to_path_buf(),
            members: String::new(),
            ingress: Vec::new(),
            control: Vec::new(),
            more: Vec::new(),
        };
        let mut members = Vec::new();
        for id in 0..count {
            let [ingress, consensus, log, archive] =
                std::array::from_fn(|_| format!("127.0.0.1:{}", port()));
            members.push(format!("{id},{ingress},{consensus},{log},127.0.0.1:0,{archive}"));
            plan.ingress.push(ingress);
            plan.control.push(format!("aeron:udp?endpoint={archive}"));
        }
        plan.members = members.join("|");
        plan
    }

    /// The same with another option of the module.
    pub(crate) fn with(mut self, property: &'static str, value: &str) -> Self {
        self.more.push((property, value.to_string()));
        self
    }

    /// Where clients reach these members.
    pub(crate) fn endpoints(&self, ids: impl IntoIterator<Item = usize>) -> String {
        let of = |id: usize| self.ingress.get(id).map(|endpoint| format!("{id}={endpoint}"));
        ids.into_iter().filter_map(of).collect::<Vec<_>>().join(",")
    }

    /// How many members there are.
    pub(crate) fn count(&self) -> usize {
        self.ingress.len()
    }

    /// The directory of a member.
    pub(crate) fn home(&self, id: usize) -> PathBuf {
        self.work.join(format!("node{id}"))
    }

    /// The directory of a member's driver.
    pub(crate) fn aeron(&self, id: usize) -> PathBuf {
        self.work.join(format!("aeron{id}"))
    }

    /// What a module of ours in a member's place is told.
    ///
    /// # Errors
    /// It cannot be.
    pub(crate) fn config(&self, id: usize) -> Result<Config, String> {
        let mut config = Config::default();
        config.channels.replication_channel = "aeron:udp?endpoint=127.0.0.1:0".to_string();
        for (name, value) in self.options(id, "").iter().filter(|it| it.0.starts_with("aeron.")) {
            config.set(name, value).map_err(|error| error.to_string())?;
        }
        Ok(config)
    }

    fn options(&self, id: usize, parts: &str) -> Vec<(&'static str, String)> {
        let mut options = vec![
            ("parts", parts.to_string()),
            ("aeron", self.aeron(id).display().to_string()),
            ("home", self.home(id).display().to_string()),
            ("control", self.control.get(id).cloned().unwrap_or_default()),
            ("aeron.cluster.member.id", id.to_string()),
            ("aeron.cluster.members", self.members.clone()),
            ("aeron.cluster.ingress.channel", "aeron:udp".to_string()),
            ("aeron.cluster.log.channel", "aeron:udp?term-length=1m".to_string()),
            ("aeron.cluster.leader.heartbeat.timeout", "2s".to_string()),
            ("aeron.cluster.startup.canvass.timeout", "5s".to_string()),
        ];
        options.extend_from_slice(&self.more);
        options
    }

    /// Starts parts of a member, as they begin or where they stopped.
    ///
    /// # Errors
    /// They do not run.
    pub(crate) fn start(
        &self,
        setting: &Setting,
        side: Side,
        id: usize,
        parts: &str,
    ) -> Result<Member, String> {
        let mut member = self.spawn(setting, side, id, parts)?;
        member.expect_ready()?;
        Ok(member)
    }

    fn spawn(
        &self,
        setting: &Setting,
        side: Side,
        id: usize,
        parts: &str,
    ) -> Result<Member, String> {
        std::fs::create_dir_all(self.home(id)).map_err(|error| error.to_string())?;
        let mut options = self.options(id, parts);
        let process = match side {
            Side::Ours => Process::Ours(start_ours(&options)?),
            Side::Theirs => {
                options.push(("deadline", "400".to_string()));
                Process::Theirs(setting.java.start("node", &options)?)
            }
        };
        Ok(Member { id, aeron: self.aeron(id), home: self.home(id), process })
    }

    /// Starts whole members, the side of each as given.
    ///
    /// # Errors
    /// One does not run.
    pub(crate) fn start_all(
        &self,
        setting: &Setting,
        sides: &[Side],
    ) -> Result<Vec<Member>, String> {
        let each = sides.iter().enumerate();
        let all = each.map(|(id, &side)| self.spawn(setting, side, id, WHOLE));
        let mut all = all.collect::<Result<Vec<_>, _>>()?;
        all.iter_mut().try_for_each(Member::expect_ready)?;
        Ok(all)
    }
}

fn start_ours(options: &[(&'static str, String)]) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg(member::ARGUMENT);
    command.args(options.iter().map(|(name, value)| format!("{name}={value}")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    os::process::bind_to_parent(&mut command);
    command.spawn().map_err(|error| error.to_string())
}

enum Process {
    Ours(Child),
    Theirs(Peer),
}

/// Running parts of a member. Killed when dropped.
pub(crate) struct Member {
    /// Which one.
    pub(crate) id: usize,
    aeron: PathBuf,
    home: PathBuf,
    process: Process,
}

impl Member {
    /// The directory of its driver.
    pub(crate) fn aeron(&self) -> &Path {
        &self.aeron
    }

    /// The directory of the node.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// The directory of its files.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.home.join("cluster")
    }

    fn expect_ready(&mut self) -> Result<(), String> {
        let child = match &mut self.process {
            Process::Theirs(peer) => return peer.expect("READY").map(drop),
            Process::Ours(child) => child,
        };
        let mut line = String::new();
        let output = child.stdout.take().ok_or("a member has no output")?;
        let read = BufReader::new(output).read_line(&mut line);
        let is_ready = read.is_ok() && line.trim() == "READY";
        is_ready.then_some(()).ok_or_else(|| format!("member {} did not start", self.id))
    }

    /// The value of its counter of a type: the youngest, where one of a dead part still stands.
    pub(crate) fn counter(&self, type_id: i32) -> Option<i64> {
        let directory = DriverDirectory::open(&self.aeron).ok()?;
        let of_type =
            |record: &CounterRecord| record.type_id.0 == type_id && record.state == ALLOCATED;
        let all = directory.counters().records().filter(of_type);
        all.max_by_key(|record| record.registration_id).map(|record| record.value)
    }

    /// How many sessions it shows.
    pub(crate) fn sessions(&self) -> Option<usize> {
        const SESSION: i32 = 241;
        let directory = DriverDirectory::open(&self.aeron).ok()?;
        let of_session =
            |record: &CounterRecord| record.type_id.0 == SESSION && record.state == ALLOCATED;
        Some(directory.counters().records().filter(of_session).count())
    }

    /// Whether it leads.
    pub(crate) fn is_leader(&self) -> bool {
        self.counter(counter::ROLE) == Some(LEADER)
    }

    /// Whether it is ready to do its part, whatever that is.
    pub(crate) fn is_in_service(&self) -> bool {
        self.counter(counter::ELECTION) == Some(NO_ELECTION)
            && self.counter(counter::STATE) == Some(ACTIVE)
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    /// It had ended before.
    pub(crate) fn kill(self) -> Result<(), String> {
        self.check()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        match &self.process {
            Process::Ours(child) => child.id(),
            Process::Theirs(peer) => peer.id(),
        }
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let pid = self.pid();
        // A process that ended and was not waited for is in state Z.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return Err(format!("member {} has ended", self.id));
        }
        Ok(())
    }

    /// Waits until its module has ended because the cluster was shut down, and ends the rest.
    ///
    /// # Errors
    /// It still runs after a while, or did not end well.
    pub(crate) fn terminated(mut self) -> Result<(), String> {
        if let Process::Theirs(peer) = &mut self.process {
            peer.expect("REMARK module: terminated")?;
            return self.finish();
        }
        let deadline = Deadline::new();
        while self.check().is_ok() {
            deadline.pause(&format!("member {} ends", self.id))?;
        }
        self.finish()
    }

    /// Ends it in order.
    ///
    /// # Errors
    /// It failed before, or while it ended.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        let theirs = match &mut self.process {
            Process::Theirs(peer) => peer,
            Process::Ours(child) => {
                drop(child.stdin.take());
                let status = child.wait().map_err(|error| error.to_string())?;
                let id = self.id;
                return status
                    .success()
                    .then_some(())
                    .ok_or_else(|| format!("member {id}: {status}"));
            }
        };
        theirs.finish_in_place().map(drop)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Process::Ours(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so.
///
/// # Errors
/// It was not in time, or a member ended.
pub(crate) fn until<'a>(
    members: impl IntoIterator<Item = &'a Member> + Clone,
    what: &str,
    mut is_so: impl FnMut() -> bool,
) -> Result<(), String> {
    let deadline = Deadline::new();
    while !is_so() {
        members.clone().into_iter().try_for_each(Member::check)?;
        deadline.pause(what).map_err(|late| format!("{late}{}", states(members.clone())))?;
        os::thread::sleep(coracle::runtime::Nanos::from_millis(10));
    }
    Ok(())
}

/// What their counters say, for the report of a failure.
pub(crate) fn states<'a>(members: impl IntoIterator<Item = &'a Member>) -> String {
    let mut text = String::new();
    for member in members {
        text += &format!("\n  member {}:", member.id);
        for (name, type_id) in [
            ("state", counter::STATE),
            ("role", counter::ROLE),
            ("election", counter::ELECTION),
            ("commit", counter::COMMIT),
            ("snapshots", counter::SNAPSHOTS),
            ("executed", echo::EXECUTED),
            ("hash", echo::HASH),
            ("restored", echo::RESTORED),
        ] {
            text += &format!(" {name} {:?}", member.counter(type_id));
        }
    }
    text
}

/// Waits until one leads and all are in service; returns the index of the leader.
///
/// # Errors
/// It takes too long, or one ended.
pub(crate) fn leader(members: &[Member]) -> Result<usize, String> {
    let mut leader = None;
    until(members, "one leads and all are in service", || {
        leader = members.iter().position(Member::is_leader);
        leader.is_some() && members.iter().all(Member::is_in_service)
    })?;
    leader.ok_or_else(|| "nobody leads".to_string())
}

/// Waits until all have executed this many messages at least, and the same, and stand at the same
/// position with the same hash; returns how many, and where.
///
/// # Errors
/// It takes too long, or one ended.
pub(crate) fn agree(members: &[Member], least: u64) -> Result<(i64, i64), String> {
    let least = i64::try_from(least).map_err(|error| error.to_string())?;
    // The hash is that of everything executed, whoever executed it.
    let of = |member: &Member| {
        let hash = member.counter(echo::HASH)?;
        Some((member.counter(echo::EXECUTED)?, member.counter(counter::COMMIT)?, hash))
    };
    let mut agreed = None;
    until(members, "all stand where the others do", || {
        let mut all = members.iter().map(of);
        agreed = all.next().flatten().filter(|it| it.0 >= least);
        agreed.is_some() && all.all(|it| it == agreed) && members.iter().all(Member::is_in_service)
    })?;
    let (executed, position, _) = agreed.ok_or("they do not agree")?;
    Ok((executed, position))
}

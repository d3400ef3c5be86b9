//! Namespaces, one for each node, and what can be done to their links.

use std::process::{Command, Stdio};

/// How many nodes there are.
pub(crate) const MEMBERS: usize = 3;

/// Why nothing can be run on this machine.
pub(crate) struct Unavailable(pub(crate) String);

/// A bridge of this host with a namespace at each of its ends. Dropping it removes all.
pub(crate) struct Network {
    /// The process id in names, so that two runs do not meet.
    id: u32,
    /// The network without its last number.
    prefix: String,
    has_netem: bool,
}

impl Network {
    /// Makes bridge and namespaces.
    ///
    /// # Errors
    /// What this machine lacks.
    pub(crate) fn make() -> Result<Self, Unavailable> {
        for program in ["ip", "nft"] {
            run(&[program, "-V"]).map_err(|_| Unavailable(format!("there is no {program}")))?;
        }
        let id = std::process::id();
        let prefix = format!("10.{}.{}", 200 + id / 256 % 50, id % 256);
        let mut network = Self { id, prefix, has_netem: false };
        network.build().map_err(Unavailable)?;
        network.has_netem = network.try_netem();
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.bridge();
        run(&["ip", "link", "add", &bridge, "type", "bridge"])?;
        run(&["ip", "address", "add", &format!("{}/24", self.client()), "dev", &bridge])?;
        run(&["ip", "link", "set", &bridge, "up"])?;
        for id in 0..MEMBERS {
            let (space, here, there) =
                (self.space(id), self.link(id), format!("{}p", self.link(id)));
            run(&["ip", "netns", "add", &space])?;
            run(&["ip", "link", "add", &here, "type", "veth", "peer", "name", &there])?;
            run(&["ip", "link", "set", &there, "netns", &space])?;
            run(&["ip", "link", "set", &here, "master", &bridge])?;
            run(&["ip", "link", "set", &here, "up"])?;
            let address = format!("{}/24", self.address(id));
            self.inside(id, &["ip", "address", "add", &address, "dev", &there])?;
            self.inside(id, &["ip", "link", "set", &there, "up"])?;
            self.inside(id, &["ip", "link", "set", "lo", "up"])?;
            self.inside(id, &["nft", "add table inet chaos"])?;
            for (chain, hook) in [("inward", "input"), ("outward", "output")] {
                let rule = format!("{{ type filter hook {hook} priority 0; }}");
                self.inside(id, &["nft", &format!("add chain inet chaos {chain} {rule}")])?;
            }
        }
        Ok(())
    }

    /// Whether the kernel loses packets by itself; else filters do it.
    fn try_netem(&self) -> bool {
        let link = self.link(0);
        let netem = ["tc", "qdisc", "add", "dev", &link, "root", "netem", "loss", "1%"];
        let has_netem = run(&netem).is_ok();
        if has_netem {
            let _ = run(&["tc", "qdisc", "del", "dev", &link, "root"]);
        }
        has_netem
    }

    /// What there is to say about it.
    pub(crate) fn facts(&self) -> String {
        let by = if self.has_netem { "tc netem" } else { "nft, as the kernel has no netem" };
        format!("nodes at {}.1 to {}.{MEMBERS}, loss by {by}", self.prefix, self.prefix)
    }

    /// The address of a member.
    pub(crate) fn address(&self, id: usize) -> String {
        format!("{}.{}", self.prefix, id + 1)
    }

    /// The address of the client.
    pub(crate) fn client(&self) -> String {
        format!("{}.254", self.prefix)
    }

    /// The namespace of a member.
    pub(crate) fn space(&self, id: usize) -> String {
        format!("coracle-chaos-{}-{id}", self.id)
    }

    fn bridge(&self) -> String {
        format!("cb{}", self.id)
    }

    fn link(&self, id: usize) -> String {
        format!("cv{}x{id}", self.id)
    }

    fn inside(&self, id: usize, words: &[&str]) -> Result<(), String> {
        run(&[&["ip", "netns", "exec", &self.space(id)], words].concat())
    }

    /// Pulls a member's cable, or puts it back.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn set_link(&self, id: usize, is_up: bool) -> Result<(), String> {
        run(&["ip", "link", "set", &self.link(id), if is_up { "up" } else { "down" }])
    }

    /// Lets nothing in to a member; or nothing of this other member.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn deafen(&self, id: usize, to: Option<usize>) -> Result<(), String> {
        let from = to.map(|other| format!("ip saddr {} ", self.address(other)));
        self.rule(id, "inward", &format!("iifname != \"lo\" {}drop", from.unwrap_or_default()))
    }

    /// Lets nothing out of a member; or nothing to this other member.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn mute(&self, id: usize, to: Option<usize>) -> Result<(), String> {
        let to = to.map(|other| format!("ip daddr {} ", self.address(other)));
        self.rule(id, "outward", &format!("oifname != \"lo\" {}drop", to.unwrap_or_default()))
    }

    /// Loses some of what comes to a member and of what leaves it.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn lose(&self, id: usize, percent: u64) -> Result<(), String> {
        if self.has_netem {
            let (link, loss) = (self.link(id), format!("{percent}%"));
            let there = format!("{link}p");
            run(&["tc", "qdisc", "add", "dev", &link, "root", "netem", "loss", &loss])?;
            let netem = ["tc", "qdisc", "add", "dev", &there, "root", "netem", "loss", &loss];
            return self.inside(id, &netem);
        }
        for (chain, link) in [("inward", "iifname"), ("outward", "oifname")] {
            let some = format!("{link} != \"lo\" numgen random mod 100 < {percent} drop");
            self.rule(id, chain, &some)?;
        }
        Ok(())
    }

    /// Heals all that was done to a member's link.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn heal(&self, id: usize) -> Result<(), String> {
        if self.has_netem {
            let link = self.link(id);
            // There may be none.
            let _ = run(&["tc", "qdisc", "del", "dev", &link, "root"]);
            let there = format!("{link}p");
            let _ = self.inside(id, &["tc", "qdisc", "del", "dev", &there, "root"]);
        }
        self.inside(id, &["nft", "flush table inet chaos"])?;
        self.set_link(id, true)
    }

    fn rule(&self, id: usize, chain: &str, rule: &str) -> Result<(), String> {
        self.inside(id, &["nft", &format!("add rule inet chaos {chain} {rule}")])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for id in 0..MEMBERS {
            let _ = run(&["ip", "netns", "del", &self.space(id)]);
            let _ = run(&["ip", "link", "del", &self.link(id)]);
        }
        let _ = run(&["ip", "link", "del", &self.bridge()]);
    }
}

/// Runs a program to its end.
///
/// # Errors
/// It cannot be run, or failed; with what it said.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (program, arguments) = words.split_first().ok_or("no program")?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", words.join(" "), said.trim()))
}

//! The whole cluster: what can happen in a state, and where it leads.
//!
//! A state is a row of numbers: the situation of each member, what was ever committed, late
//! messages. Situations are interned by their fingerprints, and what an event makes of a situation
//! is worked out by the real core once.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::hash::{Renaming, mix, of_words};
use crate::member::{Ghost, Member};
use crate::message::Message;
use crate::node::{Entry, Event, Node};
use crate::setup::Setup;
use crate::twins::Twins;

/// Members, at most.
const MEMBERS_MAX: usize = 5;
/// Longest row: 5 members, what was committed, 4 late messages.
pub const ROW: usize = 10;
/// A state: situations, ghost, late messages; unused places hold [`NOTHING`].
pub type Row = [u32; ROW];
/// No late message.
pub const NOTHING: u32 = u32::MAX;

/// What a situation takes: the core, its fingerprints, what it says. Measured.
const BYTES_OF_SITUATION: usize = 4_000;

/// An event by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The message of this number arrives.
    Deliver(u32),
    /// See [`Event`].
    Copy(Entry),
    /// See [`Event`].
    Close(bool),
    /// See [`Event`].
    Expire,
    /// See [`Event`].
    Restart,
    /// See [`Event`].
    LoseDisk,
    /// See [`Event`].
    Rot(u8),
    /// See [`Event`].
    Snapshot,
    /// See [`Event`].
    Append,
    /// See [`Event`].
    Record,
    /// See [`Event`].
    Join,
}

/// One step of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// To whom it happens.
    pub member: u8,
    /// What happens.
    pub key: Key,
    /// It crashes on the way, at one of several points.
    pub torn: u8,
}

/// What an event makes of a situation.
#[derive(Clone, Copy, Debug)]
struct Effect {
    to: u32,
    /// Where messages stand that are said once, now.
    shots: (u32, u32),
    torn: u8,
    is_violation: bool,
}

/// A state that one step leads to.
#[derive(Clone, Debug)]
pub struct Next {
    /// The state.
    pub row: Row,
    /// Its fingerprint, the same for all namings of members.
    pub hash: u128,
    /// Which of the steps possible: those of one event have one number.
    pub kind: usize,
    /// How it came about, if asked for.
    pub path: Vec<Label>,
    /// What is wrong with it.
    pub violation: Option<String>,
}

/// States that one step leads to.
#[derive(Default)]
pub struct Found {
    /// Them.
    pub next: Vec<Next>,
    /// Whether paths are kept.
    pub keeps_paths: bool,
    pub(crate) rows: FxHashSet<Row>,
    pub(crate) kind: usize,
    pub(crate) path: Vec<Label>,
    /// What was said on the path, if messages may outlive their sender's words.
    pub(crate) said: Vec<u32>,
}

/// All situations known so far.
pub struct World {
    /// What is searched.
    pub setup: Setup,
    renamings: Vec<Renaming>,
    members: Vec<Member>,
    member_ids: FxHashMap<u128, u32>,
    messages: Vec<(Message, Vec<u128>)>,
    message_ids: FxHashMap<u128, u32>,
    ghosts: Vec<(Ghost, Vec<u128>)>,
    ghost_ids: FxHashMap<u128, u32>,
    memo: FxHashMap<(u32, Key), (u32, u32)>,
    effects: Vec<Effect>,
    shots: Vec<u32>,
    violations: FxHashMap<u32, String>,
    twins: Twins,
    /// Situations that count as one and are not.
    pub(crate) parted: Option<String>,
    hellos: Vec<u32>,
    /// Fingerprints of situations under renamings, where there are too many to keep all.
    renamed: FxHashMap<(u32, u32), u128>,
}

impl World {
    /// A world in which nothing is known.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            renamings: Renaming::all(setup.members),
            members: Vec::new(),
            member_ids: FxHashMap::default(),
            messages: Vec::new(),
            message_ids: FxHashMap::default(),
            ghosts: Vec::new(),
            ghost_ids: FxHashMap::default(),
            memo: FxHashMap::default(),
            effects: Vec::new(),
            shots: Vec::new(),
            violations: FxHashMap::default(),
            twins: Twins::default(),
            parted: None,
            hellos: Vec::new(),
            renamed: FxHashMap::default(),
        }
    }

    /// The state in which all members start for the first time.
    pub fn first(&mut self) -> Row {
        let mut row = [NOTHING; ROW];
        for (id, place) in (0..self.setup.members).zip(&mut row) {
            *place = self.intern(Node::empty(&self.setup, id));
        }
        row[self.setup.members] = self.intern_ghost(Ghost::new(&self.setup));
        let said = (0..self.setup.members).map(|member| self.member(&row, member).says.clone());
        self.hellos = said.flatten().collect();
        row
    }

    /// What others said to `member` when they started for the first time.
    pub(crate) fn hellos(&self, member: usize) -> Vec<u32> {
        let to_member = |&&id: &&u32| self.message(id).to == member;
        self.hellos.iter().filter(to_member).copied().collect()
    }

    /// Where an effect leads, and at which crash.
    pub(crate) fn effect(&self, index: u32) -> (u32, u8) {
        let effect = &self.effects[index as usize];
        (effect.to, effect.torn)
    }

    /// What an effect says once.
    pub(crate) fn shots(&self, index: u32) -> &[u32] {
        let (begin, end) = self.effects[index as usize].shots;
        &self.shots[begin as usize..end as usize]
    }

    /// The situation of this number.
    pub(crate) fn situation(&self, id: u32) -> &Member {
        &self.members[id as usize]
    }

    /// All states that one step leads to from `row`.
    pub fn expand(&mut self, row: &Row, found: &mut Found) {
        found.next.clear();
        found.rows.clear();
        found.kind = 0;
        if self.setup.is_coarse {
            self.expand_coarsely(row, found);
        } else {
            self.expand_finely(row, found);
        }
    }

    /// The situation of a member.
    #[must_use]
    pub fn member(&self, row: &Row, member: usize) -> &Member {
        &self.members[row[member] as usize]
    }

    /// What was committed, and who led.
    #[must_use]
    pub fn ghost(&self, row: &Row) -> &Ghost {
        &self.ghosts[row[self.setup.members] as usize].0
    }

    /// Situations and effects known so far.
    #[must_use]
    pub fn known(&self) -> (usize, usize) {
        (self.members.len(), self.effects.len())
    }

    /// How often twins were compared: see [`Setup::twins`].
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.twins.compared
    }

    /// Bytes that they take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.members.len() * BYTES_OF_SITUATION
            + self.memo.capacity() * 32
            + self.effects.len() * 20
    }

    /// The message of this number.
    #[must_use]
    pub fn message(&self, id: u32) -> &Message {
        &self.messages[id as usize].0
    }

    fn keeps_all_hashes(&self) -> bool {
        self.setup.members <= 3
    }

    fn intern(&mut self, node: Node) -> u32 {
        let with_waits = !self.setup.is_coarse;
        let hash = Member::hash(&node, with_waits, &self.renamings[0]);
        if let Some(&id) = self.member_ids.get(&hash) {
            self.twins.keep(self.setup.twins, id, node);
            return id;
        }
        let kept = if self.keeps_all_hashes() { self.renamings.as_slice() } else { &[] };
        let hashes =
            kept.iter().map(|renaming| Member::hash(&node, with_waits, renaming)).collect();
        let says = node.says(&self.setup);
        let mut says: Vec<u32> = says.into_iter().map(|m| self.intern_message(m)).collect();
        says.sort_unstable();
        says.dedup();
        let id = self.members.len() as u32;
        self.members.push(Member::new(node, says, hashes));
        self.member_ids.insert(hash, id);
        id
    }

    pub(crate) fn intern_message(&mut self, message: Message) -> u32 {
        let hash = |renaming: &Renaming| {
            of_words(|word| message.words(&|member| renaming.of(member), word))
        };
        let own = hash(&self.renamings[0]);
        if let Some(&id) = self.message_ids.get(&own) {
            return id;
        }
        let hashes = self.renamings.iter().map(hash).collect();
        let id = self.messages.len() as u32;
        self.messages.push((message, hashes));
        self.message_ids.insert(own, id);
        id
    }

    fn intern_ghost(&mut self, ghost: Ghost) -> u32 {
        let own = ghost.hash(&self.renamings[0], true);
        if let Some(&id) = self.ghost_ids.get(&own) {
            return id;
        }
        let all = !self.setup.is_coarse;
        let hashes = self.renamings.iter().map(|renaming| ghost.hash(renaming, all)).collect();
        let id = self.ghosts.len() as u32;
        self.ghosts.push((ghost, hashes));
        self.ghost_ids.insert(own, id);
        id
    }

    /// The event of a key.
    pub(crate) fn event(&self, key: Key) -> Event {
        match key {
            Key::Deliver(id) => Event::Deliver(self.messages[id as usize].0.body.clone()),
            Key::Copy(entry) => Event::Copy(entry),
            Key::Close(in_order) => Event::Close(in_order),
            Key::Expire => Event::Expire,
            Key::Restart => Event::Restart,
            Key::LoseDisk => Event::LoseDisk,
            Key::Rot(from) => Event::Rot(usize::from(from)),
            Key::Snapshot => Event::Snapshot,
            Key::Append => Event::Append,
            Key::Record => Event::Record,
            Key::Join => Event::Join,
        }
    }

    /// What an event makes of a situation: indices of effects.
    pub(crate) fn effects(&mut self, from: u32, key: Key) -> (u32, u32) {
        if let Some(&known) = self.memo.get(&(from, key)) {
            return known;
        }
        let event = self.event(key);
        let before = &self.members[from as usize];
        let said_before = before.says.clone();
        let before = before.node.clone();
        let steps = before.handle(&self.setup, &event);
        let begin = self.effects.len() as u32;
        for (torn, step) in (0..).zip(steps) {
            let is_wait = torn == 0 && key == Key::Expire && !self.setup.is_coarse;
            if is_wait && !Member::is_worth_waiting(&before, &step.node) {
                continue;
            }
            let is_reborn = torn > 0 || matches!(key, Key::Restart | Key::LoseDisk);
            let is_lost = key == Key::LoseDisk;
            let violation = step.wrong.or_else(|| {
                Member::violation(&self.setup, &before, &step.node, is_reborn, is_lost)
            });
            let is_unchanged = step.node.disk == before.disk;
            let to = self.intern(step.node);
            let said_after = self.members[to as usize].says.clone();
            let mut shots: Vec<u32> =
                step.sends.into_iter().map(|message| self.intern_message(message)).collect();
            shots.retain(|id| !said_before.contains(id) && !said_after.contains(id));
            shots.sort_unstable();
            shots.dedup();
            if torn > 0 && is_unchanged && shots.is_empty() {
                continue;
            }
            let is_violation = violation.is_some();
            if let Some(text) = violation {
                self.violations.insert(self.effects.len() as u32, text);
            }
            let first = self.shots.len() as u32;
            self.shots.append(&mut shots);
            let shots = (first, self.shots.len() as u32);
            self.effects.push(Effect { to, shots, torn, is_violation });
        }
        let known = (begin, self.effects.len() as u32);
        self.memo.insert((from, key), known);
        let mut twins = std::mem::take(&mut self.twins);
        let parted = twins.compare(self, from, key);
        self.twins = twins;
        if self.parted.is_none() {
            self.parted = parted;
        }
        known
    }

    /// What another's log or recording has for this member.
    pub(crate) fn data(&self, row: &Row, member: usize) -> Option<Key> {
        data(|member| &self.member(row, member).node, member)
    }

    /// Where its recording may turn out to be damaged.
    pub(crate) fn rots(&self, row: &Row, member: usize) -> impl Iterator<Item = Key> + use<> {
        let may_rot = self.ghost(row).rots < self.setup.rots;
        let entries = if may_rot { self.member(row, member).node.disk.log.len() } else { 0 };
        (0..entries as u8).map(Key::Rot)
    }

    /// What an effect adds to what was committed and who led; what is wrong with it.
    pub(crate) fn apply(
        &mut self,
        before: &Row,
        after: &mut Row,
        member: usize,
        effect: u32,
        key: Key,
    ) -> Option<String> {
        if self.effects[effect as usize].is_violation {
            let text = self.violations.get(&effect).cloned().unwrap_or_default();
            return Some(format!("member {member}: {text}"));
        }
        match self.witness(before, after, member, key) {
            Ok(ghost) => {
                after[self.setup.members] = ghost;
                None
            }
            Err(text) => Some(text),
        }
    }

    /// Where late messages stand in a row.
    pub(crate) fn late_places(&self) -> std::ops::Range<usize> {
        let first = self.setup.members + 1;
        first..first + self.setup.late
    }

    /// The same with `message` in flight, if there is room.
    pub(crate) fn with_late(&self, row: &Row, message: u32) -> Option<Row> {
        let places = self.late_places();
        if row[places.clone()].contains(&message) {
            return None;
        }
        let place = places.clone().find(|&place| row[place] == NOTHING)?;
        let mut with = *row;
        with[place] = message;
        with[places].sort_unstable();
        Some(with)
    }

    /// A state that one step leads to.
    pub(crate) fn hand_out(&mut self, found: &mut Found, row: &Row, violation: Option<String>) {
        // Many ways lead to one state: only the first counts.
        if violation.is_none() && !found.rows.insert(*row) {
            return;
        }
        let is_symmetric = self.setup.is_symmetric;
        let hash = if is_symmetric { self.canonical(row) } else { self.renamed_hash(row, 0) };
        let path = if found.keeps_paths { found.path.clone() } else { Vec::new() };
        let kind = found.kind;
        found.next.push(Next { row: *row, hash, kind, path, violation });
    }

    /// The fingerprint of a state: the lowest of all namings of its members.
    pub fn canonical(&mut self, row: &Row) -> u128 {
        if self.keeps_all_hashes() {
            let all = 0..self.renamings.len();
            return all.map(|renaming| self.renamed_hash(row, renaming)).min().unwrap_or(0);
        }
        // Only namings that sort the members by what is the same under all namings.
        let members = self.setup.members;
        let mut order = [(u64::MAX, 0); MEMBERS_MAX];
        for (member, place) in order.iter_mut().enumerate().take(members) {
            *place = (self.member(row, member).rank, member);
        }
        let order = &mut order[..members];
        order.sort_unstable();
        let first = self.renamed_hash(row, named(order));
        let mut is_alike = true;
        for at in 1..members {
            // If members of one rank may change places with their neighbours, they may in any way.
            if is_alike && order[at - 1].0 == order[at].0 {
                order.swap(at - 1, at);
                is_alike = self.renamed_hash(row, named(order)) == first;
                order.swap(at - 1, at);
            }
        }
        if is_alike {
            return first;
        }
        let mut lowest = first;
        for renaming in 0..self.renamings.len() {
            let names = &self.renamings[renaming].0;
            let is_below = |one: &(u64, usize), two: &(u64, usize)| {
                one.0 >= two.0 || names[one.1] < names[two.1]
            };
            if order.iter().all(|one| order.iter().all(|two| is_below(one, two))) {
                lowest = lowest.min(self.renamed_hash(row, renaming));
            }
        }
        lowest
    }

    fn renamed_hash(&mut self, row: &Row, renaming: usize) -> u128 {
        let members = self.setup.members;
        let mut places = [0u128; ROW];
        for (member, &situation) in row.iter().enumerate().take(members) {
            let hash = match self.members[situation as usize].hashes.get(renaming) {
                Some(&hash) => hash,
                None => self.renamed_situation(situation, renaming),
            };
            places[self.renamings[renaming].0[member]] = hash;
        }
        places[members] = self.ghosts[row[members] as usize].1[renaming];
        let late = self.late_places();
        for place in late.clone() {
            if row[place] != NOTHING {
                places[place] = self.messages[row[place] as usize].1[renaming];
            }
        }
        places[late.clone()].sort_unstable();
        places[..late.end].iter().fold(7, |hash, &place| mix(hash, place))
    }

    fn renamed_situation(&mut self, situation: u32, renaming: usize) -> u128 {
        let (members, renamings) = (&self.members, &self.renamings);
        let with_waits = !self.setup.is_coarse;
        *self.renamed.entry((situation, renaming as u32)).or_insert_with(|| {
            Member::hash(&members[situation as usize].node, with_waits, &renamings[renaming])
        })
    }

    /// What a step of `member` adds to what was committed and who led.
    fn witness(
        &mut self,
        before: &Row,
        after: &Row,
        member: usize,
        key: Key,
    ) -> Result<u32, String> {
        let known = after[self.setup.members];
        let (old, new) = (self.member(before, member), self.member(after, member));
        let is_quiet = new.exposed == old.exposed && new.leads == old.leads;
        let (is_lost, is_rotten) = (key == Key::LoseDisk, matches!(key, Key::Rot(_)));
        if is_quiet && !is_lost && !is_rotten {
            return Ok(known);
        }
        let mut ghost = self.ghosts[known as usize].0.clone();
        ghost.lost_disks += u32::from(is_lost);
        ghost.rots += u32::from(is_rotten);
        let cluster: Vec<&Member> =
            (0..self.setup.members).map(|member| self.member(after, member)).collect();
        let ghost = ghost.extended(&self.setup, &cluster, member, !old.leads)?;
        Ok(self.intern_ghost(ghost))
    }

    /// What must hold in a state.
    pub fn check(&self, row: &Row) -> Result<(), String> {
        let cluster: Vec<&Member> =
            (0..self.setup.members).map(|member| self.member(row, member)).collect();
        self.ghost(row).check(&self.setup, &cluster)
    }
}

/// The renaming by which members are called by their places in `order`.
fn named(order: &[(u64, usize)]) -> usize {
    let mut names = [0; MEMBERS_MAX];
    for (name, &(_, member)) in order.iter().enumerate() {
        names[member] = name;
    }
    Renaming::index(&names[..order.len()])
}

/// What another's log or recording has for `member`.
pub fn data<'a>(nodes: impl Fn(usize) -> &'a Node, member: usize) -> Option<Key> {
    let own = nodes(member);
    let next = own.disk.log.len();
    if let Some(copying) = own.agent.copying {
        return nodes(copying.from).disk.log.get(next).map(|&entry| Key::Copy(entry));
    }
    let image = own.agent.image.as_ref()?;
    let source = nodes(image.leader);
    let stream = source.agent.stream.as_ref().filter(|s| s.session == image.session)?;
    if !image.is_joined {
        let is_here = stream.end() as i64 * crate::node::ENTRY == own.core.log_position().0;
        return (image.is_live && is_here).then_some(Key::Join);
    }
    if !image.is_recorded {
        return None;
    }
    let live = stream.entry(next).filter(|_| image.is_live);
    let replayed = source.disk.log.get(next).copied().filter(|_| image.is_replayed);
    live.or(replayed).map(Key::Copy)
}

//! Fine steps: one event of one member each, in every order.

use crate::world::{Found, Key, Label, NOTHING, Row, World};

/// Answers to answers that arrive at once.
const DEPTH_MAX: usize = 8;

impl World {
    /// All states that one step leads to from `row`.
    pub(crate) fn expand_finely(&mut self, row: &Row, found: &mut Found) {
        for member in 0..self.setup.members {
            self.expand_member(row, member, found);
            self.expand_messages(row, member, found);
        }
        for place in self.late_places() {
            let message = row[place];
            if message == NOTHING {
                continue;
            }
            let to = self.message(message).to;
            let mut without = *row;
            without[place] = NOTHING;
            self.act(found, row, to, Key::Deliver(message), &[], 0);
            self.act(found, &without, to, Key::Deliver(message), &[], 0);
        }
    }

    fn expand_member(&mut self, row: &Row, member: usize, found: &mut Found) {
        let setup = self.setup;
        let has_image = self.member(row, member).node.agent.image.is_some();
        let can_lose = self.ghost(row).lost_disks < setup.lost_disks;
        let events = [
            (true, Key::Expire),
            (true, Key::Append),
            (true, Key::Record),
            (setup.has_crashes, Key::Restart),
            (setup.has_snapshots, Key::Snapshot),
            (setup.has_closes && has_image, Key::Close(false)),
            (setup.has_closes && has_image, Key::Close(true)),
            (can_lose, Key::LoseDisk),
        ];
        let events = events.into_iter().filter(|(is_possible, _)| *is_possible);
        let keys = events.map(|(_, key)| key).chain(self.data(row, member));
        for key in keys.chain(self.rots(row, member)) {
            self.act(found, row, member, key, &[], 0);
        }
    }

    fn expand_messages(&mut self, row: &Row, member: usize, found: &mut Found) {
        for index in 0..self.member(row, member).says.len() {
            let message = self.member(row, member).says[index];
            let to = self.message(message).to;
            self.act(found, row, to, Key::Deliver(message), &[], 0);
        }
    }

    /// One event of one member; `rest` was said once before it and may arrive at once.
    fn act(
        &mut self,
        found: &mut Found,
        row: &Row,
        member: usize,
        key: Key,
        rest: &[u32],
        depth: usize,
    ) {
        if depth == 0 {
            found.kind += 1;
        }
        let (begin, end) = self.effects(row[member], key);
        for index in begin..end {
            let (to, torn) = self.effect(index);
            let shots = self.shots(index).to_vec();
            if to == row[member] && shots.is_empty() && key != Key::LoseDisk {
                continue;
            }
            let mut next = *row;
            next[member] = to;
            found.path.push(Label { member: member as u8, key, torn });
            if let Some(text) = self.apply(row, &mut next, member, index, key) {
                self.hand_out(found, &next, Some(text));
                found.path.pop();
                continue;
            }
            let pending = [rest, &shots].concat();
            if self.setup.late > 0 {
                let gone = self.fallen_silent(row[member], to);
                self.keep(found, &next, &gone, &pending, depth);
            } else {
                self.settle(found, &next, &pending, depth);
            }
            found.path.pop();
        }
    }

    /// What a member said before and says no more.
    fn fallen_silent(&self, before: u32, after: u32) -> Vec<u32> {
        let (before, after) = (self.situation(before), self.situation(after));
        before.says.iter().copied().filter(|id| !after.says.contains(id)).collect()
    }

    /// Each of `gone` may still be in flight, as far as there is room.
    fn keep(&mut self, found: &mut Found, row: &Row, gone: &[u32], pending: &[u32], depth: usize) {
        let Some((&first, rest)) = gone.split_first() else {
            self.settle(found, row, pending, depth);
            return;
        };
        self.keep(found, row, rest, pending, depth);
        if let Some(with) = self.with_late(row, first) {
            self.keep(found, &with, rest, pending, depth);
        }
    }

    /// Each of `pending` is lost, arrives at once, or stays in flight.
    fn settle(&mut self, found: &mut Found, row: &Row, pending: &[u32], depth: usize) {
        let Some((&first, rest)) = pending.split_first() else {
            self.hand_out(found, row, None);
            return;
        };
        self.settle(found, row, rest, depth);
        if depth < DEPTH_MAX {
            let to = self.message(first).to;
            self.act(found, row, to, Key::Deliver(first), rest, depth + 1);
        }
        if let Some(with) = self.with_late(row, first) {
            self.settle(found, &with, rest, depth);
        }
    }
}

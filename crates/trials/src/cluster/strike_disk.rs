//! What befalls disks and files.

use std::path::Path;

use runtime::Nanos;
use runtime::random::Rng;
use sim::{Image, World};

use super::node::{ARCHIVE_DIRECTORY, CLUSTER_DIRECTORY};
use super::plan::Trouble;
use super::storm::Storm;
use super::strike::draw_span;

/// More operations than a disk is asked for while something ails it.
const ALL: u32 = 1_000_000;
/// Longest time in milliseconds until a member that lost something is back.
const AWAY: u64 = 3_000;

/// What a member keeps.
const ROOTS: [&str; 2] = [ARCHIVE_DIRECTORY, CLUSTER_DIRECTORY];

impl Storm {
    pub(super) fn strike_disk(&mut self, trouble: Trouble, member: usize, rng: &mut Rng) {
        let state = &self.members[member];
        if state.id.is_none() || state.ailment.is_some() || state.ailed.is_some() {
            return;
        }
        let host = state.host;
        if trouble == Trouble::Misdirect {
            if !self.may_rot(member) {
                return;
            }
            self.watch.rots(member, self.world.elapsed());
        }
        let failed_before = self.world.disk_faults(host).failed();
        let mut span = draw_span(rng, 200, 3_200);
        let faults = self.world.disk_faults(host);
        let few = u32::try_from(1 + rng.below(4)).unwrap_or_default();
        match trouble {
            Trouble::FullDisk => faults.set_space(faults.used() + rng.below(300 << 10)),
            Trouble::FailedSync => faults.fail_syncs(ALL),
            Trouble::FailedWrite => faults.fail_writes(few),
            Trouble::FailedRead => faults.fail_reads(few),
            Trouble::ShortWrite => faults.shorten_writes(200),
            Trouble::RotRead => faults.rot_reads(1),
            Trouble::Misdirect => faults.misdirect_writes(1),
            Trouble::SlowDisk => {
                let each = [1, 10, 100][usize::try_from(rng.below(3)).unwrap_or_default()];
                self.world.slow_disk(host, Nanos::from_millis(each));
            }
            Trouble::StalledDisk => {
                let longest = if rng.chance(0.3) { 30_000 } else { 2_000 };
                span = draw_span(rng, 100, longest);
                self.world.stall_disk(host, span);
            }
            // On one disk only: what two of three lose is lost.
            _ if self.members.iter().any(|member| member.truth.is_some()) => return,
            _ => {
                faults.lie(true);
                self.members[member].truth = Some(self.copy_of(member));
            }
        }
        let until = self.world.elapsed() + span;
        let elections_before = self.watch.views()[member].counters.elections;
        let state = &mut self.members[member];
        (state.elections_before, state.failed_before) = (elections_before, failed_before);
        state.ailment = Some((trouble, until));
        if !matches!(trouble, Trouble::ShortWrite | Trouble::LyingDisk) {
            state.ailed = Some(trouble);
        }
        if trouble != Trouble::LyingDisk {
            self.count(trouble);
        }
    }

    pub(super) fn strike_files(&mut self, trouble: Trouble, member: usize, rng: &mut Rng) {
        let host = self.members[member].host;
        if trouble == Trouble::Rot {
            if !self.may_rot(member) {
                return;
            }
            if rng.chance(0.5) {
                self.end_member(member, AWAY, rng, World::kill);
            }
            let suits = |path: &Path| ROOTS.iter().any(|root| path.starts_with(root));
            let Some((path, at)) = self.world.rot(host, suits) else { return };
            self.tell(format_args!("rot in {} at {at}", path.display()));
            self.watch.rots(member, self.world.elapsed());
            return self.count(trouble);
        }
        let left = if trouble == Trouble::Wipe {
            Image::default()
        } else if let Some(backup) = self.members[member].backup.clone() {
            backup
        } else {
            self.members[member].backup = Some(self.copy_of(member));
            return;
        };
        if !self.are_others_whole(member) {
            return;
        }
        self.end_member(member, AWAY, rng, World::kill);
        self.put_back(member, &left);
        self.look_anew(member);
        self.count(trouble);
    }

    /// Rot strikes one member at a time, and only while all others have what was committed.
    fn may_rot(&mut self, member: usize) -> bool {
        let is_any = !self.watch.rotten(self.world.elapsed()).is_empty();
        !is_any && self.members[member].truth.is_none() && self.are_others_whole(member)
    }

    pub(super) fn copy_of(&self, member: usize) -> Image {
        self.world.image(self.members[member].host)
    }

    /// A member that is not running has what it had once, and nothing else.
    pub(super) fn put_back(&mut self, member: usize, image: &Image) {
        let host = self.members[member].host;
        for root in ROOTS {
            self.world.restore(host, Path::new(root), image);
        }
        self.forget(member);
    }
}

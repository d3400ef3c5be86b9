//! Fingerprints of 128 bits, and the renamings of members under which states are the same.

use consensus::MemberId;

const FACTOR: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;

/// Mixes a word into a hash.
#[must_use]
pub fn mix(hash: u128, word: u128) -> u128 {
    let mixed = (hash ^ word).wrapping_mul(FACTOR);
    mixed ^ mixed.rotate_right(61) ^ (mixed >> 83)
}

/// The hash of the words that `write` hands out.
pub fn of_words(write: impl FnOnce(&mut dyn FnMut(i64))) -> u128 {
    let mut hash = FACTOR;
    write(&mut |word| hash = mix(hash, u128::from(word as u64)));
    mix(hash, 0x5bd1_e995)
}

/// One way to rename all members: the new name of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renaming(pub Vec<usize>);

impl Renaming {
    /// All ways, that which changes nothing first.
    #[must_use]
    pub fn all(members: usize) -> Vec<Self> {
        let mut all = vec![Vec::new()];
        for _ in 0..members {
            let extend = |names: &Vec<usize>| {
                let rest = (0..members).filter(|name| !names.contains(name)).collect::<Vec<_>>();
                rest.into_iter()
                    .map(|name| [names.as_slice(), &[name]].concat())
                    .collect::<Vec<_>>()
            };
            all = all.iter().flat_map(extend).collect();
        }
        all.into_iter().map(Self).collect()
    }

    /// Where these names stand among all ways.
    #[must_use]
    pub fn index(names: &[usize]) -> usize {
        let lower = |(at, name): (usize, &usize)| {
            names[at + 1..].iter().filter(|later| *later < name).count()
        };
        let ways = |at: usize| (1..names.len() - at).product::<usize>();
        names.iter().enumerate().map(|(at, name)| lower((at, name)) * ways(at)).sum()
    }

    /// The new name of `member`; who is not one keeps its name.
    #[must_use]
    pub fn of(&self, member: MemberId) -> MemberId {
        let name = usize::try_from(member.0).ok().and_then(|index| self.0.get(index));
        name.map_or(member, |&name| MemberId(name as i32))
    }
}

/// A set of hashes, in open addressing: nothing but the hashes themselves.
pub struct HashSet128 {
    slots: Vec<u128>,
    len: usize,
}

impl Default for HashSet128 {
    fn default() -> Self {
        Self { slots: vec![0; 1 << 16], len: 0 }
    }
}

impl HashSet128 {
    /// True if it was not there.
    pub fn insert(&mut self, hash: u128) -> bool {
        let hash = hash.max(1);
        if self.len * 4 >= self.slots.len() * 3 {
            let bigger = vec![0; self.slots.len() * 2];
            let old = std::mem::replace(&mut self.slots, bigger);
            for known in old.into_iter().filter(|&known| known != 0) {
                let slot = self.find(known);
                self.slots[slot] = known;
            }
        }
        let slot = self.find(hash);
        let is_new = self.slots[slot] == 0;
        if is_new {
            self.slots[slot] = hash;
            self.len += 1;
        }
        is_new
    }

    fn find(&self, hash: u128) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = (hash >> 64) as usize & mask;
        while self.slots[slot] != 0 && self.slots[slot] != hash {
            slot = (slot + 1) & mask;
        }
        slot
    }

    /// Bytes in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.len() * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_new_once() {
        let mut set = HashSet128::default();
        let hash = |n: u128| mix(7, n);
        assert!((0..200_000).all(|n| set.insert(hash(n))));
        assert!((0..200_000).all(|n| !set.insert(hash(n))));
    }

    #[test]
    fn there_are_as_many_renamings_as_orders() {
        assert_eq!(Renaming::all(3).len(), 6);
        assert_eq!(Renaming::all(3)[0], Renaming(vec![0, 1, 2]));
        let all = Renaming::all(5);
        assert_eq!(all.len(), 120);
        assert!((0..120).all(|at| Renaming::index(&all[at].0) == at));
    }
}

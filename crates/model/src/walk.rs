//! Random walks: far into bounds that no search exhausts.

use crate::search::Search;
use crate::setup::Setup;
use crate::world::{Found, Row};

/// What came of the walks.
#[derive(Clone, Debug, Default)]
pub struct Walks {
    /// Walks begun.
    pub walks: u64,
    /// Steps taken.
    pub steps: u64,
    /// Longest walk.
    pub steps_max: usize,
    /// The first violation: the walk, its steps, and what is wrong.
    pub violation: Option<(u64, Vec<String>, String)>,
}

/// How far and how often.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Number of the first walk.
    pub first: u64,
    /// Walks.
    pub count: u64,
    /// Steps of one.
    pub steps: usize,
}

fn roll(dice: &mut u64, bound: usize) -> usize {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
}

/// Walks within the bounds of `setup` until something is wrong or `is_over`.
pub fn walk(setup: Setup, reach: Reach, mut is_over: impl FnMut() -> bool) -> Walks {
    let mut search = Search::new(setup);
    let mut walks = Walks::default();
    let first = search.world.first();
    let mut found = Found::default();
    for seed in reach.first..reach.first + reach.count {
        if is_over() {
            break;
        }
        if search.world.known().0 > SITUATIONS_MAX {
            // What was worked out so far is forgotten: memory is bounded.
            search = Search::new(setup);
            search.world.first();
        }
        walks.walks += 1;
        let mut row = first;
        let mut rows = vec![row];
        let mut dice = seed;
        for _ in 0..reach.steps {
            search.world.expand(&row, &mut found);
            let wrong = found.next.iter().find_map(|next| {
                let text = next.violation.clone();
                text.or_else(|| search.world.check(&next.row).err())
            });
            if let Some(text) = wrong {
                walks.steps_max = walks.steps_max.max(rows.len());
                walks.violation = Some((seed, search.scenario(&rows, &text), text));
                return walks;
            }
            let Some(next) = choose(&found, &row, &mut dice) else { break };
            row = next;
            rows.push(row);
            walks.steps += 1;
        }
        walks.steps_max = walks.steps_max.max(rows.len() - 1);
    }
    walks
}

/// Situations that are remembered, at most.
const SITUATIONS_MAX: usize = 400_000;

/// Any of the states that one step leads to; ballots that come to nothing are many, and use up
/// terms, so an event is chosen first and then what comes of it.
fn choose(found: &Found, row: &Row, dice: &mut u64) -> Option<Row> {
    let mut kinds: Vec<usize> = found.next.iter().map(|next| next.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kind = *kinds.get(roll(dice, kinds.len()))?;
    let next: Vec<&Row> = found
        .next
        .iter()
        .filter(|next| next.kind == kind && next.row != *row)
        .map(|next| &next.row)
        .collect();
    if next.is_empty() {
        return Some(*row);
    }
    Some(*next[roll(dice, next.len())])
}

//! What is searched: bounds, faults, rules.

use consensus::Rules;

/// Bounds, faults and rules of a search.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Members, at most 5.
    pub members: usize,
    /// Leadership terms: ids from 0 to one less.
    pub terms: i64,
    /// Entries of the log.
    pub entries: usize,
    /// Ballots, comparisons and joins are one step each.
    pub is_coarse: bool,
    /// Messages in flight that outlive what their sender said them in.
    pub late: usize,
    /// Members crash, and restart, between any two durable operations.
    pub has_crashes: bool,
    /// Live images end besides being silent.
    pub has_closes: bool,
    /// Members take snapshots of what they expose, and restart from them.
    pub has_snapshots: bool,
    /// How many disks are lost, at most.
    pub lost_disks: u32,
    /// How often a part of a recording rots, at most.
    pub rots: u32,
    /// Leaders that wait for a quorum also announce lower positions, as genuine ones do.
    pub has_lower_commits: bool,
    /// The table of terms must fit the recording at any time, not only what comes of it.
    pub checks_tables: bool,
    /// States that differ in the names of members only are one.
    pub is_symmetric: bool,
    /// Situations that count as one must go on alike: of each, so many others are kept to compare.
    pub twins: usize,
    /// Time passes as it does; else whatever is waited for may come at once.
    pub is_paced: bool,
    /// Rules of all members.
    pub rules: Rules,
}

impl Setup {
    /// Three members within these bounds, everything else as it is for a full search.
    #[must_use]
    pub fn new(terms: i64, entries: usize) -> Self {
        Self {
            members: 3,
            terms,
            entries,
            is_coarse: true,
            late: 0,
            has_crashes: true,
            has_closes: false,
            has_snapshots: false,
            lost_disks: 0,
            rots: 0,
            has_lower_commits: false,
            checks_tables: true,
            is_symmetric: true,
            twins: 0,
            is_paced: false,
            rules: Rules::default(),
        }
    }

    /// The same without one of the rules, by its name.
    #[must_use]
    pub fn without(mut self, rule: &str) -> Option<Self> {
        self.rules = rules_without(rule)?;
        Some(self)
    }

    /// More than half of the members.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members / 2 + 1
    }
}

/// The rules with one of them switched off, by its name.
#[must_use]
pub fn rules_without(name: &str) -> Option<Rules> {
    let mut rules = Rules::default();
    let rule = match name.to_ascii_lowercase().as_str() {
        "p1" => &mut rules.p1_persist_before_vote,
        "p2" => &mut rules.p2_term_first,
        "p3" => &mut rules.p3_drop_terms_past_end_at_load,
        "l1" => &mut rules.l1_record_term_on_entry,
        "l2" => &mut rules.l2_count_own_term_only,
        "l3" => &mut rules.l3_readiness_of_recorded_term,
        "l4" => &mut rules.l4_step_down,
        "f1" => &mut rules.f1_compare_tables,
        "f2" => &mut rules.f2_term_before_data,
        "f3" => &mut rules.f3_term_before_append_position,
        "f4" => &mut rules.f4_commit_of_adopted_leader,
        "f5" => &mut rules.f5_never_cut_committed,
        "f6" => &mut rules.f6_refuse_incoherent_terms,
        "v1" => &mut rules.v1_promise,
        "v2" => &mut rules.v2_way_out,
        "v3" => &mut rules.v3_answer_older_leader,
        "h1" => &mut rules.h1_silent_after_loss,
        "h2" => &mut rules.h2_whole_before_regained,
        "h3" => &mut rules.h3_loss_before_cut,
        "h4" => &mut rules.h4_own_terms_bind,
        "commit" => &mut rules.commit_within_recorded,
        "vote" => &mut rules.vote_saved,
        _ => return None,
    };
    *rule = false;
    Some(rules)
}

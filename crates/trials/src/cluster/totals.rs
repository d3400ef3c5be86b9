//! How often everything happened, over one run or many.

use crate::totals::totals;

totals! {
    /// Messages that clients numbered and handed over.
    submitted: "messages submitted",
    /// Of those, longer than a datagram.
    fragmented: "fragmented messages submitted",
    /// Answers that clients got, each number once.
    acknowledged: "messages acknowledged",
    /// Events of the log that a member applied first of all.
    applied: "events applied first",
    /// Events of the log that others applied, or the same once more.
    applied_again: "events applied by others or again",
    /// Timers that fired.
    timers: "timers fired",
    /// Of those, for which the service had cancelled or moved the timer.
    late_timers: "timers fired though cancelled or moved",
    /// Messages that the service sent to itself.
    service_messages: "service messages",
    /// Bytes of the log that were committed and compared on all disks.
    committed: "bytes committed",
    /// Leadership terms that had a leader in service.
    leaders: "leaders",
    /// Elections that members entered.
    elections: "elections entered",
    /// Votes seen on the network.
    votes: "votes",
    /// Logs that were cut.
    truncations: "truncations",
    /// Terms copied from another archive.
    replications: "replications",
    /// Followers that were replayed to by their leader.
    catchups: "catch-ups",
    /// Logs of which a part was lost.
    losses: "losses of a part of a log",
    /// Logs that had regained all that was lost.
    regains: "logs regained",
    /// Snapshots that members recorded.
    snapshots: "snapshots",
    /// Lives of members that began from a snapshot.
    snapshot_restarts: "restarts from a snapshot",
    /// Lives of members that began with a log.
    restarts: "restarts with a log",
    /// Members killed just after they voted.
    vote_kills: "members killed after a vote",
    /// Members that a full disk ended.
    full_disk_ends: "members ended by a full disk",
    /// Members that failed syncs ended.
    failed_sync_ends: "members ended by a failed sync",
    /// Members that ended because of anything else that ailed them.
    other_ends: "members ended by other ailments",
    /// Sessions that clients lost and opened anew.
    sessions_lost: "sessions lost",
    /// Datagrams.
    datagrams: "datagrams",
    /// Datagrams lost alone.
    lost: "lost",
    /// Datagrams lost in bursts.
    burst_lost: "lost in bursts",
    /// Datagrams doubled.
    duplicated: "duplicated",
    /// Datagrams overtaken.
    reordered: "reordered",
    /// Datagrams that came once more, long after.
    late: "come again late",
    /// Datagrams without their ends.
    truncated: "truncated",
    /// Datagrams with flipped bits.
    corrupted: "corrupted",
    /// Datagrams swallowed because of their length.
    oversized: "swallowed for their length",
    /// Datagrams kept by clogged links.
    clogged: "clogged",
    /// Datagrams swallowed by links that come and go.
    flapped: "swallowed by flapping links",
    /// Datagrams that drivers of clients found to be invalid.
    invalid: "found to be invalid",
    /// Links that were made slow.
    delays: "links delayed",
    /// Datagrams swallowed by cuts.
    cut: "swallowed by cuts",
    /// Leaders that were parted from all others.
    leader_partitions: "leaders cut off",
}

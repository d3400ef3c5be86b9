//! How often everything happened, over one run or many.

use crate::totals::totals;

totals! {
    /// Messages that publishers got out.
    published: "messages published",
    /// Messages that subscribers checked.
    received: "messages checked",
    /// Of those, put together from several frames.
    fragmented: "fragmented messages checked",
    /// Of those, without a byte.
    empty: "empty messages checked",
    /// Offers that were refused for want of room.
    back_pressured: "offers back-pressured",
    /// Images that subscribers got.
    images: "images",
    /// Of those, joined behind the beginning of their stream.
    late_joins: "images joined late",
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
    /// Datagrams harmed.
    corrupted: "corrupted",
    /// Datagrams swallowed by cuts.
    cut: "swallowed by cuts",
    /// One-way cuts.
    one_way_cuts: "one-way cuts",
    /// Partitions.
    partitions: "partitions",
    /// Pauses of processes.
    pauses: "pauses",
    /// Clients killed.
    client_kills: "clients killed",
    /// Drivers killed.
    driver_kills: "drivers killed",
    /// Clients that ended because of their driver, and began anew.
    client_ends: "clients ended by an error",
    /// Publications and subscriptions closed in mid-stream.
    closes: "resources closed in mid-stream",
    /// Requests that the driver refused or did not answer.
    refused: "requests refused",
    /// NAKs that receivers sent.
    naks: "NAKs sent",
    /// Re-sends.
    retransmits: "retransmits",
    /// How often senders were stopped by flow control.
    flow_limits: "senders stopped by flow control",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_row_by_row() {
        let mut sum = Totals { published: 2, naks: 1, ..Totals::default() };
        sum += Totals { published: 3, ..Totals::default() };
        let rows = sum.rows();
        assert_eq!(rows[0], ("messages published", 5));
        assert!(rows.contains(&("NAKs sent", 1)));
    }
}

//! The order book as a clustered service: each numbered command counts exactly once.

use std::collections::BTreeMap;

use cluster_service::cluster::{Cluster, GaugeId};
use cluster_service::{
    Admission, ClusterSessionId, ClusteredService, Deduplication, DeduplicationLimits,
    SnapshotWriter, Step,
};

use crate::book::{Order, OrderBook, Side, Trade, mix};
use crate::command::{Command, Outcome, Report, put, words};

/// Type of the first gauge of the service; the others follow in the order of [`GAUGES`].
pub const GAUGE_TYPE: i32 = 1_100;

/// Labels of the gauges. The position comes last: whoever reads it, then the others, then the same
/// position again, has read the state at that position.
pub const GAUGES: [&str; 8] = [
    "order-book: state hash",
    "order-book: commands executed",
    "order-book: commands executed twice",
    "order-book: commands rejected",
    "order-book: trades",
    "order-book: volume traded",
    "order-book: orders resting",
    "order-book: log position",
];

/// A limit order book that clients reach through a cluster.
#[derive(Default)]
pub struct OrderBookService {
    book: OrderBook,
    deduplication: Deduplication,
    totals: Totals,
    /// The last number executed of each client, to find out whether deduplication does its work.
    executed: BTreeMap<i64, i64>,
    gauges: Vec<GaugeId>,
    trades: Vec<Trade>,
    snapshot: Snapshot,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Totals {
    executed: u64,
    doubled: u64,
    rejected: u64,
    trades: u64,
    volume: i64,
}

/// How far a snapshot has been written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Snapshot {
    #[default]
    Totals,
    Clients,
    Orders(usize),
}

const TOTALS: u8 = 1;
const CLIENT: u8 = 2;
const ANSWER: u8 = 3;
const ORDER: u8 = 4;

impl OrderBookService {
    /// An empty book.
    #[must_use]
    pub fn new(limits: DeduplicationLimits) -> Self {
        Self { deduplication: Deduplication::new(limits), ..Self::default() }
    }

    /// A hash over everything that members must agree on.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let Totals { executed, doubled, rejected, trades, volume } = self.totals;
        let numbers = self.executed.iter().flat_map(|(&client, &number)| [client, number]);
        let numbers = numbers.map(i64::cast_unsigned);
        [self.book.state_hash(), self.deduplication.state_hash()]
            .into_iter()
            .chain([executed, doubled, rejected, trades, volume.cast_unsigned()])
            .chain(numbers)
            .fold(0, |hash, word| mix(hash ^ word))
    }

    fn execute(&mut self, client: i64, number: i64, payload: &[u8]) -> Report {
        if self.executed.len() > self.deduplication.clients() {
            self.executed.retain(|&client, _| self.deduplication.is_known(client));
        }
        let last = self.executed.entry(client).or_insert(0);
        self.totals.doubled += u64::from(number <= *last);
        *last = number.max(*last);
        self.totals.executed += 1;
        let report = self.apply(payload);
        self.totals.rejected += u64::from(report.outcome != Outcome::Done);
        self.totals.trades += report.trades;
        self.totals.volume = self.totals.volume.wrapping_add(report.volume);
        report
    }

    fn apply(&mut self, payload: &[u8]) -> Report {
        self.trades.clear();
        match Command::decode(payload) {
            Some(Command::Place { id, side, price, amount }) => {
                match self.book.place(id, side, price, amount, &mut self.trades) {
                    Ok(open) => Report {
                        outcome: Outcome::Done,
                        id,
                        open,
                        trades: self.trades.len() as u64,
                        volume: amount - open,
                    },
                    Err(rejection) => Report::rejected(id, rejection),
                }
            }
            Some(Command::Cancel { id }) => match self.book.cancel(id) {
                Ok(open) => Report { outcome: Outcome::Done, id, open, trades: 0, volume: 0 },
                Err(rejection) => Report::rejected(id, rejection),
            },
            None => Report { outcome: Outcome::Malformed, id: 0, open: 0, trades: 0, volume: 0 },
        }
    }

    fn show(&self, cluster: &mut Cluster<'_>) {
        let Totals { executed, doubled, rejected, trades, volume } = self.totals;
        let counts = [executed, doubled, rejected, trades].map(u64::cast_signed);
        let hash = self.state_hash().cast_signed();
        let resting = i64::try_from(self.book.len()).unwrap_or(i64::MAX);
        let position = cluster.position().0;
        let values = [hash, counts[0], counts[1], counts[2], counts[3], volume, resting, position];
        for (&gauge, value) in self.gauges.iter().zip(values) {
            cluster.set_gauge(gauge, value);
        }
    }

    fn restore(&mut self, message: &[u8]) -> Result<(), String> {
        let (&kind, record) = message.split_first().ok_or("an empty record")?;
        match kind {
            TOTALS => {
                let [arrivals, executed, doubled, rejected, trades, volume] =
                    words::<6>(record).ok_or("totals cut short")?;
                let volume = volume.cast_signed();
                self.book.restore_arrivals(arrivals);
                self.totals = Totals { executed, doubled, rejected, trades, volume };
                Ok(())
            }
            CLIENT => {
                let [client, number] = words::<2>(record).ok_or("a client cut short")?;
                self.executed.insert(client.cast_signed(), number.cast_signed());
                Ok(())
            }
            ANSWER => self.deduplication.restore(record).map_err(|error| error.to_string()),
            ORDER => {
                let [id, side, price, remaining, arrival] =
                    words::<5>(record).ok_or("an order cut short")?;
                let side = if side == 0 { Side::Buy } else { Side::Sell };
                let (price, remaining) = (price.cast_signed(), remaining.cast_signed());
                let order = Order { id, side, price, remaining, arrival };
                self.book.restore(order).map_err(|error| error.to_string())
            }
            kind => Err(format!("a record of unknown kind {kind}")),
        }
    }

    fn totals_record(&self) -> Vec<u8> {
        let Totals { executed, doubled, rejected, trades, volume } = self.totals;
        let mut record = [0; 48];
        let arrivals = self.book.arrivals();
        let volume = volume.cast_unsigned();
        put(&mut record, &[arrivals, executed, doubled, rejected, trades, volume]);
        [&[TOTALS][..], &record].concat()
    }
}

impl ClusteredService for OrderBookService {
    fn on_snapshot(&mut self, cluster: &mut Cluster<'_>, message: &[u8]) {
        if let Err(cause) = self.restore(message) {
            cluster.fail(format!("the snapshot of the order book is damaged: {cause}"));
        }
    }

    fn on_start(&mut self, cluster: &mut Cluster<'_>) {
        self.gauges = (GAUGE_TYPE..)
            .zip(GAUGES)
            .map(|(type_id, label)| cluster.add_gauge(type_id, label))
            .collect();
        self.show(cluster);
    }

    fn on_session_message(
        &mut self,
        cluster: &mut Cluster<'_>,
        session: Option<ClusterSessionId>,
        message: &[u8],
    ) {
        // An answer that does not get through is asked for again.
        let send = |cluster: &mut Cluster<'_>, answer: &[u8]| {
            let _ = session.map(|session| cluster.send(session, answer));
        };
        match self.deduplication.admit(message) {
            Admission::Execute { header, payload } => {
                let report = self.execute(header.client, header.number, payload);
                send(cluster, self.deduplication.answer(header, &report.encode()));
            }
            Admission::Reply(answer) => send(cluster, answer),
            Admission::Ignore => {}
        }
        self.show(cluster);
    }

    fn take_snapshot(
        &mut self,
        _cluster: &mut Cluster<'_>,
        writer: &mut SnapshotWriter<'_>,
    ) -> Step {
        match self.snapshot {
            Snapshot::Totals => {
                writer.write(&self.totals_record());
                self.snapshot = Snapshot::Clients;
            }
            Snapshot::Clients => {
                for (client, number) in &self.executed {
                    let mut record = [0; 16];
                    put(&mut record, &[client.cast_unsigned(), number.cast_unsigned()]);
                    writer.write(&[&[CLIENT][..], &record].concat());
                }
                for record in self.deduplication.records() {
                    writer.write(&[&[ANSWER][..], &record].concat());
                }
                self.snapshot = Snapshot::Orders(0);
            }
            Snapshot::Orders(written) => {
                let mut next = written;
                for order in self.book.orders().skip(written) {
                    if writer.is_full() {
                        break;
                    }
                    let side = u64::from(order.side == Side::Sell);
                    let (price, remaining) = (order.price.cast_unsigned(), order.remaining);
                    let mut record = [0; 40];
                    let remaining = remaining.cast_unsigned();
                    put(&mut record, &[order.id, side, price, remaining, order.arrival]);
                    writer.write(&[&[ORDER][..], &record].concat());
                    next += 1;
                }
                if next == self.book.len() {
                    self.snapshot = Snapshot::Totals;
                    return Step::Done;
                }
                self.snapshot = Snapshot::Orders(next);
            }
        }
        Step::More
    }
}

#[cfg(test)]
mod tests {
    use cluster_service::testing::TestCluster;
    use wire::numbered::{AnswerHeader, RequestHeader};

    use super::*;
    use crate::command::COMMAND_LENGTH_MAX;

    fn started() -> TestCluster<OrderBookService> {
        let mut cluster = TestCluster::new(OrderBookService::default());
        cluster.open(1);
        cluster
    }

    fn send(cluster: &mut TestCluster<OrderBookService>, number: i64, command: Command) {
        let header = RequestHeader { client: 9, number, acknowledged: 0 }.encode();
        let mut buffer = [0; COMMAND_LENGTH_MAX];
        cluster.message(1, &[&header[..], command.encode(&mut buffer)].concat());
    }

    fn last_report(cluster: &TestCluster<OrderBookService>) -> (i64, Report) {
        let (_, message) = cluster.sent.last().unwrap();
        let (header, payload) = AnswerHeader::decode(message).unwrap();
        (header.number, Report::decode(payload).unwrap())
    }

    fn place(id: u64, side: Side, price: i64, amount: i64) -> Command {
        Command::Place { id, side, price, amount }
    }

    #[test]
    fn orders_trade_and_are_reported() {
        let mut cluster = started();
        send(&mut cluster, 1, place(1, Side::Sell, 100, 5));
        send(&mut cluster, 2, place(2, Side::Buy, 101, 8));
        let report = Report { outcome: Outcome::Done, id: 2, open: 3, trades: 1, volume: 5 };
        assert_eq!(last_report(&cluster), (2, report));
        send(&mut cluster, 3, Command::Cancel { id: 1 });
        assert_eq!(last_report(&cluster).1.outcome, Outcome::UnknownOrder);
        assert_eq!(cluster.gauge(GAUGES[1]), Some(3));
        assert_eq!(cluster.gauge(GAUGES[3]), Some(1));
        assert_eq!(cluster.gauge(GAUGES[7]), Some(cluster.position().0));
    }

    #[test]
    fn a_command_that_comes_again_is_answered_alike_and_changes_only_who_was_heard() {
        let mut cluster = started();
        send(&mut cluster, 1, place(1, Side::Sell, 100, 5));
        let first = last_report(&cluster);
        let executed = cluster.gauge(GAUGES[1]);
        send(&mut cluster, 1, place(1, Side::Sell, 100, 5));
        assert_eq!(last_report(&cluster), first);
        assert_eq!((cluster.gauge(GAUGES[1]), cluster.gauge(GAUGES[2])), (executed, Some(0)));
    }

    #[test]
    fn a_book_restored_from_its_snapshot_hashes_and_trades_as_before() {
        let mut cluster = started();
        for number in 1..=9_000_i64 {
            let id = number.cast_unsigned();
            let side = if number % 3 == 0 { Side::Buy } else { Side::Sell };
            let price = 100 + number * 7 % 50 + i64::from(side == Side::Sell) * 20;
            let header =
                RequestHeader { client: number % 2, number: (number + 1) / 2, acknowledged: 0 };
            let header = RequestHeader { acknowledged: header.number - 1, ..header }.encode();
            let mut buffer = [0; COMMAND_LENGTH_MAX];
            let command = place(id, side, price, 3 + number % 5);
            cluster.message(1, &[&header[..], command.encode(&mut buffer)].concat());
        }
        assert!(cluster.service.book.len() > 2_000 && cluster.service.totals.trades > 1_000);
        let snapshot = cluster.snapshot();
        assert!(snapshot.iter().all(|message| message.len() < 1_000));
        let hash = cluster.service.state_hash();
        let mut restored =
            TestCluster::restore(OrderBookService::default(), &snapshot, cluster.position());
        assert_eq!((restored.failure.clone(), restored.service.state_hash()), (None, hash));
        restored.open(1);
        cluster.open(2);
        for cluster in [&mut restored, &mut cluster] {
            send(cluster, 1, place(70_000, Side::Buy, 500, 10_000));
        }
        assert_eq!(last_report(&restored), last_report(&cluster));
        assert_eq!(restored.service.state_hash(), cluster.service.state_hash());
    }

    #[test]
    fn a_damaged_snapshot_fails_the_service_with_the_cause() {
        for record in [&b""[..], b"\x09", b"\x01short", b"\x02short", b"\x03short", b"\x04short"] {
            let service = OrderBookService::default();
            let position = wire::position::Position(0);
            let restored = TestCluster::restore(service, &[record.to_vec()], position);
            let failure = restored.failure.unwrap();
            assert!(failure.starts_with("the snapshot of the order book is damaged"), "{failure}");
        }
    }
}

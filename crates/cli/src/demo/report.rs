//! The end of the demonstration: figures, and whether it passed.

use std::fmt::Write as _;

use coracle::runtime::Nanos;
use hdrhistogram::Histogram;

use super::oracle::{Latencies, Totals};
use super::script::{Facts, IN_FLIGHT_MIN, MEMBERS};
use super::status::Book;
use crate::orders::source::UNITS;
use crate::stat::grouped;

/// The least that the stream lasts.
pub(crate) const STREAM_MIN: Nanos = Nanos::from_secs(8);

/// All that is told.
pub(crate) struct Report<'a> {
    /// How many requests there were to send.
    pub(crate) total: u64,
    pub(crate) totals: &'a Totals,
    pub(crate) facts: &'a Facts,
    pub(crate) latencies: &'a Latencies,
    /// Trades that the file itself tells of, and their volume.
    pub(crate) reported: Option<(usize, i64)>,
    /// Sessions that the client lost on the way.
    pub(crate) sessions_lost: u64,
    /// Why the script did not come to its end.
    pub(crate) failure: Option<String>,
}

impl Report<'_> {
    /// Why it did not pass; empty if it did.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.failure.iter().cloned().collect();
        let Totals { unasked, wrong, .. } = self.totals;
        if *unasked > 0 {
            reasons.push(format!("{unasked} answers too many"));
        }
        if *wrong > 0 {
            reasons.push(format!("{wrong} answers are not those of a book with the same orders"));
        }
        // What a script that was broken off left undone says nothing more.
        if self.failure.is_none() {
            reasons.extend(self.shortcomings());
            match &self.facts.books {
                Some(books) => reasons.extend(self.differences(books)),
                None => reasons.push("the members were not compared".into()),
            }
        }
        reasons
    }

    fn shortcomings(&self) -> Vec<String> {
        let Facts { kill, failover, recovery, caught_up, .. } = self.facts;
        let unsent = self.total - self.totals.sent;
        let missing = self.totals.missing();
        let in_flight = kill.map_or(0, |kill| kill.in_flight);
        let streamed = self.streamed().unwrap_or(Nanos(0));
        let demands = [
            (unsent == 0, format!("{unsent} were not sent")),
            (missing == 0, format!("{missing} were never acknowledged")),
            (in_flight >= IN_FLIGHT_MIN, format!("{in_flight} were in flight at the kill")),
            (failover.is_some(), "no new leader answered".into()),
            (recovery.is_some_and(|it| it > 0), "no member came back from a snapshot".into()),
            (caught_up.is_some(), "the killed member did not catch up".into()),
            (streamed >= STREAM_MIN, format!("the stream lasted {} only", spelt(streamed))),
        ];
        demands.into_iter().filter(|(is_met, _)| !is_met).map(|(_, reason)| reason).collect()
    }

    fn differences(&self, books: &[Book; MEMBERS]) -> Vec<String> {
        let mut reasons = Vec::new();
        if books.iter().any(|book| book.hash != books[0].hash) {
            reasons.push("the members' states differ".into());
        }
        for (id, book) in books.iter().enumerate() {
            if book.doubled > 0 {
                reasons.push(format!("member {id} executed {} twice", book.doubled));
            }
            let sent = self.totals.sent;
            if book.executed != sent {
                reasons.push(format!("member {id} executed {} of {sent}", book.executed));
            }
            let told = (self.totals.trades, self.totals.unknown + self.totals.refused);
            if (book.trades, book.rejected) != told {
                reasons.push(format!("member {id} counts other trades than it told"));
            }
        }
        reasons
    }

    fn streamed(&self) -> Option<Nanos> {
        let (start, end) = self.facts.streamed?;
        Some(end? - start)
    }

    /// All of it, as lines.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let totals = self.totals;
        let cancels = totals.sent - totals.orders;
        let books = self.facts.books;
        let doubled = books.map(|books| books.iter().map(|book| book.doubled).max().unwrap_or(0));
        writeln!(
            text,
            "\nsent          {:>8}: {} orders, {} cancels{}",
            count(totals.sent),
            count(totals.orders),
            count(cancels),
            self.streamed().map_or_else(String::new, |span| format!(" in {}", spelt(span))),
        )?;
        writeln!(text, "acknowledged  {:>8}", count(totals.acknowledged))?;
        writeln!(text, "lost          {:>8}", count(totals.missing()))?;
        let doubled = doubled.map_or_else(|| "unknown".into(), count);
        writeln!(text, "doubled       {doubled:>8}")?;
        let rejected = count(totals.unknown);
        writeln!(text, "rejected      {rejected:>8}: cancels of orders not in the book")?;
        if totals.refused > 0 {
            writeln!(text, "refused       {:>8}: orders", count(totals.refused))?;
        }
        let whole = |units: i128| units as f64 / UNITS as f64;
        let volume = whole(totals.volume);
        writeln!(text, "trades        {:>8}: volume {volume:.8}", count(totals.trades))?;
        if let Some((trades, volume)) = self.reported {
            let (trades, volume) = (count(trades as u64), whole(i128::from(volume)));
            writeln!(text, "  in the file {trades:>8}: volume {volume:.8}")?;
        }
        self.write_failover(text)?;
        self.write_latencies(text)?;
        if let Some(books) = &books {
            for (id, book) in books.iter().enumerate() {
                let position = grouped(book.position);
                writeln!(text, "member {id}       hash {:016x} at {position}", book.hash)?;
            }
        }
        self.write_verdict(text)
    }

    fn write_failover(&self, text: &mut String) -> std::fmt::Result {
        let Facts { kill, failover, recovery, caught_up, .. } = self.facts;
        if let Some(kill) = kill {
            let (member, in_flight) = (kill.member, kill.in_flight);
            writeln!(text, "killed        member {member}, the leader: {in_flight} in flight")?;
            if let Some((by, at)) = failover {
                let (took, lost) = (spelt(*at - kill.at), self.sessions_lost);
                writeln!(text, "failover      {took} to the first answer of member {by}")?;
                if let Some(elected) = self.facts.elected {
                    let took = spelt(elected - kill.at);
                    writeln!(text, "  of which    {took} until a new leader was in service")?;
                }
                writeln!(text, "sessions lost {lost:>8}")?;
            }
        }
        if let (Some(position), Some(took)) = (recovery, caught_up) {
            let (from, took) = (grouped(*position), spelt(*took));
            writeln!(text, "came back     from the snapshot at {from} and the log in {took}")?;
        }
        Ok(())
    }

    fn write_latencies(&self, text: &mut String) -> std::fmt::Result {
        let rows = [("latency", &self.latencies.all), ("  before kill", &self.latencies.before)];
        for (name, histogram) in rows {
            if !histogram.is_empty() {
                writeln!(text, "{name:<13} {}", percentiles(histogram))?;
            }
        }
        Ok(())
    }

    fn write_verdict(&self, text: &mut String) -> std::fmt::Result {
        let reasons = self.reasons();
        if reasons.is_empty() {
            return writeln!(text, "PASS");
        }
        writeln!(text, "FAIL")?;
        for reason in reasons {
            writeln!(text, "  {reason}")?;
        }
        Ok(())
    }
}

fn percentiles(histogram: &Histogram<u64>) -> String {
    let at = |quantile| micros(histogram.value_at_quantile(quantile));
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        micros(histogram.max())
    )
}

fn micros(nanos: u64) -> String {
    if nanos < 10_000_000 {
        format!("{} us", grouped(i64::try_from(nanos / 1_000).unwrap_or(i64::MAX)))
    } else {
        format!("{} ms", grouped(i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX)))
    }
}

fn spelt(span: Nanos) -> String {
    let millis = span.as_millis();
    if millis < 10_000 {
        format!("{} ms", grouped(millis))
    } else {
        format!("{:.1} s", millis as f64 / 1_000.0)
    }
}

fn count(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::oracle::Oracle;
    use crate::demo::script::Kill;

    fn totals() -> Totals {
        Totals {
            sent: 50_000,
            orders: 30_000,
            acknowledged: 50_000,
            unknown: 40,
            trades: 900,
            volume: 150_000_000,
            ..Totals::default()
        }
    }

    fn facts() -> Facts {
        let book = Book {
            hash: 0xabc,
            executed: 50_000,
            rejected: 40,
            trades: 900,
            position: 7_654_321,
            ..Book::default()
        };
        Facts {
            kill: Some(Kill { member: 1, at: Nanos::from_secs(7), in_flight: 150 }),
            elected: Some(Nanos::from_millis(7_390)),
            failover: Some((2, Nanos::from_millis(7_420))),
            recovery: Some(64_000),
            caught_up: Some(Nanos::from_millis(300)),
            streamed: Some((Nanos::from_secs(2), Some(Nanos::from_secs(14)))),
            books: Some([book; MEMBERS]),
        }
    }

    fn with_report<T>(totals: &Totals, facts: &Facts, see: impl FnOnce(&mut Report<'_>) -> T) -> T {
        let mut oracle = Oracle::new();
        oracle.on_sent(&crate::orders::source::Request::Cancel { id: 1 }, Nanos(0));
        oracle.on_answer(1, b"", Nanos::from_micros(1_500), true);
        see(&mut Report {
            total: 50_000,
            totals,
            facts,
            latencies: oracle.latencies(),
            reported: Some((950, 160_000_000)),
            sessions_lost: 0,
            failure: None,
        })
    }

    fn reasons(totals: &Totals, facts: &Facts) -> Vec<String> {
        with_report(totals, facts, |report| report.reasons())
    }

    #[test]
    fn what_went_well_passes_and_all_is_told() {
        let text = with_report(&totals(), &facts(), |report| report.text());
        let expected = "
sent            50,000: 30,000 orders, 20,000 cancels in 12.0 s
acknowledged    50,000
lost                 0
doubled              0
rejected            40: cancels of orders not in the book
trades             900: volume 1.50000000
  in the file      950: volume 1.60000000
killed        member 1, the leader: 150 in flight
failover      420 ms to the first answer of member 2
  of which    390 ms until a new leader was in service
sessions lost        0
came back     from the snapshot at 64,000 and the log in 300 ms
latency       p50 1,500 us  p90 1,500 us  p99 1,500 us  p99.9 1,500 us  max 1,500 us
  before kill p50 1,500 us  p90 1,500 us  p99 1,500 us  p99.9 1,500 us  max 1,500 us
member 0       hash 0000000000000abc at 7,654,321
member 1       hash 0000000000000abc at 7,654,321
member 2       hash 0000000000000abc at 7,654,321
PASS
";
        assert_eq!(text, expected);
    }

    #[test]
    fn each_fault_of_the_answers_fails() {
        let fail = |change: fn(&mut Totals), reason: &str| {
            let mut totals = totals();
            change(&mut totals);
            let found = reasons(&totals, &facts());
            assert!(found.iter().any(|found| found == reason), "{reason}: {found:?}");
        };
        fail(|it| it.acknowledged -= 3, "3 were never acknowledged");
        fail(|it| (it.sent, it.acknowledged) = (49_999, 49_999), "1 were not sent");
        fail(|it| it.unasked = 2, "2 answers too many");
        fail(|it| it.wrong = 1, "1 answers are not those of a book with the same orders");
        fail(|it| it.trades = 899, "member 0 counts other trades than it told");
    }

    #[test]
    fn each_fault_of_the_members_fails() {
        let fail = |change: fn(&mut Book), reason: &str| {
            let mut facts = facts();
            change(&mut facts.books.as_mut().unwrap()[2]);
            assert_eq!(reasons(&totals(), &facts), [reason]);
        };
        fail(|book| book.hash = 0xabd, "the members' states differ");
        fail(|book| book.doubled = 1, "member 2 executed 1 twice");
        fail(|book| book.executed = 49_999, "member 2 executed 49999 of 50000");
        fail(|book| book.rejected = 41, "member 2 counts other trades than it told");
    }

    #[test]
    fn each_part_of_the_script_that_is_missing_fails() {
        let fail = |change: fn(&mut Facts), reason: &str| {
            let mut facts = facts();
            change(&mut facts);
            assert_eq!(reasons(&totals(), &facts), [reason]);
        };
        let in_flight = |it: &mut Facts| it.kill.as_mut().unwrap().in_flight = 99;
        fail(in_flight, "99 were in flight at the kill");
        fail(|it| it.failover = None, "no new leader answered");
        fail(|it| it.recovery = Some(0), "no member came back from a snapshot");
        fail(|it| it.caught_up = None, "the killed member did not catch up");
        let early = |it: &mut Facts| it.streamed = Some((Nanos(0), Some(Nanos::from_secs(7))));
        fail(early, "the stream lasted 7,000 ms only");
        fail(|it| it.books = None, "the members were not compared");
        let failure = with_report(&totals(), &facts(), |report| {
            report.failure = Some("member 2 ended by itself".into());
            report.text()
        });
        assert!(failure.ends_with("FAIL\n  member 2 ended by itself\n"));
    }
}

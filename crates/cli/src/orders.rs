//! `coracle orders`: what an order book makes of orders, without a cluster around it.

pub(crate) mod source;

use std::collections::BTreeSet;
use std::path::PathBuf;

use order_book::book::OrderBook;

use crate::Failure;
use source::{Generator, Orders, Request, UNITS};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Exchange events, plain or packed with xz, a line each: time in ms, event, JSON.
    #[arg(required_unless_present = "generate", conflicts_with = "generate")]
    file: Option<PathBuf>,
    /// Make up this many orders and cancels instead.
    #[arg(long, value_name = "COUNT")]
    generate: Option<usize>,
    /// What made-up orders follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let orders = match (&arguments.file, arguments.generate) {
        (Some(file), _) => source::read(file)?,
        (None, count) => {
            let requests = Generator::new(arguments.seed).take(count.unwrap_or(0)).collect();
            Orders { requests, ..Orders::default() }
        }
    };
    print!("{}", report(&orders));
    Ok(())
}

/// Runs the requests through a book of its own and tells what came out.
fn report(orders: &Orders) -> String {
    let mut book = OrderBook::new();
    let (mut trades, mut placed) = (Vec::new(), BTreeSet::new());
    let (mut rejected_orders, mut rejected_cancels, mut unknown) = (0, 0, 0);
    for request in &orders.requests {
        match *request {
            Request::Place { id, side, price, amount } => {
                placed.insert(id);
                let refused = book.place(id, side, price, amount, &mut trades).is_err();
                rejected_orders += usize::from(refused);
            }
            Request::Cancel { id } => {
                rejected_cancels += usize::from(book.cancel(id).is_err());
                unknown += usize::from(!placed.contains(&id));
            }
        }
    }
    let volume: i128 = trades.iter().map(|trade| i128::from(trade.amount)).sum();
    let cancels = orders.requests.len() - orders.placed();
    let whole = |units: i128| units as f64 / UNITS as f64;
    format!(
        "orders    {:>9}, {rejected_orders} rejected\n\
         cancels   {cancels:>9}, {rejected_cancels} rejected, {unknown} of orders never placed\n\
         trades    {:>9}, volume {:.8}\n\
         reported  {:>9}, volume {:.8}\n\
         resting   {:>9}\n\
         hash      {:016x}\n",
        orders.placed(),
        trades.len(),
        whole(volume),
        orders.trades_reported,
        whole(i128::from(orders.volume_reported)),
        book.len(),
        book.state_hash(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use order_book::book::Side;

    #[test]
    fn a_report_tells_orders_cancels_and_trades_apart() {
        let place = |id, side| Request::Place { id, side, price: 5 * UNITS, amount: UNITS };
        let requests = vec![
            place(1, Side::Buy),
            place(2, Side::Sell),
            place(3, Side::Sell),
            Request::Cancel { id: 1 },
            Request::Cancel { id: 9 },
        ];
        let orders = Orders { requests, trades_reported: 4, volume_reported: UNITS / 2 };
        let report = report(&orders);
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], "orders            3, 0 rejected");
        assert_eq!(lines[1], "cancels           2, 2 rejected, 1 of orders never placed");
        assert_eq!(lines[2], "trades            1, volume 1.00000000");
        assert_eq!(lines[3], "reported          4, volume 0.50000000");
        assert_eq!(lines[4], "resting           1");
    }
}

//! Matching by price, then time. Pure: the same calls in the same order make the same book.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

/// Which side of the book an order stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Wants to buy, at its price or lower.
    Buy,
    /// Wants to sell, at its price or higher.
    Sell,
}

/// An order that rests in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Chosen by whoever placed it; unique among resting orders.
    pub id: u64,
    /// Its side.
    pub side: Side,
    /// Its limit, in the smallest unit of price.
    pub price: i64,
    /// What is still open of it, in the smallest unit of volume.
    pub remaining: i64,
    /// When it came, as a count over all orders: the earlier goes first at one price.
    pub arrival: u64,
}

/// A match of an incoming order with a resting one, at the resting one's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The order that rested.
    pub maker: u64,
    /// The order that came in.
    pub taker: u64,
    /// At which price.
    pub price: i64,
    /// How much.
    pub amount: i64,
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No order of this id rests in the book.
    #[error("order {0} is not in the book")]
    UnknownOrder(u64),
    /// An order of this id rests in the book already.
    #[error("order {0} is in the book already")]
    DuplicateOrder(u64),
    /// Volumes are positive.
    #[error("an order of volume {0} means nothing")]
    Volume(i64),
    /// The price has no mirror image below zero.
    #[error("price {0} is out of range")]
    Price(i64),
}

/// A limit order book.
///
/// Cost of a command: logarithmic in the number of resting orders, times the trades that it makes.
#[derive(Clone, Debug, Default)]
pub struct OrderBook {
    bids: Ladder,
    asks: Ladder,
    places: FxHashMap<u64, (Side, Place)>,
    arrivals: u64,
    resting_hash: u64,
}

/// Best first: by price as seen from the side, then by arrival.
type Place = (i64, u64);
type Ladder = BTreeMap<Place, Order>;

impl OrderBook {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Matches a new order against the other side, adds the trades to `trades`, and lets what is
    /// left of the order rest. Returns how much is left.
    ///
    /// # Errors
    /// The order is refused and the book unchanged: see [`Rejection`].
    pub fn place(
        &mut self,
        id: u64,
        side: Side,
        price: i64,
        amount: i64,
        trades: &mut Vec<Trade>,
    ) -> Result<i64, Rejection> {
        if amount <= 0 {
            return Err(Rejection::Volume(amount));
        }
        if price == i64::MIN {
            return Err(Rejection::Price(price));
        }
        if self.places.contains_key(&id) {
            return Err(Rejection::DuplicateOrder(id));
        }
        let remaining = self.take(id, side, price, amount, trades);
        self.arrivals += 1;
        if remaining > 0 {
            self.rest(Order { id, side, price, remaining, arrival: self.arrivals });
        }
        Ok(remaining)
    }

    /// Takes an order out of the book and returns what was still open of it.
    ///
    /// # Errors
    /// The order is not in the book: it never was, it traded in full, or it was cancelled.
    pub fn cancel(&mut self, id: u64) -> Result<i64, Rejection> {
        let (side, place) = self.places.remove(&id).ok_or(Rejection::UnknownOrder(id))?;
        let order = self.ladder(side).remove(&place).expect("every place names a resting order");
        self.resting_hash = self.resting_hash.wrapping_sub(hash_of(&order));
        Ok(order.remaining)
    }

    /// Puts an order of a snapshot back, as it was. Orders may come in any sequence.
    ///
    /// # Errors
    /// It cannot stand beside what is in the book.
    pub fn restore(&mut self, order: Order) -> Result<(), Rejection> {
        if order.remaining <= 0 {
            return Err(Rejection::Volume(order.remaining));
        }
        if order.price == i64::MIN {
            return Err(Rejection::Price(order.price));
        }
        if self.places.contains_key(&order.id) {
            return Err(Rejection::DuplicateOrder(order.id));
        }
        self.arrivals = self.arrivals.max(order.arrival);
        self.rest(order);
        Ok(())
    }

    /// Continues the count of arrivals from a snapshot.
    pub fn restore_arrivals(&mut self, arrivals: u64) {
        self.arrivals = self.arrivals.max(arrivals);
    }

    /// How many orders have come, resting or not.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// How many orders rest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether no order rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The resting orders: bids, then asks, the best first on each side.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.bids.values().chain(self.asks.values())
    }

    /// The best price of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<i64> {
        let ladder = if side == Side::Buy { &self.bids } else { &self.asks };
        ladder.first_key_value().map(|(_, order)| order.price)
    }

    /// A hash over every resting order and the count of arrivals.
    ///
    /// It is kept up with each command, and comes out the same for a book rebuilt from its orders.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        mix(self.resting_hash ^ mix(self.arrivals))
    }

    fn take(
        &mut self,
        id: u64,
        side: Side,
        price: i64,
        amount: i64,
        trades: &mut Vec<Trade>,
    ) -> i64 {
        let mut open = amount;
        while open > 0 {
            let other = if side == Side::Buy { &mut self.asks } else { &mut self.bids };
            let Some(mut best) = other.first_entry() else { break };
            let order = best.get_mut();
            let crosses = match side {
                Side::Buy => order.price <= price,
                Side::Sell => order.price >= price,
            };
            if !crosses {
                break;
            }
            let traded = open.min(order.remaining);
            self.resting_hash = self.resting_hash.wrapping_sub(hash_of(order));
            order.remaining -= traded;
            open -= traded;
            trades.push(Trade { maker: order.id, taker: id, price: order.price, amount: traded });
            if order.remaining == 0 {
                self.places.remove(&order.id);
                best.remove();
            } else {
                self.resting_hash = self.resting_hash.wrapping_add(hash_of(order));
            }
        }
        open
    }

    fn rest(&mut self, order: Order) {
        let rank = if order.side == Side::Buy { -order.price } else { order.price };
        let place = (rank, order.arrival);
        self.resting_hash = self.resting_hash.wrapping_add(hash_of(&order));
        self.places.insert(order.id, (order.side, place));
        self.ladder(order.side).insert(place, order);
    }

    fn ladder(&mut self, side: Side) -> &mut Ladder {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }
}

fn hash_of(order: &Order) -> u64 {
    let side = u64::from(order.side == Side::Sell);
    [order.id, side, order.price.cast_unsigned(), order.remaining.cast_unsigned(), order.arrival]
        .into_iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash, word| mix(hash ^ word))
}

/// The finaliser of `SplitMix64`: every bit of the input reaches every bit of the output.
pub(crate) fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Buy, Sell};

    fn place(book: &mut OrderBook, id: u64, side: Side, price: i64, amount: i64) -> Vec<Trade> {
        let mut trades = Vec::new();
        book.place(id, side, price, amount, &mut trades).unwrap();
        trades
    }

    #[test]
    fn the_best_price_trades_first_and_at_one_price_the_earlier_order() {
        let mut book = OrderBook::new();
        place(&mut book, 1, Sell, 102, 5);
        place(&mut book, 2, Sell, 101, 5);
        place(&mut book, 3, Sell, 101, 5);
        let trades = place(&mut book, 4, Buy, 102, 12);
        let maker = |maker, price, amount| Trade { maker, taker: 4, price, amount };
        assert_eq!(trades, [maker(2, 101, 5), maker(3, 101, 5), maker(1, 102, 2)]);
        assert_eq!(book.best(Sell), Some(102));
        assert_eq!(book.best(Buy), None);
    }

    #[test]
    fn what_does_not_cross_rests_at_its_price() {
        let mut book = OrderBook::new();
        place(&mut book, 1, Buy, 99, 5);
        assert_eq!(place(&mut book, 2, Sell, 100, 5), []);
        assert_eq!((book.best(Buy), book.best(Sell), book.len()), (Some(99), Some(100), 2));
    }

    #[test]
    fn an_order_keeps_its_place_after_a_partial_trade() {
        let mut book = OrderBook::new();
        place(&mut book, 1, Buy, 100, 10);
        place(&mut book, 2, Buy, 100, 10);
        place(&mut book, 3, Sell, 100, 4);
        let trades = place(&mut book, 4, Sell, 100, 8);
        assert_eq!(
            trades.iter().map(|t| (t.maker, t.amount)).collect::<Vec<_>>(),
            [(1, 6), (2, 2)]
        );
    }

    #[test]
    fn a_cancel_returns_what_was_open_and_an_unknown_one_is_rejected() {
        let mut book = OrderBook::new();
        place(&mut book, 1, Buy, 100, 10);
        place(&mut book, 2, Sell, 100, 4);
        assert_eq!(book.cancel(1), Ok(6));
        assert_eq!(book.cancel(1), Err(Rejection::UnknownOrder(1)));
        assert_eq!(book.cancel(2), Err(Rejection::UnknownOrder(2)));
        assert!(book.is_empty());
    }

    #[test]
    fn senseless_orders_are_rejected_and_change_nothing() {
        let mut book = OrderBook::new();
        place(&mut book, 1, Buy, 100, 10);
        let before = book.state_hash();
        let mut trades = Vec::new();
        let mut refused = |id, price, amount| book.place(id, Buy, price, amount, &mut trades);
        assert_eq!(refused(2, 100, 0), Err(Rejection::Volume(0)));
        assert_eq!(refused(1, 100, 1), Err(Rejection::DuplicateOrder(1)));
        assert_eq!(refused(3, i64::MIN, 1), Err(Rejection::Price(i64::MIN)));
        assert_eq!(book.state_hash(), before);
    }

    #[test]
    fn a_book_restored_from_its_orders_in_any_sequence_hashes_the_same_and_trades_the_same() {
        let mut book = OrderBook::new();
        for id in 0..40_u64 {
            let side = if id % 2 == 0 { Buy } else { Sell };
            let away = i64::try_from(id % 7).unwrap();
            let price = if side == Buy { 100 - away } else { 101 + away };
            place(&mut book, id, side, price, 10 + away);
        }
        place(&mut book, 100, Sell, 98, 25);
        let mut restored = OrderBook::new();
        let mut orders: Vec<Order> = book.orders().copied().collect();
        orders.reverse();
        for order in orders {
            restored.restore(order).unwrap();
        }
        restored.restore_arrivals(book.arrivals());
        assert_eq!(restored.state_hash(), book.state_hash());
        assert_eq!(place(&mut restored, 200, Buy, 107, 90), place(&mut book, 200, Buy, 107, 90));
        assert_eq!(restored.state_hash(), book.state_hash());
    }

    #[test]
    fn the_hash_tells_apart_books_that_differ_in_one_open_volume() {
        let (mut one, mut other) = (OrderBook::new(), OrderBook::new());
        place(&mut one, 1, Buy, 100, 10);
        place(&mut other, 1, Buy, 100, 11);
        assert_ne!(one.state_hash(), other.state_hash());
    }
}

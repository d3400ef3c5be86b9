//! Points of the real code at which a trial makes rare things happen often.
//!
//! Each stands where something is allowed to go slower or be refused: a poll that brings one
//! fragment, an offer that meets back pressure, a thread that passes something over. Without the
//! feature `points` nothing is ever struck and the question costs nothing; only trials switch it
//! on. With it, points are silent until a trial arms them on its thread.

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident: $text:literal),* $(,)?) => {
        /// A place in the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $name,)*
        }

        impl Point {
            /// All of them, in order.
            pub const ALL: [Self; [$(Self::$name),*].len()] = [$(Self::$name),*];

            /// What happens there.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

points! {
    /// A publication that could take a message says that it cannot.
    OfferBackPressure: "offers pressed back",
    /// A publication says that its log is being turned.
    OfferAdminAction: "offers put off by the turn of a log",
    /// An image hands over one fragment, however many were asked for.
    PollOne: "polls cut to one fragment",
    /// An image hands over nothing, as if what it holds had come a moment later.
    PollNothing: "polls that brought nothing",
    /// A block that is recorded is short.
    BlockShort: "short blocks",
    /// The driver does not look at its commands.
    CommandsLeft: "commands left for later",
    /// A sender does not send.
    SendLeft: "sends left for later",
    /// A receiver does not look at its sockets.
    ReceiveLeft: "datagrams left for later",
    /// An archive does not send what it has to answer.
    AnswersLeft: "answers of archives left for later",
    /// A recorder does not write.
    WriteLeft: "writes of recorders left for later",
    /// A replay does not go on.
    ReplayLeft: "replays left for later",
}

/// Whether the point is struck this time. Never without the feature `points`.
#[inline]
#[must_use]
pub fn strikes(point: Point) -> bool {
    #[cfg(feature = "points")]
    return armed::strikes(point);
    #[cfg(not(feature = "points"))]
    {
        let _ = point;
        false
    }
}

#[cfg(feature = "points")]
pub use armed::{arm, disarm};

#[cfg(feature = "points")]
mod armed {
    use std::cell::RefCell;

    use super::Point;
    use crate::random::Rng;

    /// One point: how likely it strikes, what is drawn for it, how often it did.
    struct Arm {
        chance: f64,
        rng: Rng,
        hits: u64,
    }

    thread_local! {
        static ARMED: RefCell<Vec<Arm>> = const { RefCell::new(Vec::new()) };
    }

    /// Lets each point of this thread strike with the chance that is drawn for it by `chance`, from
    /// a seed, each for itself.
    pub fn arm(seed: u64, chance: impl Fn(Point) -> f64) {
        let one = |point: Point| {
            let (chance, rng) = (chance(point), Rng::new(seed, point.name()));
            Arm { chance, rng, hits: 0 }
        };
        ARMED.with_borrow_mut(|armed| *armed = Point::ALL.into_iter().map(one).collect());
    }

    /// Lets no point of this thread strike any more; returns how often each did.
    pub fn disarm() -> Vec<(Point, u64)> {
        let armed = ARMED.take();
        Point::ALL.into_iter().zip(armed.into_iter().map(|arm| arm.hits)).collect()
    }

    pub(super) fn strikes(point: Point) -> bool {
        ARMED.with_borrow_mut(|armed| {
            let Some(arm) = armed.get_mut(point as usize) else { return false };
            let is_struck = arm.chance > 0.0 && arm.rng.chance(arm.chance);
            arm.hits += u64::from(is_struck);
            is_struck
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_point_strikes_while_it_is_armed_and_the_same_again_from_the_same_seed() {
            let run = || {
                arm(7, |point| if point == Point::PollOne { 0.3 } else { 0.0 });
                let struck: Vec<_> = (0..100).map(|_| strikes(Point::PollOne)).collect();
                assert!(!strikes(Point::SendLeft));
                (struck, disarm())
            };
            let (struck, hits) = run();
            let count = struck.iter().filter(|it| **it).count() as u64;
            assert!((10..60).contains(&count));
            assert_eq!(hits[Point::PollOne as usize], (Point::PollOne, count));
            assert_eq!(run(), (struck, hits));
            assert!(!strikes(Point::PollOne));
        }
    }
}

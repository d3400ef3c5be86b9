//! CUBIC (docs/udp.md, "Congestion control"): the window in packets as a cubic function of the time
//! since the last loss.

use runtime::Nanos;

use super::Progress;
use crate::config::LossConfig;

const C: f64 = 0.4;
const B: f64 = 0.2;
const INITIAL_WINDOW: i32 = 10;

/// State of one image.
#[derive(Debug)]
pub(crate) struct Cubic {
    mtu: i32,
    packets_max: i32,
    packets: i32,
    w_max: i32,
    k: f64,
    last_loss: Nanos,
    last_update: Nanos,
    update_timeout: Nanos,
    initial_rtt: Nanos,
    rtt: Nanos,
    rtt_timeout: Nanos,
    last_rtt: Nanos,
    measures_rtt: bool,
    is_tcp_mode: bool,
}

impl Cubic {
    pub(crate) fn new(window_max: i32, mtu: i32, config: &LossConfig, now: Nanos) -> Self {
        let packets_max = (window_max / mtu.max(1)).max(1);
        let initial = config.cubic_initial_rtt;
        Self {
            mtu,
            packets_max,
            packets: INITIAL_WINDOW.min(packets_max),
            w_max: packets_max,
            k: inflection(packets_max),
            last_loss: now,
            last_update: now,
            update_timeout: initial,
            initial_rtt: initial,
            rtt: initial,
            rtt_timeout: Nanos(initial.0.saturating_mul(4)),
            last_rtt: now,
            measures_rtt: config.cubic_measure_rtt,
            is_tcp_mode: config.cubic_tcp_mode,
        }
    }

    pub(crate) fn window(&self) -> i32 {
        self.packets.saturating_mul(self.mtu)
    }

    /// The round trip as far as known.
    #[cfg(test)]
    pub(crate) fn rtt(&self) -> Nanos {
        self.rtt
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // Counts of packets.
    pub(crate) fn on_rebuild(&mut self, progress: Progress, now: Nanos) -> bool {
        if progress.has_loss {
            self.w_max = self.packets;
            self.k = inflection(self.w_max);
            self.packets = ((f64::from(self.packets) * (1.0 - B)) as i32).max(1);
            self.last_loss = now;
            return true;
        }
        if self.packets < self.packets_max && self.last_update + self.update_timeout < now {
            let t = (now - self.last_loss).0 as f64 / 1e9;
            let grown = f64::from(self.w_max) + (C * (t - self.k).powi(3)).trunc();
            self.packets = (grown as i32).clamp(1, self.packets_max);
            if self.is_tcp_mode && self.packets < self.w_max {
                let rtt = self.rtt.0.max(1) as f64 / 1e9;
                let tcp = f64::from(self.w_max) * (1.0 - B) + (3.0 * B / (2.0 - B)) * (t / rtt);
                self.packets = self.packets.max(tcp as i32).min(self.packets_max);
            }
            self.last_update = now;
            return false;
        }
        self.packets == 1 && progress.has_consumed
    }

    /// Whether the round trip is to be measured now; the caller then sends the request.
    pub(crate) fn should_measure(&mut self, now: Nanos) -> bool {
        let is_due = self.measures_rtt && now - self.last_rtt > self.rtt_timeout;
        if is_due {
            self.last_rtt = now;
        }
        is_due
    }

    /// When the round trip is to be measured next.
    pub(crate) fn next_deadline(&self) -> Nanos {
        if !self.measures_rtt {
            return Nanos::MAX;
        }
        self.last_rtt + self.rtt_timeout + Nanos(1)
    }

    /// A reply came.
    pub(crate) fn on_rtt(&mut self, rtt: Nanos, now: Nanos) {
        self.last_rtt = now;
        self.rtt = rtt;
        self.rtt_timeout = Nanos(rtt.max(self.initial_rtt).0.saturating_mul(4));
    }
}

fn inflection(w_max: i32) -> f64 {
    (f64::from(w_max) * B / C).cbrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Progress = Progress { has_loss: false, has_consumed: false };
    const LOSS: Progress = Progress { has_loss: true, has_consumed: false };

    fn cubic(window: i32) -> Cubic {
        Cubic::new(window, 1408, &LossConfig::default(), Nanos(0))
    }

    #[test]
    fn it_begins_with_ten_packets_or_fewer() {
        assert_eq!(cubic(128 * 1024).window(), 10 * 1408);
        assert_eq!(cubic(4 * 1408).window(), 4 * 1408);
    }

    #[test]
    fn loss_takes_a_fifth_and_forces_a_status_message() {
        let mut cubic = cubic(128 * 1024);
        assert!(cubic.on_rebuild(LOSS, Nanos(1)));
        assert_eq!(cubic.window(), 8 * 1408);
        for _ in 0..10 {
            assert!(cubic.on_rebuild(LOSS, Nanos(2)));
        }
        assert_eq!(cubic.window(), 1408);
        let consumed = Progress { has_loss: false, has_consumed: true };
        assert!(cubic.on_rebuild(consumed, Nanos(3)), "a window of one packet needs prompting");
    }

    #[test]
    fn it_grows_back_to_its_maximum_with_time() {
        let mut cubic = cubic(128 * 1024);
        assert!(cubic.on_rebuild(LOSS, Nanos(0)));
        let mut last = cubic.window();
        for second in 1..60 {
            assert!(!cubic.on_rebuild(QUIET, Nanos::from_secs(second)));
            assert!(cubic.window() >= last);
            last = cubic.window();
        }
        assert_eq!(last, (128 * 1024 / 1408) * 1408);
    }

    #[test]
    fn the_round_trip_is_measured_only_when_asked_for() {
        let mut silent = cubic(128 * 1024);
        assert!(!silent.should_measure(Nanos::from_secs(9)));
        let config = LossConfig { cubic_measure_rtt: true, ..LossConfig::default() };
        let mut cubic = Cubic::new(128 * 1024, 1408, &config, Nanos(0));
        assert!(!cubic.should_measure(Nanos(400_000)));
        assert!(cubic.should_measure(Nanos(400_001)));
        cubic.on_rtt(Nanos(1_000_000), Nanos(500_000));
        assert_eq!((cubic.rtt(), cubic.next_deadline()), (Nanos(1_000_000), Nanos(4_500_001)));
    }
}

//! Ports that nobody listens on.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use coracle::runtime::network::{Network, SocketOptions};

/// Where ports are looked for.
pub(crate) const RANGE: Range<u16> = 20_000..32_000;

/// No more ports are free.
#[derive(Debug, thiserror::Error)]
#[error("fewer than {count} ports are free from {} to {}", RANGE.start, RANGE.end)]
pub(crate) struct NoPorts {
    /// So many were wanted.
    count: usize,
}

/// Finds this many free ports. Different seeds look in different places first, so that two
/// demonstrations on one machine hardly meet.
pub(crate) fn find(network: &dyn Network, count: usize, seed: u64) -> Result<Vec<u16>, NoPorts> {
    free(count, seed, |port| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        network.bind(&SocketOptions::at(address)).is_ok()
    })
}

fn free(count: usize, seed: u64, is_free: impl Fn(u16) -> bool) -> Result<Vec<u16>, NoPorts> {
    let all = RANGE.len() as u64;
    let first = RANGE.start + u16::try_from(seed % all).unwrap_or(0);
    let ports = (first..RANGE.end).chain(RANGE.start..first);
    let found: Vec<u16> = ports.filter(|&port| is_free(port)).take(count).collect();
    if found.len() == count { Ok(found) } else { Err(NoPorts { count }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_searched_from_where_the_seed_says_and_round_the_end() {
        let found = free(4, 11_998, |port| port % 2 == 1).unwrap();
        assert_eq!(found, [31_999, 20_001, 20_003, 20_005]);
        assert_eq!(free(1, 0, |_| false).unwrap_err().count, 1);
        assert_eq!(free(12_000, 77, |_| true).unwrap().len(), 12_000);
    }

    #[test]
    fn a_port_that_is_in_use_is_not_found() {
        let network = coracle::os::ports(None).unwrap().network;
        let first = find(&*network, 1, 500).unwrap()[0];
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, first));
        let _held = network.bind(&SocketOptions::at(address)).unwrap();
        assert_ne!(find(&*network, 1, 500).unwrap()[0], first);
    }
}

//! Who publishes and subscribes where: drawn from the seed.

use runtime::random::Rng;
use wire::position::StreamId;

/// What one publisher does.
#[derive(Clone, Debug)]
pub(super) struct PublisherPlan {
    /// Its number among all publishers.
    pub(super) slot: usize,
    pub(super) route: usize,
    pub(super) stream: StreamId,
    pub(super) channel: String,
    pub(super) destinations: Vec<String>,
    pub(super) exclusive: bool,
}

/// What one subscriber does.
#[derive(Clone, Debug)]
pub(super) struct SubscriberPlan {
    /// Its number among all subscribers.
    pub(super) slot: usize,
    pub(super) route: usize,
    pub(super) stream: StreamId,
    pub(super) channel: String,
    pub(super) destinations: Vec<String>,
}

/// What one client process does.
#[derive(Clone, Debug, Default)]
pub(super) struct PartyPlan {
    pub(super) host: usize,
    pub(super) publishers: Vec<PublisherPlan>,
    pub(super) subscribers: Vec<SubscriberPlan>,
}

/// What everybody does.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: usize,
    pub(super) parties: Vec<PartyPlan>,
    /// The route of each publisher.
    pub(super) publisher_routes: Vec<usize>,
    subscriber_count: usize,
}

/// How a route reaches its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ipc,
    Unicast,
    Dynamic,
    Manual,
    /// To two endpoints of one subscriber.
    Merged,
}

const KINDS: [Kind; 5] = [Kind::Ipc, Kind::Unicast, Kind::Dynamic, Kind::Manual, Kind::Merged];

impl Plan {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let hosts = 2 + index(rng, 3);
        let per_host = 1 + index(rng, 2);
        let parties = (0..hosts * per_host)
            .map(|party| PartyPlan { host: party % hosts, ..PartyPlan::default() })
            .collect();
        let mut plan = Self { hosts, parties, publisher_routes: Vec::new(), subscriber_count: 0 };
        for route in 0..2 + index(rng, 3) {
            plan.draw_route(rng, route);
        }
        plan
    }

    fn draw_route(&mut self, rng: &mut Rng, route: usize) {
        let kind = KINDS[index(rng, KINDS.len())];
        let home = index(rng, self.hosts);
        let port = 20_000 + 100 * route;
        let window = [8, 16][index(rng, 2)];
        let mtu = ["", "|mtu=4096"][index(rng, 2)];
        let log = format!("term-length=64k{mtu}");
        let away = (home + 1 + index(rng, self.hosts - 1)) % self.hosts;
        let at = |host: usize, port: usize| format!("10.0.0.{}:{port}", host + 1);
        let udp = |rest: String| format!("aeron:udp?{rest}");
        let mut destinations = Vec::new();
        // Of each subscriber: host, channel, destinations.
        let mut subscribers = Vec::new();
        let listeners = 1 + index(rng, 3);
        let publication = match kind {
            Kind::Ipc => {
                subscribers.extend((0..listeners).map(|_| (home, "aeron:ipc".to_string(), vec![])));
                format!("aeron:ipc?{log}")
            }
            Kind::Unicast => {
                let channel = udp(format!("endpoint={}|rcv-wnd={window}k", at(away, port)));
                subscribers.extend((0..listeners).map(|_| (away, channel.clone(), vec![])));
                udp(format!("endpoint={}|{log}", at(away, port)))
            }
            Kind::Dynamic => {
                let control = format!("control={}|control-mode=dynamic", at(home, port));
                for host in 0..self.hosts {
                    let endpoint = at(host, port + 1);
                    let rest = format!("endpoint={endpoint}|{control}|rcv-wnd={window}k");
                    subscribers.push((host, udp(rest), vec![]));
                }
                udp(format!("{control}|fc=min|{log}"))
            }
            Kind::Manual => {
                for host in 0..self.hosts {
                    let endpoint = at(host, port + 1);
                    destinations.push(udp(format!("endpoint={endpoint}")));
                    let rest = format!("endpoint={endpoint}|rcv-wnd={window}k");
                    subscribers.push((host, udp(rest), vec![]));
                }
                udp(format!("control={}|control-mode=manual|fc=min|{log}", at(home, port)))
            }
            Kind::Merged => {
                destinations.extend(
                    [port + 1, port + 2].map(|port| udp(format!("endpoint={}", at(away, port)))),
                );
                let channel = udp(format!("control-mode=manual|rcv-wnd={window}k"));
                subscribers.push((away, channel, destinations.clone()));
                udp(format!("control={}|control-mode=manual|fc=min|{log}", at(home, port)))
            }
        };
        if kind != Kind::Ipc && rng.chance(0.3) {
            subscribers.push((home, format!("aeron-spy:{publication}"), vec![]));
        }
        let exclusive = rng.chance(0.5);
        let stream = StreamId(1_000 + i32::try_from(route).unwrap_or_default());
        // Exclusive publications with a control address of their own would share a socket: fine.
        for _ in 0..1 + index(rng, 2) {
            let slot = self.publisher_routes.len();
            self.publisher_routes.push(route);
            let (channel, destinations) = (publication.clone(), destinations.clone());
            let plan = PublisherPlan { slot, route, stream, channel, destinations, exclusive };
            self.party_on(rng, home).publishers.push(plan);
        }
        for (host, channel, destinations) in subscribers {
            let slot = self.subscriber_count;
            self.subscriber_count += 1;
            let plan = SubscriberPlan { slot, route, stream, channel, destinations };
            self.party_on(rng, host).subscribers.push(plan);
        }
    }

    fn party_on(&mut self, rng: &mut Rng, host: usize) -> &mut PartyPlan {
        let chosen = host + self.hosts * index(rng, self.parties.len() / self.hosts);
        &mut self.parties[chosen]
    }
}

/// A number below `bound`.
pub(super) fn index(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}

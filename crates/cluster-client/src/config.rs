//! Options of a client of a cluster.

use runtime::Nanos;

runtime::config! {
    /// Options of a client of a cluster. Immutable once it connects.
    pub struct Config {
        /// Channel to the members. Without endpoints it must lead to the leader by itself:
        /// multicast, or IPC.
        ingress_channel: String = "aeron:udp".to_string(), "aeron.cluster.ingress.channel";
        /// Where each member listens: `id=host:port,id=host:port`. Empty for multicast and IPC.
        ingress_endpoints: String = String::new(), "aeron.cluster.ingress.endpoints";
        /// Stream to the members.
        ingress_stream_id: i32 = 101, "aeron.cluster.ingress.stream.id";
        /// Channel on which the cluster answers; port 0 lets the system choose.
        egress_channel: String = "aeron:udp?endpoint=localhost:0".to_string(),
            "aeron.cluster.egress.channel";
        /// Stream on which the cluster answers.
        egress_stream_id: i32 = 102, "aeron.cluster.egress.stream.id";
        /// How long a session may take to open, and a new leader to be reached.
        message_timeout: Nanos = Nanos::from_secs(5), "aeron.cluster.message.timeout";
        /// How long to wait for a new leader once the old one has gone. Unset: twice the leader
        /// heartbeat time-out that the cluster announces.
        new_leader_timeout: Option<Nanos> = None, "coracle.cluster.client.new.leader.timeout";
        /// How often the session is kept alive; well below the cluster's session time-out (10 s).
        keep_alive_interval: Nanos = Nanos::from_secs(1),
            "coracle.cluster.client.keep.alive.interval";
        /// What tools show for this client; at most 100 characters of ASCII.
        name: String = String::new(), "aeron.cluster.client.name";
    }
}

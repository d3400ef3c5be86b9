//! Options of a service container.

use std::path::PathBuf;

use runtime::Nanos;

runtime::config! {
    /// Options of a service container. Immutable once it is launched.
    pub struct Config {
        /// Which cluster, of those that share a driver.
        cluster_id: i32 = 0, "aeron.cluster.id";
        /// Which of the node's services: 0 and up, without gaps.
        service_id: i32 = 0, "aeron.cluster.service.id";
        /// Name for people; empty: `clustered-service-<cluster id>-<service id>`.
        name: String = String::new(), "aeron.cluster.service.name";
        /// The cluster's directory on this node.
        directory: PathBuf = PathBuf::from("aeron-cluster"), "aeron.cluster.dir";
        /// Where the mark file lies, if not in the cluster's directory.
        mark_file_directory: Option<PathBuf> = None, "aeron.cluster.mark.file.dir";
        /// Channel to and from the module.
        control_channel: String = "aeron:ipc?term-length=128k".to_string(),
            "aeron.cluster.control.channel";
        /// Stream from the module.
        service_stream_id: i32 = 104, "aeron.cluster.service.stream.id";
        /// Stream to the module.
        consensus_module_stream_id: i32 = 105, "aeron.cluster.consensus.module.stream.id";
        /// Channel of snapshots on their way to the archive.
        snapshot_channel: String = "aeron:ipc?alias=snapshot".to_string(),
            "aeron.cluster.snapshot.channel";
        /// Stream of snapshots on their way to the archive.
        snapshot_stream_id: i32 = 106, "aeron.cluster.snapshot.stream.id";
        /// Channel of a snapshot on its way from the archive.
        replay_channel: String = "aeron:ipc".to_string(), "aeron.cluster.replay.channel";
        /// Stream of a snapshot on its way from the archive.
        replay_stream_id: i32 = 103, "aeron.cluster.replay.stream.id";
        /// Channel of requests to the archive of this node.
        archive_control_channel: String = "aeron:ipc?term-length=64k".to_string(),
            "aeron.archive.local.control.channel";
        /// Stream of requests to the archive of this node.
        archive_control_stream_id: i32 = 10, "aeron.archive.local.control.stream.id";
        /// How long to wait for each step of the archive.
        archive_timeout: Nanos = Nanos::from_secs(10), "aeron.archive.message.timeout";
        /// How long the log that the module names may take to appear.
        join_timeout: Nanos = Nanos::from_secs(10), "coracle.cluster.service.join.timeout";
        /// Whether the service answers clients; others never open channels to them.
        is_responder: bool = true, "aeron.cluster.service.responder";
        /// Version of the application, as major * 65536 + minor * 256 + patch. Logs and snapshots
        /// of another major version are refused.
        app_version: i32 = 1, "aeron.cluster.app.version";
        /// Bytes for errors in the mark file.
        error_buffer_length: i32 = 1024 * 1024, "aeron.cluster.service.error.buffer.length";
        /// Cycles longer than this are counted.
        cycle_threshold: Nanos = Nanos::from_millis(100), "aeron.cluster.service.cycle.threshold";
        /// Snapshots that take longer than this are counted.
        snapshot_threshold: Nanos = Nanos::from_secs(1),
            "aeron.cluster.service.snapshot.threshold";
    }
}

impl Config {
    /// The name for people.
    #[must_use]
    pub fn display_name(&self) -> String {
        match self.name.as_str() {
            "" => format!("clustered-service-{}-{}", self.cluster_id, self.service_id),
            name => name.to_string(),
        }
    }
}

//! Every option of every part of a node.

use std::collections::BTreeMap;

use runtime::config::{OptionRow, SettingError};
use wire::bytes::SemanticVersion;

use crate::settings::{Idle, Threads};

/// Every option of every part of a node. Made by [`Settings::config`](crate::Settings::config).
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The media driver.
    pub driver: driver::Config,
    /// The clients of the driver that the other parts have, one each.
    pub client: client::Config,
    /// The archive.
    pub archive: archive::Config,
    /// How the module asks the archive.
    pub archive_client: archive_client::Config,
    /// The consensus module.
    pub cluster: cluster::config::Config,
    /// The containers of services, in the order of their ids.
    pub services: Vec<cluster_service::Config>,
    /// How the parts are spread over threads.
    pub threads: Threads,
    /// What a thread does when there is nothing to do.
    pub idle: Idle,
}

/// What follows from other options, and differs between services: not to be set.
const FOLLOWING: [&str; 4] = [
    "aeron.cluster.service.id",
    "aeron.cluster.service.count",
    "aeron.cluster.member.id",
    "aeron.cluster.id",
];
/// Properties by which an archive says where it is reached over the network. The module asks its
/// own archive without it.
const ARCHIVE_ONLY: [&str; 3] = [
    "aeron.archive.control.channel",
    "aeron.archive.control.stream.id",
    "aeron.archive.control.response.channel",
];

impl Config {
    /// Sets the option with this property name in every part that has it.
    ///
    /// What identifies node, cluster and services is none: it is in the settings.
    ///
    /// # Errors
    /// No part has an option of the name, or the text is no value of it.
    pub fn set(&mut self, property: &str, text: &str) -> Result<(), SettingError> {
        if FOLLOWING.contains(&property) {
            return Err(SettingError::Unknown(property.to_string()));
        }
        let mut results = vec![
            self.driver.set(property, text),
            self.client.set(property, text),
            self.archive.set(property, text),
            self.cluster.set(property, text),
        ];
        if !ARCHIVE_ONLY.contains(&property) {
            results.push(self.archive_client.set(property, text));
        }
        results.extend(self.services.iter_mut().map(|service| service.set(property, text)));
        let is_unknown = |result: &Result<(), _>| matches!(result, Err(SettingError::Unknown(_)));
        if results.iter().all(is_unknown) {
            return Err(SettingError::Unknown(property.to_string()));
        }
        let wrong = results.into_iter().find(|result| result.is_err() && !is_unknown(result));
        self.link();
        wrong.unwrap_or(Ok(()))
    }

    /// Every option of every part with its default, by name.
    #[must_use]
    pub fn options() -> Vec<OptionRow> {
        let parts = [
            driver::Config::options(),
            client::Config::options(),
            archive::Config::options(),
            archive_client::Config::options(),
            cluster::config::Config::options(),
            cluster_service::Config::options(),
        ];
        let rows = parts.into_iter().flatten().filter(|row| !FOLLOWING.contains(&row.property));
        let mut by_name = BTreeMap::new();
        for row in rows {
            by_name.entry(row.property).or_insert(row);
        }
        by_name.into_values().collect()
    }

    /// Bytes of shared memory that a node with these options may come to use.
    ///
    /// An estimate: logs, those that are replayed and the streams beside them, all terms written.
    #[must_use]
    pub fn shared_memory(&self) -> u64 {
        let buffers = &self.driver.buffers;
        let buffers = [
            buffers.to_driver_length,
            buffers.to_clients_length,
            buffers.counters_values_length.saturating_mul(5),
            buffers.error_log_length,
            buffers.loss_report_length,
        ];
        let terms = &self.driver.terms;
        let log = wire::uri::ChannelUri::parse(&self.cluster.channels.log_channel);
        let log = log.ok().and_then(|uri| uri.term_length().ok().flatten());
        let term = log.unwrap_or(terms.term_length).max(terms.term_length);
        let bytes = |length: i32| u64::try_from(length).unwrap_or(0);
        buffers.into_iter().map(bytes).sum::<u64>() + 9 * bytes(term)
    }

    /// Carries over what one part has and others must know.
    pub(crate) fn link(&mut self) {
        self.client.directory.clone_from(&self.driver.directory.path);
        let control = &self.archive.control;
        self.archive_client.control_channel.clone_from(&control.local_channel);
        self.archive_client.control_stream_id = control.local_stream_id;
        let member = &self.cluster.member;
        // Streams on which the archive answers: those that genuine Aeron takes.
        self.archive_client.response_stream_id =
            member.cluster_id.saturating_mul(100).saturating_add(120);
        let services = member.services_directory.as_ref().unwrap_or(&member.directory);
        for service in &mut self.services {
            service.directory.clone_from(services);
        }
        if let Some(service) = self.services.first() {
            self.cluster.app_version = SemanticVersion(service.app_version);
        }
    }
}

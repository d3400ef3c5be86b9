//! Options of a client.

use std::path::PathBuf;

use runtime::Nanos;

/// The directory in which drivers of this user are found when none is named.
fn default_directory() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_else(|_| "root".to_string());
    PathBuf::from(format!("/dev/shm/aeron-{user}"))
}

runtime::config! {
    /// Options of a client. Immutable once it connects.
    pub struct Config {
        /// The driver's directory, where its `cnc.dat` lies.
        directory: PathBuf = default_directory(), "aeron.dir";
        /// How long to wait for a driver, for its answers, and for its next sign of life.
        driver_timeout: Nanos = Nanos::from_secs(10), "aeron.driver.timeout";
        /// How often the client shows that it lives and looks whether the driver does.
        keep_alive_interval: Nanos = Nanos::from_millis(500), "aeron.client.keepalive.interval";
        /// How long memory of closed logs stays mapped after its last user left.
        resource_linger: Nanos = Nanos::from_secs(3), "aeron.client.resource.linger.duration";
        /// What tools show for this client; at most 100 characters of ASCII.
        name: String = String::new(), "aeron.client.name";
    }
}

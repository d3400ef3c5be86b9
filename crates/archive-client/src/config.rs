//! Options of a client of an archive.

use runtime::Nanos;

runtime::config! {
    /// Options of a client of an archive. Immutable once it connects.
    pub struct Config {
        /// Where the archive listens for requests.
        control_channel: String = String::from("aeron:ipc"), "aeron.archive.control.channel";
        /// The stream on which it listens.
        control_stream_id: i32 = 10, "aeron.archive.control.stream.id";
        /// Where answers are to come; port 0 lets the driver choose.
        response_channel: String = String::from("aeron:ipc"),
            "aeron.archive.control.response.channel";
        /// The stream on which answers are to come.
        response_stream_id: i32 = 20, "aeron.archive.control.response.stream.id";
        /// How long connecting may take, and how long to wait for each answer.
        message_timeout: Nanos = Nanos::from_secs(10), "aeron.archive.message.timeout";
        /// Length of terms of both streams in bytes; an eighth of it bounds a message.
        term_length: i32 = 65_536, "aeron.archive.control.term.buffer.length";
        /// Whether the files of both streams are sparse.
        is_term_sparse: bool = true, "aeron.archive.control.term.buffer.sparse";
        /// Longest datagram of both streams in bytes; unset leaves it to the drivers.
        mtu_length: Option<i32> = None, "aeron.archive.control.mtu.length";
        /// What tools show for this client; at most 100 characters of ASCII.
        client_name: String = String::new(), "aeron.archive.client.name";
    }
}

//! System counters: one of each per driver; the counter id is the id given here.

/// A counter of the whole driver. Type id 0, key and registration id are the id, owner -1.
///
/// Source: Aeron 1.53; 1.51 has another label for id 45.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum SystemCounter {
    /// Bytes that senders handed to sockets.
    BytesSent = 0,
    /// Bytes that receivers took from sockets.
    BytesReceived = 1,
    /// Commands that did not fit the receiver's queue at once.
    ReceiverProxyFails = 2,
    /// Commands that did not fit the sender's queue at once.
    SenderProxyFails = 3,
    /// Commands that did not fit the conductor's queue at once.
    ConductorProxyFails = 4,
    /// NAKs that receivers sent.
    NaksSent = 5,
    /// NAKs that senders got.
    NaksReceived = 6,
    /// Status messages that receivers sent.
    StatusMessagesSent = 7,
    /// Status messages that senders got.
    StatusMessagesReceived = 8,
    /// Heartbeats that senders sent.
    HeartbeatsSent = 9,
    /// Heartbeats that receivers got.
    HeartbeatsReceived = 10,
    /// Re-sends that senders made.
    RetransmitsSent = 11,
    /// Datagrams behind what was consumed.
    FlowControlUnderRuns = 12,
    /// Datagrams ahead of the window.
    FlowControlOverRuns = 13,
    /// Datagrams that are no frames.
    InvalidPackets = 14,
    /// Errors put into the error log.
    Errors = 15,
    /// Datagrams that a socket did not take whole.
    ShortSends = 16,
    /// Log buffers that could not be removed.
    FreeFails = 17,
    /// How often senders were stopped by flow control.
    SenderFlowControlLimits = 18,
    /// Publications that were unblocked.
    UnblockedPublications = 19,
    /// Commands that were unblocked.
    UnblockedCommands = 20,
    /// Receivers with a lower TTL than their sender.
    PossibleTtlAsymmetry = 21,
    /// Value that a controllable idle strategy follows.
    ControllableIdleStrategy = 22,
    /// Gaps that were filled instead of repaired.
    LossGapFills = 23,
    /// Clients that were silent for too long.
    ClientTimeouts = 24,
    /// Names that changed their address.
    ResolutionChanges = 25,
    /// Longest pass of the conductor, in nanoseconds.
    ConductorMaxCycleTime = 26,
    /// Passes of the conductor beyond the threshold.
    ConductorCycleTimeThresholdExceeded = 27,
    /// Longest pass of the sender, in nanoseconds.
    SenderMaxCycleTime = 28,
    /// Passes of the sender beyond the threshold.
    SenderCycleTimeThresholdExceeded = 29,
    /// Longest pass of the receiver, in nanoseconds.
    ReceiverMaxCycleTime = 30,
    /// Passes of the receiver beyond the threshold.
    ReceiverCycleTimeThresholdExceeded = 31,
    /// Longest name resolution, in nanoseconds.
    NameResolverMaxTime = 32,
    /// Name resolutions beyond the threshold.
    NameResolverTimeThresholdExceeded = 33,
    /// The driver's version, packed.
    Version = 34,
    /// Bytes of log buffers that are mapped.
    BytesCurrentlyMapped = 35,
    /// Bytes sent again.
    RetransmittedBytes = 36,
    /// Re-sends for which there was no slot.
    RetransmitOverflow = 37,
    /// Error frames that senders got.
    ErrorFramesReceived = 38,
    /// Error frames that receivers sent.
    ErrorFramesSent = 39,
    /// Publications that were revoked.
    PublicationsRevoked = 40,
    /// Images whose publication was revoked.
    PublicationImagesRevoked = 41,
    /// Images that clients rejected.
    ImagesRejected = 42,
    /// Version of the client protocol, packed.
    ControlProtocolVersion = 43,
    /// Status messages of impossible positions.
    StatusMessagesRejected = 44,
    /// Commands that did not fit the resource agent's queue at once.
    ResourceAgentProxyFails = 45,
}

impl SystemCounter {
    /// All of them, by id.
    pub const ALL: [Self; COUNT] = [
        Self::BytesSent,
        Self::BytesReceived,
        Self::ReceiverProxyFails,
        Self::SenderProxyFails,
        Self::ConductorProxyFails,
        Self::NaksSent,
        Self::NaksReceived,
        Self::StatusMessagesSent,
        Self::StatusMessagesReceived,
        Self::HeartbeatsSent,
        Self::HeartbeatsReceived,
        Self::RetransmitsSent,
        Self::FlowControlUnderRuns,
        Self::FlowControlOverRuns,
        Self::InvalidPackets,
        Self::Errors,
        Self::ShortSends,
        Self::FreeFails,
        Self::SenderFlowControlLimits,
        Self::UnblockedPublications,
        Self::UnblockedCommands,
        Self::PossibleTtlAsymmetry,
        Self::ControllableIdleStrategy,
        Self::LossGapFills,
        Self::ClientTimeouts,
        Self::ResolutionChanges,
        Self::ConductorMaxCycleTime,
        Self::ConductorCycleTimeThresholdExceeded,
        Self::SenderMaxCycleTime,
        Self::SenderCycleTimeThresholdExceeded,
        Self::ReceiverMaxCycleTime,
        Self::ReceiverCycleTimeThresholdExceeded,
        Self::NameResolverMaxTime,
        Self::NameResolverTimeThresholdExceeded,
        Self::Version,
        Self::BytesCurrentlyMapped,
        Self::RetransmittedBytes,
        Self::RetransmitOverflow,
        Self::ErrorFramesReceived,
        Self::ErrorFramesSent,
        Self::PublicationsRevoked,
        Self::PublicationImagesRevoked,
        Self::ImagesRejected,
        Self::ControlProtocolVersion,
        Self::StatusMessagesRejected,
        Self::ResourceAgentProxyFails,
    ];

    /// The counter's id.
    #[must_use]
    pub const fn id(self) -> i32 {
        self as i32
    }

    /// The counter with this id.
    #[must_use]
    pub fn from_id(id: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// What the label begins with. Some continue with what only the driver knows: `: ` and the
    /// version (15, 34), the resolver's name (25), mode or threshold (26 to 31, 33).
    #[must_use]
    pub const fn label(self) -> &'static str {
        LABELS[self as usize]
    }
}

const COUNT: usize = 46;

const LABELS: [&str; COUNT] = [
    "Bytes sent",
    "Bytes received",
    "Failed offers to ReceiverProxy",
    "Failed offers to SenderProxy",
    "Failed offers to DriverConductorProxy",
    "NAKs sent",
    "NAKs received",
    "Status Messages sent",
    "Status Messages received",
    "Heartbeats sent",
    "Heartbeats received",
    "Retransmits sent",
    "Flow control under runs",
    "Flow control over runs",
    "Invalid packets",
    "Errors",
    "Short sends",
    "Failed attempts to free log buffers",
    "Sender flow control limits, i.e. back-pressure events",
    "Unblocked Publications",
    "Unblocked Control Commands",
    "Possible TTL Asymmetry",
    "ControllableIdleStrategy status",
    "Loss gap fills",
    "Client liveness timeouts",
    "Resolution changes",
    "Conductor max cycle time doing its work in ns",
    "Conductor work cycle exceeded threshold count",
    "Sender max cycle time doing its work in ns",
    "Sender work cycle exceeded threshold count",
    "Receiver max cycle time doing its work in ns",
    "Receiver work cycle exceeded threshold count",
    "NameResolver max time in ns",
    "NameResolver exceeded threshold count",
    "Aeron software",
    "Bytes currently mapped",
    "Retransmitted bytes",
    "Retransmit Pool Overflow count",
    "Error Frames received",
    "Error Frames sent",
    "Publications Revoked",
    "Publication Images Revoked",
    "Images rejected",
    "Control protocol version",
    "Status Messages rejected",
    "Failed offers to NativeResourceAgentProxy",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_from_zero() {
        for (id, counter) in (0..).zip(SystemCounter::ALL) {
            assert_eq!(counter.id(), id);
            assert_eq!(SystemCounter::from_id(id), Some(counter));
        }
        assert_eq!(SystemCounter::from_id(46), None);
        assert_eq!(SystemCounter::from_id(-1), None);
    }
}

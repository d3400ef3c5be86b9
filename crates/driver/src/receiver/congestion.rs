//! Congestion control: the window that a receiver offers.

mod cubic;

use runtime::Nanos;

use crate::config::LossConfig;
pub(crate) use cubic::Cubic;

/// What a pass over an image learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether a gap was reported.
    pub(crate) has_loss: bool,
    /// Whether the slowest subscriber has passed the last status message.
    pub(crate) has_consumed: bool,
}

/// Congestion control of one image.
#[derive(Debug)]
pub(crate) enum Congestion {
    /// A window that never changes.
    Static { window: i32 },
    /// A window that shrinks on loss and grows with time.
    Cubic(Cubic),
}

impl Congestion {
    /// By the name in `cc`; the error is the name.
    pub(crate) fn new(
        name: Option<&str>,
        window_max: i32,
        mtu: i32,
        config: &LossConfig,
        now: Nanos,
    ) -> Result<Self, String> {
        match name.unwrap_or("static") {
            "static" => Ok(Self::Static { window: window_max }),
            "cubic" => Ok(Self::Cubic(Cubic::new(window_max, mtu, config, now))),
            other => Err(format!("unknown congestion control: {other}")),
        }
    }

    /// The window offered now.
    pub(crate) fn window(&self) -> i32 {
        match self {
            Self::Static { window } => *window,
            Self::Cubic(cubic) => cubic.window(),
        }
    }

    /// A pass was made; returns whether a status message has to go out now.
    pub(crate) fn on_rebuild(&mut self, progress: Progress, now: Nanos) -> bool {
        match self {
            Self::Static { .. } => false,
            Self::Cubic(cubic) => cubic.on_rebuild(progress, now),
        }
    }
}

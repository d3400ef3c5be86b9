//! [`Archive`]: the agent, from looking for its driver to its end.
//!
//! ```text
//! Connecting -> Joining -> Running -> Over
//! ```

use std::collections::VecDeque;

use client::{AddError, Client, ClientError, ConnectError, Connecting, Pending, Subscription};
use runtime::agent::{Agent, Halt, Work};
use runtime::duty_cycle::Pause;
use runtime::ports::Ports;
use wire::position::StreamId;
use wire::time::Now;

use crate::authentication::Authenticator;
use crate::conductor::{Conductor, RequestSource, Setup};
use crate::config::{Config, ConfigError};
use crate::counters::{PendingGauges, type_id};
use crate::directory::{Directory, DirectoryError};
use crate::events::EventsStream;

/// Why an archive cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// See [`ConfigError`].
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// See [`DirectoryError`].
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Why an archive that was launched does not run.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("no driver: {0}")]
    Connect(#[from] ConnectError),
    #[error("client ended: {0}")]
    Client(#[from] ClientError),
    #[error("driver refused: {0}")]
    Add(#[from] AddError),
    #[error("an archive with id {0} is running on this driver")]
    Duplicate(i64),
}

impl From<StartError> for Halt {
    fn from(error: StartError) -> Self {
        Self::Failed(error.to_string())
    }
}

enum Stage {
    Connecting(Box<(Connecting, Directory, Box<dyn Authenticator>)>),
    Joining(Box<Joining>),
    Running(Box<(Client, Conductor)>),
    Over,
}

/// Connected, and waiting for what the driver makes for it.
struct Joining {
    client: Client,
    archive_id: i64,
    directory: Directory,
    authenticator: Box<dyn Authenticator>,
    gauges: PendingGauges,
    subscriptions: VecDeque<Pending<Subscription>>,
    have_subscriptions: Vec<Subscription>,
}

/// An archive. Steps its own client of the driver; one thread, or part of one, is all it needs.
pub struct Archive {
    config: Config,
    ports: Ports,
    stage: Stage,
    /// Between two looks at requests, sessions and the driver: nobody needs an answer sooner.
    pause: Pause,
}

/// Opens the archive's directory, repairs what an earlier life left there, and begins to look for
/// the driver in `aeron.directory`.
///
/// Blocks on files, in proportion to what was left; the agent does not.
///
/// # Errors
/// See [`LaunchError`]. Nothing runs then.
pub fn launch(
    config: Config,
    aeron: client::Config,
    authenticator: Box<dyn Authenticator>,
    ports: &Ports,
    now: Now,
) -> Result<Archive, LaunchError> {
    config.check()?;
    let directory = Directory::open(ports, &config, &aeron.directory, now)?;
    let connecting = Client::connect(aeron, ports, now);
    let stage = Stage::Connecting(Box::new((connecting, directory, authenticator)));
    Ok(Archive { config, ports: ports.clone(), stage, pause: Pause::new() })
}

impl Archive {
    /// Whether it takes requests.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running(_))
    }

    fn connect(
        &mut self,
        waiting: Box<(Connecting, Directory, Box<dyn Authenticator>)>,
        now: Now,
    ) -> Result<Work, StartError> {
        let (mut connecting, mut directory, authenticator) = *waiting;
        let beat = directory.mark_file.beat(now);
        let Some(client) = connecting.poll(now)? else {
            let due = connecting.next_deadline().min(beat);
            self.stage = Stage::Connecting(Box::new((connecting, directory, authenticator)));
            return Ok(Work::NONE.due(due));
        };
        let configured = self.config.control.archive_id;
        let archive_id = if configured == -1 { client.client_id().0 } else { configured };
        if is_running_elsewhere(&client, archive_id) {
            return Err(StartError::Duplicate(archive_id));
        }
        directory.mark_file.set_archive_id(archive_id);
        let joining = Joining {
            gauges: PendingGauges::ask(&client, archive_id, self.config.limits.cycle_threshold),
            subscriptions: self.control_subscriptions(&client),
            client,
            archive_id,
            directory,
            authenticator,
            have_subscriptions: Vec::new(),
        };
        self.stage = Stage::Joining(Box::new(joining));
        Ok(Work::done(1))
    }

    fn control_subscriptions(&self, client: &Client) -> VecDeque<Pending<Subscription>> {
        let control = &self.config.control;
        let stream_id = StreamId(control.local_stream_id);
        let local = client.add_subscription(&control.local_channel, stream_id);
        let mut pending = VecDeque::from([local]);
        if control.channel_enabled {
            let stream_id = StreamId(control.stream_id);
            pending.push_back(client.add_subscription(&control.channel, stream_id));
        }
        pending
    }

    fn join(&mut self, mut joining: Box<Joining>, now: Now) -> Result<Work, StartError> {
        let beat = joining.directory.mark_file.beat(now);
        let work = joining.client.do_work(now)?.due(beat);
        let done = joining.poll()?;
        if !joining.is_complete() {
            self.stage = Stage::Joining(joining);
            return Ok(work.and(Work::done(done)));
        }
        let Joining { client, archive_id, directory, authenticator, gauges, .. } = *joining;
        let gauges = gauges.into_gauges().ok_or(ClientError::Closed)?;
        let events = EventsStream::new(&self.config.events, &client);
        let setup = Setup {
            config: self.config.clone(),
            archive_id,
            client: client.handle(),
            directory,
            authenticator,
            sources: joining.have_subscriptions.into_iter().map(RequestSource::new).collect(),
            events,
            gauges,
        };
        let conductor = Conductor::new(setup, &self.ports, now);
        self.stage = Stage::Running(Box::new((client, conductor)));
        Ok(Work::done(1))
    }
}

impl Joining {
    /// Takes what the driver has made, in the order in which it was asked for.
    fn poll(&mut self) -> Result<usize, AddError> {
        let mut done = self.gauges.poll()?;
        while let Some(pending) = self.subscriptions.front_mut()
            && let Some(subscription) = pending.poll()?
        {
            drop(self.subscriptions.pop_front());
            self.have_subscriptions.push(subscription);
            done += 1;
        }
        Ok(done)
    }

    fn is_complete(&self) -> bool {
        self.gauges.is_complete() && self.subscriptions.is_empty()
    }
}

/// The error counter of an archive shows that it runs.
fn is_running_elsewhere(client: &Client, archive_id: i64) -> bool {
    client.counters().records().any(|record| {
        record.type_id == type_id::ERRORS && record.key[..8] == archive_id.to_le_bytes()
    })
}

impl Agent for Archive {
    fn name(&self) -> &str {
        "archive"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Connecting(waiting) => Ok(self.connect(waiting, now)?),
            Stage::Joining(joining) => Ok(self.join(joining, now)?),
            Stage::Running(mut running) => {
                let work = if self.pause.is_over(now) {
                    let (client, conductor) = &mut *running;
                    let work = client.do_work(now).map_err(StartError::from)?;
                    self.pause.noted(work.and(conductor.do_work(now)?))
                } else {
                    self.pause.short(running.1.move_data(now))
                };
                self.stage = Stage::Running(running);
                Ok(work)
            }
            Stage::Over => Err(Halt::Terminated),
        }
    }

    fn on_close(&mut self, now: Now) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Running(running) => {
                let (mut client, mut conductor) = *running;
                conductor.close(now);
                client.close();
            }
            Stage::Connecting(waiting) => {
                let (_, mut directory, _) = *waiting;
                directory.mark_file.terminate();
            }
            Stage::Joining(mut joining) => {
                joining.directory.mark_file.terminate();
                joining.client.close();
            }
            Stage::Over => {}
        }
    }
}

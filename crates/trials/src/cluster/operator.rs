//! An operator beside a member: a process of its host that asks its archive.

use std::sync::{Arc, Mutex};

use archive_client::{ArchiveClient, NoCredentials};
use client::{Client, Connecting, Handle};
use runtime::{Agent, Halt, Now, Ports, Work};

use super::node::client_config;
use crate::lock;

/// What came of it.
pub(super) type Answer<T> = Arc<Mutex<Option<Result<T, String>>>>;

enum Stage {
    Connecting(Box<Connecting>),
    Archive(Box<(Client, archive_client::Connecting)>),
    Asking(Box<(Client, ArchiveClient)>),
    Over,
}

/// Asks with `ask`, in each pass, until it has an answer.
pub(super) struct Operator<T, F> {
    stage: Stage,
    ask: F,
    answer: Answer<T>,
}

impl<T, F> Operator<T, F>
where
    F: FnMut(&Handle, &mut ArchiveClient) -> Option<Result<T, String>>,
{
    pub(super) fn new(ask: F, answer: Answer<T>, ports: &Ports, now: Now) -> Self {
        let connecting = Client::connect(client_config(), ports, now);
        Self { stage: Stage::Connecting(Box::new(connecting)), ask, answer }
    }

    fn step(&mut self, now: Now) -> Result<Stage, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Connecting(mut connecting) => {
                let Some(client) = connecting.poll(now).map_err(|it| text(&it))? else {
                    return Ok(Stage::Connecting(connecting));
                };
                let config = archive_client::Config {
                    control_channel: "aeron:ipc".to_string(),
                    response_channel: "aeron:ipc".to_string(),
                    ..archive_client::Config::default()
                };
                let credentials = Box::new(NoCredentials);
                let archive = ArchiveClient::connect(config, credentials, &client.handle(), now);
                Ok(Stage::Archive(Box::new((client, archive.map_err(|it| text(&it))?))))
            }
            Stage::Archive(mut it) => {
                let _ = it.0.do_work(now).map_err(|it| text(&it))?;
                let archive = it.1.poll(now).map_err(|it| text(&it))?;
                let Some(archive) = archive else { return Ok(Stage::Archive(it)) };
                Ok(Stage::Asking(Box::new((it.0, archive))))
            }
            Stage::Asking(mut it) => {
                let _ = it.0.do_work(now).map_err(|it| text(&it))?;
                let _ = it.1.poll(now).map_err(|it| text(&it))?;
                let Some(answer) = (self.ask)(&it.0.handle(), &mut it.1) else {
                    return Ok(Stage::Asking(it));
                };
                *lock(&self.answer) = Some(answer);
                it.1.close();
                Ok(Stage::Over)
            }
            Stage::Over => Ok(Stage::Over),
        }
    }
}

impl<T, F> Agent for Operator<T, F>
where
    T: Send,
    F: FnMut(&Handle, &mut ArchiveClient) -> Option<Result<T, String>> + Send,
{
    fn name(&self) -> &'static str {
        "operator"
    }

    fn do_work(&mut self, now: Now) -> Result<Work, Halt> {
        match self.step(now) {
            Ok(stage) => self.stage = stage,
            Err(what) => *lock(&self.answer) = Some(Err(what)),
        }
        Ok(Work::NONE.due(now.mono + runtime::Nanos::from_millis(1)))
    }
}

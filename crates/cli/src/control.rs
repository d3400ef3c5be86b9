//! `coracle snapshot`, `suspend`, `resume`, `shutdown`, `abort`: an operator's word to the leader.

use coracle::cluster::counters::Gauge;
use coracle::cluster_control::{ClusterControl, toggle_name};
use coracle::consensus::{ModuleState, Toggle};
use coracle::os;
use coracle::runtime::Nanos;

use crate::Failure;
use crate::member::Place;

/// How often to look what became of it.
const INTERVAL: Nanos = Nanos::from_millis(10);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How long to wait for it to be done.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,
}

/// What became of a request so far.
enum Outcome {
    Waiting,
    Done(String),
    Failed(String),
}

pub(crate) fn run(arguments: &Arguments, request: Toggle) -> Result<(), Failure> {
    let member = arguments.place.find()?;
    let control = ClusterControl::open(&member.aeron_directory, member.cluster_id)?;
    let before = control.value(Gauge::SnapshotCount).unwrap_or(0);
    let start = os::clock::now();
    control.ask(request, start)?;
    let deadline = start.mono + Nanos::from_secs(i64::from(arguments.timeout));
    loop {
        match outcome(&control, request, before) {
            Outcome::Done(text) => {
                println!("{text}");
                return Ok(());
            }
            Outcome::Failed(cause) => return Err(cause.into()),
            Outcome::Waiting => {}
        }
        if os::clock::now().mono >= deadline {
            let seconds = arguments.timeout;
            return Err(format!("not done within {seconds} s; it may be done yet").into());
        }
        os::thread::sleep(INTERVAL);
    }
}

fn outcome(control: &ClusterControl, request: Toggle, before: i64) -> Outcome {
    let is_ending = matches!(request, Toggle::Shutdown | Toggle::Abort);
    let is_alive = control.is_alive(os::clock::now());
    let (Some(toggle), true) = (control.value(Gauge::ControlToggle), is_alive) else {
        return if is_ending {
            Outcome::Done("the member has ended".to_string())
        } else {
            Outcome::Failed("the member ended meanwhile".to_string())
        };
    };
    if toggle == Toggle::Inactive as i64 && !is_ending {
        return Outcome::Failed("leadership was lost meanwhile; ask the new leader".to_string());
    }
    let is_neutral = toggle == Toggle::Neutral as i64;
    let state = control.value(Gauge::ModuleState);
    let is_active = state == Some(ModuleState::Active as i64);
    match request {
        Toggle::Suspend if state == Some(ModuleState::Suspended as i64) => {
            Outcome::Done("the cluster is suspended".to_string())
        }
        Toggle::Resume if is_neutral && is_active => {
            Outcome::Done("the cluster is in service".to_string())
        }
        Toggle::Snapshot if is_neutral && is_active => {
            let count = control.value(Gauge::SnapshotCount).unwrap_or(0);
            if count > before {
                let position = control.value(Gauge::CommitPosition).unwrap_or(0);
                Outcome::Done(format!("snapshot {count} taken, log committed to {position}"))
            } else {
                Outcome::Failed("the snapshot failed; the member's errors say why".to_string())
            }
        }
        Toggle::Shutdown | Toggle::Abort if is_neutral => {
            Outcome::Failed(format!("{} was given up", toggle_name(request as i64)))
        }
        _ => Outcome::Waiting,
    }
}

//! What the leader appends to the log, in the order of one cycle (cluster specification 5.2).
//!
//! Nothing is queued: each source keeps what it has until the log took it, so a refusal, or the
//! loss of leadership, needs no purge.

use wire::position::Position;

use crate::action::{LogAction, Outcome};
use crate::context::Context;
use crate::control::{ModuleState, Toggle};
use crate::election::leader::Leader;
use crate::id::CorrelationId;
use crate::input::Control as Request;
use crate::log::{RESUME, SNAPSHOT, STANDBY_FLAG, SUSPEND};
use crate::session::Stage;

/// Most timers, and messages of one service, that are appended in a cycle.
const PER_CYCLE_MAX: usize = 20;

/// The log took no more.
pub(crate) struct Refused;

type Appending<'a> = dyn FnMut(&LogAction<'_>) -> Outcome + 'a;

fn append(
    ctx: &mut Context,
    action: &LogAction<'_>,
    perform: &mut Appending<'_>,
    timestamp: i64,
) -> Result<Position, Refused> {
    match perform(action) {
        Outcome::Appended(position) => {
            ctx.log.time = timestamp;
            ctx.log.published = position;
            ctx.log.position = position;
            Ok(position)
        }
        Outcome::Done | Outcome::BackPressured => Err(Refused),
    }
}

/// Appends what is due. Returns how many events, and whether the log refused one.
pub(crate) fn drain(
    leader: &mut Leader,
    ctx: &mut Context,
    perform: &mut Appending<'_>,
) -> (usize, Result<(), Refused>) {
    let mut count = 0;
    let result = drain_counted(leader, ctx, perform, &mut count);
    (count, result)
}

fn drain_counted(
    leader: &mut Leader,
    ctx: &mut Context,
    perform: &mut Appending<'_>,
    count: &mut usize,
) -> Result<(), Refused> {
    if leader.is_event_due(ctx) {
        append_term(leader, ctx, perform)?;
        *count += 1;
        leader.complete(ctx);
    }
    if !leader.is_in_service() {
        return Ok(());
    }
    if let Some(request) = ctx.control.request {
        append_request(ctx, request, perform)?;
        *count += 1;
    }
    if ctx.control.state != ModuleState::Active || ctx.control.termination.is_some() {
        return Ok(());
    }
    append_sessions(ctx, perform, count)?;
    append_timers(ctx, perform, count)?;
    append_service_messages(ctx, perform, count)
}

fn append_term(
    leader: &Leader,
    ctx: &mut Context,
    perform: &mut Appending<'_>,
) -> Result<(), Refused> {
    let timestamp = ctx.log_time();
    let action = LogAction::NewLeadershipTerm {
        leadership_term_id: ctx.term,
        timestamp,
        term_base_log_position: leader.base,
        leader_member_id: ctx.id(),
        log_session_id: ctx.log.session_id.unwrap_or(0),
        time_unit: ctx.config.time_unit.code(),
        app_version: ctx.config.app_version,
    };
    append(ctx, &action, perform, timestamp).map(|_| ())
}

/// What an operator asked for (cluster specification 5.7, 8.1, 8.4).
fn append_request(
    ctx: &mut Context,
    request: Request,
    perform: &mut Appending<'_>,
) -> Result<(), Refused> {
    let (action, flags) = match request {
        Request::Suspend => (SUSPEND, 0),
        Request::Resume => (RESUME, 0),
        Request::Snapshot | Request::Shutdown => (SNAPSHOT, 0),
        Request::StandbySnapshot => (SNAPSHOT, STANDBY_FLAG),
        Request::Abort => {
            ctx.control.request = None;
            let position = ctx.log.published;
            ctx.begin_termination(position);
            return Ok(());
        }
    };
    let timestamp = ctx.log_time();
    let leadership_term_id = ctx.term;
    let event = LogAction::ClusterAction { leadership_term_id, timestamp, action, flags };
    let position = append(ctx, &event, perform, timestamp)?;
    ctx.control.request = None;
    match request {
        Request::Suspend => ctx.control.change(position, ModuleState::Suspended),
        Request::Resume => {
            ctx.control.change(position, ModuleState::Active);
            ctx.control.toggle = Toggle::Neutral;
            ctx.sessions.touch_all(ctx.now.mono);
        }
        Request::Snapshot | Request::Shutdown => {
            ctx.control.change(position, ModuleState::Snapshot);
            ctx.begin_snapshot(position, leadership_term_id);
            if request == Request::Shutdown {
                ctx.begin_termination(position);
            }
        }
        Request::StandbySnapshot => ctx.control.toggle = Toggle::Neutral,
        Request::Abort => {}
    }
    Ok(())
}

fn append_sessions(
    ctx: &mut Context,
    perform: &mut Appending<'_>,
    count: &mut usize,
) -> Result<(), Refused> {
    for _ in 0..PER_CYCLE_MAX {
        let timestamp = ctx.log_time();
        let leadership_term_id = ctx.term;
        let Some((session, known)) = ctx.sessions.to_append() else { return Ok(()) };
        let known = known.clone();
        let action = match known.stage {
            Stage::Closing(reason) => LogAction::SessionClose {
                leadership_term_id,
                session,
                timestamp,
                reason: reason as i32,
            },
            _ => LogAction::SessionOpen {
                leadership_term_id,
                correlation_id: known.correlation_id,
                session,
                timestamp,
                response_stream_id: known.response_stream_id,
                response_channel: &known.response_channel,
                principal: &known.principal,
            },
        };
        let position = append(ctx, &action, perform, timestamp)?;
        let by = Context::answerer(&ctx.config, ctx.term, ctx.leader);
        ctx.sessions.appended(session, position, by, ctx.now.mono);
        *count += 1;
    }
    Ok(())
}

fn append_timers(
    ctx: &mut Context,
    perform: &mut Appending<'_>,
    count: &mut usize,
) -> Result<(), Refused> {
    for _ in 0..PER_CYCLE_MAX {
        let timestamp = ctx.log_time();
        let Some(correlation_id) = ctx.timers.due(timestamp) else { return Ok(()) };
        let action = timer(ctx, correlation_id, timestamp);
        let position = append(ctx, &action, perform, timestamp)?;
        ctx.timers.appended(correlation_id, position, timestamp);
        *count += 1;
    }
    Ok(())
}

fn timer(ctx: &Context, correlation_id: CorrelationId, timestamp: i64) -> LogAction<'static> {
    LogAction::Timer { leadership_term_id: ctx.term, correlation_id, timestamp }
}

fn append_service_messages(
    ctx: &mut Context,
    perform: &mut Appending<'_>,
    count: &mut usize,
) -> Result<(), Refused> {
    let timestamp = ctx.log_time();
    let leadership_term_id = ctx.term;
    for pending in &mut ctx.services.pending {
        for _ in 0..PER_CYCLE_MAX {
            let Some(next) = pending.to_append() else { break };
            let action = LogAction::ServiceMessage {
                leadership_term_id,
                session: next.id,
                timestamp,
                payload: &next.payload,
            };
            let Outcome::Appended(position) = perform(&action) else { return Err(Refused) };
            pending.appended(position);
            ctx.log.time = timestamp;
            ctx.log.published = position;
            ctx.log.position = position;
            *count += 1;
        }
    }
    Ok(())
}

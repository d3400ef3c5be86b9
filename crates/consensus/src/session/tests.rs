use super::*;

const BY: Answerer<'_> = Answerer {
    term: LeadershipTermId(3),
    leader: Some(MemberId(0)),
    ingress_endpoints: "0=a:1,1=b:1",
};
const NOW: Nanos = Nanos(1_000);
const TIMEOUT: Nanos = Nanos(10_000);

fn request(version: i32) -> Connect<'static> {
    Connect {
        correlation_id: CorrelationId(77),
        response_stream_id: 102,
        version,
        response_channel: "aeron:udp?endpoint=c:1",
        credentials: b"secret",
    }
}

fn drained(sessions: &mut Sessions) -> Vec<(i64, ClientAction)> {
    let mut all = Vec::new();
    sessions.drain(|id, action| {
        all.push((id.0, action.clone()));
        Outcome::Done
    });
    all
}

fn codes(sessions: &mut Sessions) -> Vec<EventCode> {
    drained(sessions)
        .into_iter()
        .filter_map(|(_, action)| match action {
            ClientAction::Event { code, .. } => Some(code),
            _ => None,
        })
        .collect()
}

fn open(sessions: &mut Sessions, position: i64) -> ClusterSessionId {
    let id = sessions.connect(&request(768), BY, NOW).unwrap();
    sessions.on_verdict(id, Verdict::Accepted { principal: b"p" }, BY, NOW);
    assert_eq!(sessions.to_append().unwrap().0, id);
    sessions.appended(id, Position(position), BY, NOW);
    id
}

#[test]
fn a_session_opens_when_its_event_is_appended() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let id = open(&mut sessions, 64);
    assert_eq!(id, ClusterSessionId(1));
    assert!(sessions.is_open(id));
    assert_eq!(codes(&mut sessions), [EventCode::Ok]);
    assert_eq!(sessions.next_committed_id, 1, "an uncommitted open does not count");
    sessions.committed(Position(64));
    assert_eq!(sessions.next_committed_id, 2);
}

#[test]
fn refused_clients_get_one_answer_and_use_up_an_id() {
    let mut sessions = Sessions::new(1, TIMEOUT);
    assert_eq!(sessions.connect(&request(1 << 16), BY, NOW), None);
    assert_eq!(codes(&mut sessions), [EventCode::Error]);
    assert_eq!(open(&mut sessions, 64), ClusterSessionId(2));
    drained(&mut sessions);
    assert_eq!(sessions.connect(&request(768), BY, NOW), None);
    assert_eq!(codes(&mut sessions), [EventCode::Error]);
    sessions.redirect(&request(768), BY, NOW);
    let all = drained(&mut sessions);
    assert!(all.iter().all(|&(key, _)| key < -1), "the key of a redirect is no session id");
    assert!(matches!(&all[1].1, ClientAction::Event { code: EventCode::Redirect, detail, .. }
            if detail == BY.ingress_endpoints));
}

#[test]
fn a_challenge_is_answered_before_the_session_opens() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let id = sessions.connect(&request(768), BY, NOW).unwrap();
    sessions.on_verdict(id, Verdict::Challenge { challenge: b"?" }, BY, NOW);
    assert!(sessions.to_append().is_none());
    sessions.on_challenge_response(id, CorrelationId(78), b"!", NOW);
    let all = drained(&mut sessions);
    let last =
        ClientAction::Authenticate { credentials: b"!".to_vec(), is_challenge_response: true };
    assert_eq!(all.last(), Some(&(id.0, last)));
    sessions.on_verdict(id, Verdict::Rejected, BY, NOW);
    assert_eq!(codes(&mut sessions), [EventCode::AuthenticationRejected]);
    assert!(sessions.session(id).is_none());
}

#[test]
fn silent_sessions_are_closed_and_silent_clients_forgotten() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let id = open(&mut sessions, 64);
    let pending = sessions.connect(&request(768), BY, NOW).unwrap();
    drained(&mut sessions);
    sessions.expire(NOW + TIMEOUT);
    assert!(sessions.session(pending).is_none());
    assert_eq!(sessions.session(id).unwrap().stage, Stage::Closing(CloseReason::Timeout));
    sessions.appended(id, Position(96), BY, NOW);
    assert_eq!(codes(&mut sessions), [EventCode::Closed]);
}

#[test]
fn a_loss_of_leadership_undoes_what_was_not_committed() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let kept = open(&mut sessions, 64);
    let closed = open(&mut sessions, 96);
    sessions.committed(Position(96));
    let lost = open(&mut sessions, 128);
    sessions.close(closed, CloseReason::ClientAction);
    sessions.appended(closed, Position(160), BY, NOW);
    drained(&mut sessions);
    sessions.roll_back(Position(96), BY, NOW);
    assert!(sessions.is_open(kept));
    assert!(sessions.session(lost).is_none());
    let stage = sessions.session(closed).unwrap().stage;
    assert_eq!(stage, Stage::Closing(CloseReason::ClientAction));
    assert_eq!(codes(&mut sessions), [EventCode::Closed]);
    assert_eq!(sessions.connect(&request(768), BY, NOW), Some(lost), "its id is given again");
}

#[test]
fn a_new_leader_greets_sessions_and_repeats_an_ok_nobody_here_sent() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let id = ClusterSessionId(5);
    let known = Session::known(CorrelationId(9), 102, "aeron:ipc", Position(64), NOW);
    sessions.log_opened(id, known);
    sessions.begin_leadership(false, BY, NOW);
    let all = drained(&mut sessions);
    assert!(matches!(all[0].1, ClientAction::Connect { .. }));
    assert!(matches!(all[1].1, ClientAction::Event { code: EventCode::Ok, .. }));
    assert!(matches!(all[2].1, ClientAction::NewLeader { .. }));
    sessions.begin_leadership(false, BY, NOW);
    assert_eq!(drained(&mut sessions).len(), 2);
    sessions.begin_leadership(true, BY, NOW);
    assert!(matches!(sessions.to_append(), Some((found, _)) if found == id));
}

/// Found by I-24 of the cluster's trial (seed 199): the channel of a client that was gone when this
/// member began to lead was kept for as long as it led.
#[test]
fn a_session_that_ends_is_let_go_though_its_client_never_took_what_it_was_told() {
    let mut sessions = Sessions::new(10, TIMEOUT);
    let id = ClusterSessionId(5);
    let known = Session::known(CorrelationId(9), 102, "aeron:ipc", Position(64), NOW);
    sessions.log_opened(id, known);
    sessions.begin_leadership(false, BY, NOW);
    let tell = |sessions: &mut Sessions| {
        let mut told = Vec::new();
        sessions.drain(|_, action| match action {
            ClientAction::Connect { .. } | ClientAction::Disconnect => {
                told.push(action.clone());
                Outcome::Done
            }
            _ => Outcome::BackPressured,
        });
        told
    };
    assert_eq!(tell(&mut sessions).len(), 1);
    let late = NOW + TIMEOUT;
    sessions.expire(late);
    sessions.appended(id, Position(128), BY, late);
    assert_eq!(tell(&mut sessions), [], "it may still come");
    sessions.expire_leaving(late + TIMEOUT);
    assert_eq!(tell(&mut sessions), [ClientAction::Disconnect]);
    assert!(sessions.leaving.is_empty() && sessions.queues.is_empty());
}

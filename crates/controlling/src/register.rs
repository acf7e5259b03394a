//! The sessions of all shards and who takes part in them, for the operator (CF-076).

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use parlance_content::conference_info::{JoiningMethod, Status};
use parlance_sip::dialog::DialogId;
use parlance_store::Millis;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::focus::{Focus, Kind};

/// How long a session may take to say who takes part in it. Local limit: it looks at questions
/// between two events.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Questions that wait at one session at most. Local limit.
const QUESTIONS_MAX: usize = 4;

/// All sessions that run.
#[derive(Debug, Default)]
pub struct Register {
    running: Mutex<BTreeMap<String, Running>>,
    /// The dialogs of conferences of two, each with the other one.
    pairs: Mutex<HashMap<DialogId, DialogId>>,
}

#[derive(Debug)]
struct Running {
    line: Line,
    questions: mpsc::Sender<Question>,
}

/// Somebody who wants to know who takes part.
pub(crate) type Question = oneshot::Sender<Vec<Participant>>;

/// One session, in a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The session identity.
    pub session: String,
    /// `1-1`, `adhoc`, `prearranged` or `chat`.
    pub kind: &'static str,
    /// The identity of its group.
    pub group: Option<String>,
    /// When it began.
    pub since: Millis,
    /// Users who are in it.
    pub users: usize,
}

/// A user who takes part, or is on the way in: as the others know him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Participant {
    /// His address; a pseudonym when he does not want to be known.
    pub user: String,
    /// What he is called, when he may be known, or the text of the pseudonym.
    pub display_name: Option<String>,
    /// The nickname he chose.
    pub nickname: Option<String>,
    /// How far each of his endpoints is.
    pub endpoints: Vec<EndpointLine>,
}

/// One endpoint of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointLine {
    /// As in RFC 4575 §5.7.3.
    pub status: &'static str,
    /// As in RFC 4575 §5.7.4.
    pub joining: &'static str,
}

/// Why it is not said who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// No such session runs.
    #[error("there is no such session")]
    NotFound,
    /// The session has too much to do.
    #[error("the session is busy; try again")]
    Busy,
}

/// An entry of the register, there until this is dropped.
#[derive(Debug)]
pub(crate) struct Registered {
    register: Arc<Register>,
    session: String,
    known: (Kind, usize),
    pair: Option<[DialogId; 2]>,
}

impl Register {
    /// At most `limit` sessions in the order of their identities, those after `after`.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Vec<Line> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let running = self.running();
        let lines = running.range::<str, _>((from, Bound::Unbounded));
        lines.take(limit).map(|(_, running)| running.line.clone()).collect()
    }

    /// A session and who takes part in it.
    ///
    /// # Errors
    /// [`Untold`].
    pub async fn session(&self, session: &str) -> Result<(Line, Vec<Participant>), Untold> {
        let (line, questions) = {
            let running = self.running();
            let found = running.get(session).ok_or(Untold::NotFound)?;
            (found.line.clone(), found.questions.clone())
        };
        let (answer, answered) = oneshot::channel();
        questions.try_send(answer).map_err(|_| Untold::Busy)?;
        match timeout(ANSWER_WAIT, answered).await {
            Ok(Ok(participants)) => Ok((line, participants)),
            // It has ended meanwhile.
            Ok(Err(_)) => Err(Untold::NotFound),
            Err(_) => Err(Untold::Busy),
        }
    }

    /// A session begins; where the questions about it come.
    pub(crate) fn begin(
        self: &Arc<Self>,
        session: &str,
        focus: &Focus,
        since: Millis,
    ) -> (Registered, mpsc::Receiver<Question>) {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        let known = (focus.kind(), focus.counts().inside);
        let line = Line {
            session: session.to_owned(),
            kind: known.0.as_str(),
            group: focus.group().map(|group| group.identity().as_str().to_owned()),
            since,
            users: known.1,
        };
        self.running().insert(session.to_owned(), Running { line, questions });
        let register = Arc::clone(self);
        (Registered { register, session: session.to_owned(), known, pair: None }, asked)
    }

    /// The dialog of the other user of a conference of two in which one has this dialog.
    pub(crate) fn other_end(&self, dialog: &DialogId) -> Option<DialogId> {
        self.pairs().get(dialog).cloned()
    }

    fn pairs(&self) -> MutexGuard<'_, HashMap<DialogId, DialogId>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// Says how the session is now.
    pub(crate) fn changed(&mut self, focus: &Focus) {
        let now = (focus.kind(), focus.counts().inside);
        if now == self.known {
            return;
        }
        self.known = now;
        if let Some(running) = self.register.running().get_mut(&self.session) {
            (running.line.kind, running.line.users) = (now.0.as_str(), now.1);
        }
    }

    /// Whether the dialogs of both users are known.
    pub(crate) fn is_paired(&self) -> bool {
        self.pair.is_some()
    }

    /// The session has two users, with these dialogs.
    pub(crate) fn pair(&mut self, one: DialogId, other: DialogId) {
        self.unpair();
        let mut pairs = self.register.pairs();
        pairs.insert(one.clone(), other.clone());
        pairs.insert(other.clone(), one.clone());
        self.pair = Some([one, other]);
    }

    /// The dialogs are not those of a conference of two any more.
    pub(crate) fn unpair(&mut self) {
        for dialog in self.pair.take().into_iter().flatten() {
            self.register.pairs().remove(&dialog);
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.unpair();
        self.register.running().remove(&self.session);
    }
}

/// Who takes part in a session, in the order of their addresses.
pub(crate) fn participants(focus: &Focus) -> Vec<Participant> {
    let users = focus.shown_users().map(|user| Participant {
        user: user.entity,
        display_name: user.display_text,
        nickname: user.nickname,
        endpoints: user
            .endpoints
            .iter()
            .map(|endpoint| EndpointLine {
                status: endpoint.status.map_or("", status),
                joining: endpoint.joining_method.map_or("", joining),
            })
            .collect(),
    });
    let mut users: Vec<Participant> = users.collect();
    users.sort_by(|one, other| one.user.cmp(&other.user));
    users
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Pending => "pending",
        Status::DialingOut => "dialing-out",
        Status::DialingIn => "dialing-in",
        Status::Alerting => "alerting",
        Status::OnHold => "on-hold",
        Status::Connected => "connected",
        Status::MutedViaFocus => "muted-via-focus",
        Status::Disconnecting => "disconnecting",
        Status::Disconnected => "disconnected",
    }
}

fn joining(method: JoiningMethod) -> &'static str {
    match method {
        JoiningMethod::DialedIn => "dialed-in",
        JoiningMethod::DialedOut => "dialed-out",
        JoiningMethod::FocusOwner => "focus-owner",
    }
}

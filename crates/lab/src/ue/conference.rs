//! Watching a conference: SUBSCRIBE, and what the NOTIFYs add up to (RFC 6665, RFC 4575).
//!
//! The documents are read here apart from the server's own reader: what is wrong in one is not
//! wrong in the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use roxmltree::{Document, Node};
use rsip::Method;
use rsip::headers::{ToTypedHeader, UntypedHeader};
use rsip::message::HeadersExt;

use super::call::Dialog;
use super::state::State;
use super::{ACCEPT_CONTACT, Answer, Draft, Received, Ue};

/// The type of the documents.
const CONFERENCE_INFO: &str = "application/conference-info+xml";

/// The namespace of `nickname` (RFC 7701 §11).
const XCON: &str = "urn:ietf:params:xml:ns:xcon-conference-info";

/// A subscription to the state of a conference. Dropping it ends nothing: [`Watch::end`] does.
pub struct Watch {
    ue: Ue,
    /// The answer to the SUBSCRIBE.
    pub answer: Answer,
    dialog: Option<RefCell<Dialog>>,
    call_id: String,
}

/// What the documents of one subscription add up to (RFC 4575 §4.6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conference {
    /// The conference URI.
    pub entity: String,
    /// The version of the last document.
    pub version: Option<u32>,
    /// Documents that did not follow the one before.
    pub gaps: u32,
    /// Documents that were not full.
    pub partial: u32,
    /// Whether the conference was said to be over.
    pub deleted: bool,
    /// `subject`.
    pub subject: Option<String>,
    /// `user-count`.
    pub user_count: Option<u32>,
    /// Who is in it, by entity.
    pub users: BTreeMap<String, Participant>,
}

/// A participant as others are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    /// `display-text`.
    pub display_text: Option<String>,
    /// The nickname in the room (RFC 7701).
    pub nickname: Option<String>,
    /// `roles`.
    pub roles: Vec<String>,
    /// The status of each endpoint, by entity.
    pub endpoints: BTreeMap<String, String>,
}

impl Ue {
    /// Subscribes to the state of a conference, for as long as the notifier likes.
    pub async fn watch(&self, conference: &str) -> Watch {
        self.watch_as(Draft::new(Method::Subscribe, conference)).await
    }

    /// Subscribes as the script says.
    pub async fn watch_as(&self, draft: Draft) -> Watch {
        let draft = draft
            .header("Event", "conference")
            .header("Accept", CONFERENCE_INFO)
            .header("Accept-Contact", ACCEPT_CONTACT)
            .header("Contact", &format!("<{}>;+g.oma.sip-im", self.0.borrow().contact()));
        let (outcome, id) = self.0.borrow_mut().send_as(&draft, Vec::new());
        let call_id = self.0.borrow().call_id_of(&id);
        let (answer, response) = State::response_of(outcome).await;
        let request = self.0.borrow().request_of(&id);
        let dialog = response.filter(|response| response.status_code.code() < 300);
        let dialog =
            dialog.zip(request).and_then(|(response, request)| Dialog::of(&request, &response));
        Watch { ue: self.clone(), answer, dialog: dialog.map(RefCell::new), call_id }
    }
}

impl Watch {
    /// The NOTIFYs that came, oldest first.
    pub fn notifies(&self) -> Vec<Received> {
        let of = |received: &Received| {
            let request = &received.request;
            let call_id = request.call_id_header().map(|id| id.value().to_owned());
            request.method == Method::Notify && call_id.is_ok_and(|id| id == self.call_id)
        };
        let mut notifies: Vec<_> =
            self.ue.received().into_iter().filter(|received| of(received)).collect();
        let number = |received: &Received| {
            let cseq = received.request.cseq_header().ok().and_then(|cseq| cseq.typed().ok());
            cseq.map_or(0, |cseq| cseq.seq)
        };
        notifies.sort_by_key(number);
        notifies
    }

    /// `Subscription-State` of the last NOTIFY.
    pub fn state(&self) -> Option<String> {
        self.notifies().last().and_then(|notify| notify.header("Subscription-State"))
    }

    /// What the documents add up to.
    pub fn conference(&self) -> Conference {
        let mut conference = Conference::default();
        for notify in self.notifies() {
            conference.apply(&notify.text());
        }
        conference
    }

    /// Who is in it with a connected endpoint, by entity.
    pub fn connected(&self) -> Vec<String> {
        let conference = self.conference();
        let is_in = |user: &&Participant| user.endpoints.values().any(|state| state == "connected");
        let users = conference.users.iter().filter(|(_, user)| is_in(user));
        users.map(|(entity, _)| entity.clone()).collect()
    }

    /// Asks for the whole state once more: a SUBSCRIBE in the dialog.
    pub async fn refresh(&self) -> Answer {
        self.again(3600).await
    }

    /// Ends the subscription.
    pub async fn end(&self) -> Answer {
        self.again(0).await
    }

    async fn again(&self, expires: u32) -> Answer {
        let Some(dialog) = &self.dialog else { return self.answer.clone() };
        let draft = Draft::new(Method::Subscribe, "")
            .header("Event", "conference")
            .header("Accept", CONFERENCE_INFO)
            .header("Expires", &expires.to_string());
        let outcome = self.ue.0.borrow_mut().within_as(&mut dialog.borrow_mut(), &draft);
        State::response_of(outcome).await.0
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({:?})", self.ue)
    }
}

impl Conference {
    /// Adds a document; what is none changes nothing.
    pub fn apply(&mut self, document: &str) {
        let Ok(document) = Document::parse(document) else { return };
        let root = document.root_element();
        let number = |name: &str| root.attribute(name).and_then(|text| text.parse::<u32>().ok());
        let version = number("version");
        let is_next = self.version.is_some() && version == self.version.map(|last| last + 1);
        match state_of(root) {
            "full" => {
                let gaps = (self.gaps, self.partial);
                *self = Self { gaps: gaps.0, partial: gaps.1, ..Self::default() };
            }
            "deleted" => self.deleted = true,
            _ => {
                self.partial += 1;
                self.gaps += u32::from(!is_next);
            }
        }
        self.version = version;
        self.entity = root.attribute("entity").unwrap_or_default().to_owned();
        for part in root.children().filter(Node::is_element) {
            match part.tag_name().name() {
                "conference-description" => self.subject = text(part, "subject"),
                "conference-state" => {
                    let count = text(part, "user-count").and_then(|count| count.parse().ok());
                    self.user_count = count.or(self.user_count);
                }
                "users" => self.users(part),
                _ => {}
            }
        }
    }

    fn users(&mut self, users: Node<'_, '_>) {
        if state_of(users) == "full" {
            self.users.clear();
        }
        for user in elements(users, "user") {
            let entity = user.attribute("entity").unwrap_or_default().to_owned();
            match state_of(user) {
                "deleted" => {
                    self.users.remove(&entity);
                }
                "full" => {
                    let mut participant = Participant::default();
                    participant.apply(user);
                    self.users.insert(entity, participant);
                }
                _ => self.users.entry(entity).or_default().apply(user),
            }
        }
    }
}

impl Participant {
    fn apply(&mut self, user: Node<'_, '_>) {
        if let Some(nickname) = user.attribute((XCON, "nickname")) {
            self.nickname = Some(nickname.to_owned()).filter(|nickname| !nickname.is_empty());
        }
        if let Some(name) = text(user, "display-text") {
            self.display_text = Some(name);
        }
        if let Some(roles) = elements(user, "roles").next() {
            let entries = elements(roles, "entry").filter_map(|entry| entry.text());
            self.roles = entries.map(str::to_owned).collect();
        }
        for endpoint in elements(user, "endpoint") {
            let entity = endpoint.attribute("entity").unwrap_or_default().to_owned();
            match state_of(endpoint) {
                "deleted" => {
                    self.endpoints.remove(&entity);
                }
                _ => {
                    let status = text(endpoint, "status");
                    let known = self.endpoints.entry(entity).or_default();
                    if let Some(status) = status {
                        *known = status;
                    }
                }
            }
        }
    }
}

fn state_of<'a>(node: Node<'a, '_>) -> &'a str {
    node.attribute("state").unwrap_or("full")
}

fn elements<'a, 'b>(node: Node<'a, 'b>, name: &str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn text(node: Node<'_, '_>, name: &str) -> Option<String> {
    let found = elements(node, name).next()?;
    Some(found.text().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::Conference;

    fn document(attributes: &str, users: &str) -> String {
        format!(
            "<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\" \
             xmlns:x=\"urn:ietf:params:xml:ns:xcon-conference-info\" entity=\"sip:c@x\" \
             {attributes}>{users}</conference-info>"
        )
    }

    fn user(entity: &str, more: &str, inside: &str) -> String {
        format!("<user entity=\"{entity}\" {more}>{inside}</user>")
    }

    // RFC 4575 §4.6.
    #[test]
    fn documents_add_up() {
        let endpoint = |status: &str| {
            format!("<endpoint entity=\"sip:e\"><status>{status}</status></endpoint>")
        };
        let mut conference = Conference::default();
        let users = user("sip:a@x", "x:nickname=\"A\"", &endpoint("connected"))
            + &user("sip:b@x", "", &endpoint("dialing-out"));
        let state = "<conference-state><user-count>2</user-count></conference-state>";
        let users = format!("{state}<users>{users}</users>");
        conference.apply(&document("version=\"5\" state=\"full\"", &users));
        assert_eq!(
            (conference.version, conference.user_count, conference.gaps),
            (Some(5), Some(2), 0)
        );
        assert_eq!(conference.users["sip:a@x"].nickname.as_deref(), Some("A"));
        let changed = user("sip:b@x", "state=\"partial\"", &endpoint("connected"))
            + &user("sip:a@x", "state=\"deleted\"", "")
            + &user("sip:c@x", "", "<display-text>Carol</display-text>");
        let changed = format!("<users state=\"partial\">{changed}</users>");
        conference.apply(&document("version=\"6\" state=\"partial\"", &changed));
        assert_eq!(conference.users.keys().collect::<Vec<_>>(), ["sip:b@x", "sip:c@x"]);
        assert_eq!(conference.users["sip:b@x"].endpoints["sip:e"], "connected");
        assert_eq!(conference.users["sip:c@x"].display_text.as_deref(), Some("Carol"));
        assert_eq!((conference.gaps, conference.partial, conference.user_count), (0, 1, Some(2)));
        conference.apply(&document("version=\"8\" state=\"partial\"", ""));
        assert_eq!(conference.gaps, 1);
        conference.apply(&document("version=\"9\" state=\"deleted\"", ""));
        assert!(conference.deleted);
        conference.apply("nothing");
        assert_eq!(conference.version, Some(9));
    }
}

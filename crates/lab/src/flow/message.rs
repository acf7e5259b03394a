//! Single messages (OMA-TS-SIMPLE_IM §7.2.2, §7.4.1).

use rsip::Method;

use super::{Stage, Unexpected};
use crate::ue::{ACCEPT_CONTACT, Draft};
use crate::world::identity;

/// The exploder of the world.
const EXPLODER: &str = "sip:im-exploder@ims.test";

/// The group of [`super::TEAM_DOCUMENT`].
const TEAM: &str = "sip:im-group-team@ims.test";

/// A message from user to user (§4.2.3, immediate messaging).
pub(super) async fn deliver(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice writes to Bob.");
    let answer = stage.world.ue("alice").message(&identity("bob"), "Hello Bob!").await;
    stage.expect("the answer", answer.status, 200)?;
    stage.pause().await;
    stage.expect("what Bob got", stage.world.ue("bob").texts(), ["Hello Bob!"])
}

/// A message to many (Appendix D, explode; RFC 5365).
pub(super) async fn explode(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice writes to Bob and Carol at once.");
    let entry = |name| format!("<entry uri=\"{}\" cp:copyControl=\"to\"/>", identity(name));
    let body = format!(
        "--lab\r\nContent-Type: text/plain\r\n\r\nTea at four.\r\n\
         --lab\r\nContent-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n\
         <?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
         xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{}{}</list></resource-lists>\r\n\
         --lab--\r\n",
        entry("bob"),
        entry("carol")
    );
    let draft = Draft::new(Method::Message, EXPLODER)
        .header("Accept-Contact", ACCEPT_CONTACT)
        .header("Require", "recipient-list-message")
        .body("multipart/mixed;boundary=\"lab\"", body.as_bytes());
    let answer = stage.world.ue("alice").send(draft).await;
    stage.expect("the answer", answer.status, 202)?;
    arrived(stage).await
}

/// A message to all members of a group (§4.2.3.2, group messages).
pub(super) async fn to_group(stage: &Stage) -> Result<(), Unexpected> {
    stage.tell("Alice writes to the team.");
    let answer = stage.world.ue("alice").message(TEAM, "Tea at four.").await;
    stage.expect("the answer", answer.status, 202)?;
    arrived(stage).await
}

async fn arrived(stage: &Stage) -> Result<(), Unexpected> {
    stage.pause().await;
    for name in ["bob", "carol"] {
        let got = stage.world.ue(name).received();
        let got = got.iter().filter(|got| got.request.method == Method::Message);
        let texts: Vec<bool> = got.map(|got| got.text().contains("Tea at four.")).collect();
        stage.expect(&format!("what {name} got"), texts, [true])?;
    }
    stage.expect("what Alice got", stage.world.ue("alice").texts(), [""; 0])
}

//! The readers of XML documents and of parts of SIP messages.

use bytes::Bytes;
use parlance_content::common_policy::Asker;
use parlance_content::conference_info::{ConferenceInfo, Document, Elements};
use parlance_content::im_settings::ImSettings;
use parlance_content::imdn::Imdn;
use parlance_content::is_composing::IsComposing;
use parlance_content::list_service::Group;
use parlance_content::reginfo::{self, RegInfo};
use parlance_content::resource_lists::{self, Limits, ResourceLists};
use parlance_content::sipfrag::{SipFrag, SipFragError};

/// Reads the input as every document there is; how many rows came out.
pub(super) fn documents(octets: &Bytes) -> usize {
    let simple = [
        Imdn::parse(octets).is_ok(),
        IsComposing::parse(octets).is_ok(),
        ImSettings::parse(octets)
            .is_ok_and(|read| ImSettings::parse(read.to_string().as_bytes()) == Ok(read)),
    ];
    let simple = simple.into_iter().filter(|read| *read).count();
    simple
        + registrations(octets)
        + lists(octets)
        + conference(octets)
        + group(octets)
        + sipfrag(octets)
}

fn registrations(octets: &Bytes) -> usize {
    let Ok(document) = reginfo::Document::parse(octets) else { return 0 };
    let items = 1 + document.registrations.len();
    RegInfo::new().apply(document);
    items
}

/// What was read is written and read again; nobody hidden is seen.
fn lists(octets: &Bytes) -> usize {
    let limits = Limits::default();
    let Ok(document) = ResourceLists::parse(octets, &limits) else { return 0 };
    let written = document.to_string();
    let again = ResourceLists::parse(written.as_bytes(), &limits);
    // Escapes may make it longer than what is read.
    assert!(written.len() > limits.bytes_max || again == Ok(document.clone()), "{written}");
    let recipients =
        resource_lists::recipients(document.entries(), |uri| Some(uri.to_ascii_lowercase()));
    let seen = resource_lists::history(&recipients).map_or(0, |list| list.entries().len());
    assert!(seen <= recipients.len(), "more are seen than there are");
    1 + recipients.len()
}

/// What is known after a document is what a full document of it tells.
fn conference(octets: &Bytes) -> usize {
    let Ok(document) = Document::parse(octets) else { return 0 };
    let mut info = ConferenceInfo::new();
    info.apply(document);
    let written = Elements::full(info.conference()).document("sip:c@h", 1);
    let mut again = ConferenceInfo::new();
    again.apply(Document::parse(&written).expect("what was written can be read"));
    assert_eq!(again.conference(), info.conference());
    1 + info.conference().users.len()
}

fn group(octets: &Bytes) -> usize {
    let Ok(group) = Group::parse(octets) else { return 0 };
    let rights = group.rights(&Asker {
        is: &|uri| uri.starts_with("sip:alice"),
        domain: "ims.test",
        is_member: true,
        is_on: &|anchor| anchor.len() % 2 == 0,
        is_anonymous: true,
        now: 0,
    });
    1 + group.entries.len() + usize::from(rights.join_handling.is_some())
}

fn sipfrag(octets: &Bytes) -> usize {
    let Ok(read) = SipFrag::parse(octets) else { return 0 };
    let items = 1 + read.headers.len();
    let written = read.to_bytes();
    let again = SipFrag::parse(&written);
    // Each line ends with CRLF then, which may make it longer than what is read.
    let is_long = written.len() > octets.len() && again == Err(SipFragError::TooLarge);
    assert!(is_long || again == Ok(read), "a fragment differs from what it writes");
    items
}

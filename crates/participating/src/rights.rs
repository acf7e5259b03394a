//! What a user may do of what the service can: the rights of his profile (OMA-TS-SIMPLE_IM §8.2,
//! §7.2.2.9), beside the ways of messages, which are judged where they are served.

use parlance_content::resource_lists::{self, Limits, ResourceLists};
use parlance_isc::service::Service;
use parlance_isc::{Decision, Function};
use parlance_sip::header::ReferTo;
use parlance_sip::{Method, Request};
use parlance_store::{Profile, Rights};

use crate::access::hides_identity;
use crate::content;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::session::description::{self, Described};

/// Whether the user may send this request.
///
/// # Errors
/// [`Refusal::NotAuthorised`].
pub(crate) fn check(
    request: &Request,
    decision: &Decision,
    policy: &Policy,
    profile: &Profile,
) -> Result<(), Refusal> {
    let rights = &profile.rights;
    // Nearly everybody; nothing is read for them.
    if *rights == Rights::default() {
        return Ok(());
    }
    let service = match decision.role {
        Function::Controlling(service) => Some(service),
        _ => None,
    };
    let lacks = !rights.anonymity && hides_identity(request)
        || match request.method() {
            Method::Message => {
                !rights.exploder && service == Some(Service::Exploder)
                    || !rights.group_advertisement
                        && content::holds(request, &policy.group_advertisement_types)
            }
            Method::Invite => {
                !rights.ad_hoc_group
                    && service == Some(Service::ConferenceFactory)
                    && names_several(request)
                    || !rights.file_transfer && is_file(request)
            }
            Method::Refer => !rights.expel && expels(request),
            _ => false,
        };
    if lacks { Err(Refusal::NotAuthorised) } else { Ok(()) }
}

/// Whether the list of a conference to be made has more than one entry: one makes a session of two
/// (§6.1.3.2.1).
fn names_several(request: &Request) -> bool {
    let list = content::part(request, resource_lists::MEDIA_TYPE);
    let list = list.and_then(|list| ResourceLists::parse(&list, &Limits::default()).ok());
    list.is_some_and(|list| list.entries().len() > 1)
}

/// Whether the session is for a file (RFC 5547 §6).
fn is_file(request: &Request) -> bool {
    Described::of(request).is_some_and(|described| description::is_file(&described.sdp))
}

/// Whether a REFER takes somebody out of a session (§7.2.3.8).
fn expels(request: &Request) -> bool {
    let refer_to = request.header::<ReferTo<'_>>().ok().flatten();
    let method = refer_to.and_then(|refer_to| refer_to.uri.as_sip()?.params.value("method"));
    method == Some("BYE")
}

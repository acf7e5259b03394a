//! What a REFER in a pre-established session asks for (OMA-TS-SIMPLE_IM §7.2.3.6, §7.2.3.11.2;
//! RFC 3515, RFC 5368).

use bytes::Bytes;
use parlance_content::MediaType;
use parlance_content::multipart::{Limits, Multipart};
use parlance_content::resource_lists::MEDIA_TYPE;
use parlance_sip::header::{ReferTo, ReferredBy, Require};
use parlance_sip::uri::{Aor, Uri};
use parlance_sip::{HeaderName, Request};

use crate::refusal::Refusal;

/// The option tags that a REFER may require.
const UNDERSTOOD: [&str; 3] = ["norefersub", "multiple-refer", "tdialog"];

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To be joined to a session.
    Call {
        /// Whom to call; `None`: the conference factory.
        target: Option<String>,
        /// The list of those who are to be invited.
        list: Option<Bytes>,
    },
    /// To leave the session with whoever goes by this name.
    Leave(Option<Aor>),
}

/// What `request` asks for.
///
/// # Errors
/// The refusal when it cannot be asked for.
pub(super) fn wanted(request: &Request) -> Result<Wanted, Refusal> {
    let required = request.list::<Require<'_>>().filter_map(Result::ok);
    let unknown = required.filter(|tag| !UNDERSTOOD.iter().any(|known| tag.is(known)));
    let unknown: Vec<&str> = unknown.map(|tag| tag.as_str()).collect();
    if !unknown.is_empty() {
        return Err(Refusal::BadExtension(unknown.join(", ")));
    }
    if request.values(HeaderName::ReferTo).count() != 1 {
        return Err(Refusal::BadReferTo);
    }
    let refer_to = request.header::<ReferTo<'_>>().map_err(|_| Refusal::BadReferTo)?;
    let uri = refer_to.ok_or(Refusal::BadReferTo)?.0.uri;
    match &uri {
        Uri::Other(_) => {
            let content_id = cid(&uri).ok_or(Refusal::BadReferTo)?;
            let list = list(request, Some(&content_id)).ok_or(Refusal::BadReferTo)?;
            Ok(Wanted::Call { target: None, list: Some(list) })
        }
        Uri::Tel(_) => Ok(Wanted::Call { target: Some(uri.to_string()), list: None }),
        Uri::Sip(sip) => match sip.params.value("method") {
            None => called(&uri, request),
            Some(method) if method.eq_ignore_ascii_case("INVITE") => called(&uri, request),
            Some(method) if method.eq_ignore_ascii_case("BYE") => {
                Ok(Wanted::Leave(Aor::from_uri(&uri)))
            }
            Some(_) => Err(Refusal::ReferMethod),
        },
    }
}

/// A call to `uri`, with the list that the body may have.
fn called(uri: &Uri<'_>, request: &Request) -> Result<Wanted, Refusal> {
    let target = bare(uri).ok_or(Refusal::BadReferTo)?;
    let list = list(request, None);
    // A body that is no list would be lost.
    if list.is_none() && !request.body().is_empty() {
        return Err(Refusal::BadReferTo);
    }
    Ok(Wanted::Call { target: Some(target), list })
}

/// A SIP URI without `method` and header fields (RFC 3261 §19.1.5): what they would say, they would
/// say in the name of the user.
fn bare(uri: &Uri<'_>) -> Option<String> {
    Some(uri.as_sip()?.without(&["method"]))
}

/// The Content-ID that a `cid:` URI names (RFC 2392 §2).
fn cid(uri: &Uri<'_>) -> Option<String> {
    let text = uri.to_string();
    let (scheme, id) = text.split_once(':')?;
    let id = parlance_sip::uri::unescape(id);
    let id = String::from_utf8(id.into_owned()).ok()?;
    scheme.eq_ignore_ascii_case("cid").then_some(id)
}

/// The list in the body, alone or as a part of it: the one with this Content-ID, or the first.
fn list(request: &Request, content_id: Option<&str>) -> Option<Bytes> {
    let content_type = request.field(HeaderName::ContentType)?;
    let media = MediaType::parse(std::str::from_utf8(content_type).ok()?).ok()?;
    if media.is(MEDIA_TYPE) {
        let mut fields = request.fields();
        let own = fields.find(|(_, name, _)| name.eq_ignore_ascii_case(b"Content-ID"));
        let own = own.map(|(.., value)| String::from_utf8_lossy(value));
        let own = own.as_deref().map(|id| id.trim().trim_matches(['<', '>']));
        let is_it = content_id.is_none_or(|wanted| own == Some(wanted));
        return is_it.then(|| Bytes::copy_from_slice(request.body()));
    }
    if !media.is_multipart() {
        return None;
    }
    let body = Multipart::parse(&media, &request.body_bytes(), &Limits::default()).ok()?;
    let mut lists = body.parts().iter().filter(|part| part.headers.is_type(MEDIA_TYPE));
    let found = lists
        .find(|part| content_id.is_none_or(|wanted| part.headers.content_id() == Some(wanted)))?;
    Some(found.body.clone())
}

/// The `Referred-By` that goes on: what the REFER says, when it names the user himself
/// (RFC 3892 §2.1); he does not speak for others.
pub(super) fn referred_by(request: &Request, user: &Aor) -> Option<String> {
    let told = request.header::<ReferredBy<'_>>().ok().flatten()?;
    Some(match Aor::from_uri(&told.0.uri).as_ref() == Some(user) {
        true => format!("<{}>", told.0.uri),
        false => format!("<{user}>"),
    })
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Aor;

    use super::{Wanted, referred_by, wanted};
    use crate::refusal::Refusal;
    use crate::tests::request;

    fn refer(headers: &str, body: &str) -> parlance_sip::Request {
        request(&format!("REFER sip:s@h SIP/2.0\r\n{headers}\r\n\r\n{body}"))
    }

    fn call(target: Option<&str>, list: Option<&'static str>) -> Result<Wanted, Refusal> {
        let (target, list) = (target.map(str::to_owned), list.map(Into::into));
        Ok(Wanted::Call { target, list })
    }

    // Covers: PF-062, PF-038
    #[test]
    fn a_refer_is_for_one_call_or_for_leaving_one() {
        let leave = |uri: &str| Ok(Wanted::Leave(uri.parse().ok()));
        #[rustfmt::skip]
        let table = [
            ("Refer-To: <sip:bob@h>",                    call(Some("sip:bob@h"), None)),
            ("Refer-To: sip:bob@h",                      call(Some("sip:bob@h"), None)),
            ("Refer-To: <tel:+15550001>",                call(Some("tel:+15550001"), None)),
            ("Refer-To: <sip:g@h:5070;method=INVITE;x=y?Subject=a>",
                call(Some("sip:g@h:5070;x=y"), None)),
            ("Refer-To: <sip:g@h;method=BYE>",           leave("sip:g@h")),
            ("Refer-To: <sip:g@h;method=bye>",           leave("sip:g@h")),
            ("Refer-To: <sip:g@h;method=MESSAGE>",       Err(Refusal::ReferMethod)),
            ("Refer-To: <sip:a@h>\r\nRefer-To: <sip:b@h>", Err(Refusal::BadReferTo)),
            ("Refer-To: <cid:x@h>",                      Err(Refusal::BadReferTo)),
            ("Refer-To: <urn:service:sos>",              Err(Refusal::BadReferTo)),
            ("Refer-To: :",                              Err(Refusal::BadReferTo)),
            ("Subject: none",                            Err(Refusal::BadReferTo)),
            ("Refer-To: <sip:a@h>\r\nRequire: multiple-refer, odd",
                Err(Refusal::BadExtension("odd".into()))),
        ];
        for (headers, expected) in table {
            assert_eq!(wanted(&refer(headers, "")), expected, "{headers}");
        }
    }

    // Covers: PF-062
    #[test]
    fn a_list_is_found_by_its_name() {
        const LIST: &str = "application/resource-lists+xml";
        let alone = |to: &str| {
            let headers = format!("Refer-To: <{to}>\r\nContent-Type: {LIST}\r\nContent-ID: <l@h>");
            wanted(&refer(&headers, "<list/>"))
        };
        assert_eq!(alone("cid:l@h"), call(None, Some("<list/>")));
        assert_eq!(alone("cid:l%40h"), call(None, Some("<list/>")));
        assert_eq!(alone("cid:other@h"), Err(Refusal::BadReferTo));
        assert_eq!(alone("sip:factory@h"), call(Some("sip:factory@h"), Some("<list/>")));
        let parts = "--b\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b\r\n\
             Content-Type: application/resource-lists+xml\r\nContent-ID: <m@h>\r\n\r\n<m/>\r\n--b--";
        let headers = "Refer-To: <cid:m@h>\r\nContent-Type: multipart/mixed;boundary=b";
        assert_eq!(wanted(&refer(headers, parts)), call(None, Some("<m/>")));
        let text = "Refer-To: <sip:bob@h>\r\nContent-Type: text/plain";
        assert_eq!(wanted(&refer(text, "hi")), Err(Refusal::BadReferTo));
    }

    // Covers: PF-062
    #[test]
    fn nobody_refers_in_the_name_of_others() {
        let alice: Aor = "sip:alice@h".parse().unwrap();
        #[rustfmt::skip]
        let table = [
            ("Referred-By: <sip:alice@h;x=y>",   Some("<sip:alice@h;x=y>")),
            ("Referred-By: <sip:boss@h>",        Some("<sip:alice@h>")),
            ("Subject: none",                    None),
        ];
        for (headers, expected) in table {
            assert_eq!(referred_by(&refer(headers, ""), &alice).as_deref(), expected, "{headers}");
        }
    }
}

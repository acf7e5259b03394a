//! The few changes to the head of a message on its way (OMA-TS-SIMPLE_IM §7.2.2).

use parlance_sip::header::{Date, From, NameAddr, PAssertedIdentity, Privacy, PrivacyValue};
use parlance_sip::{Edits, HeaderName, Request};
use parlance_store::{Millis, Profile};

use crate::policy::Policy;

/// What is changed in a request that is otherwise passed through: P-Preferred-Identity is consumed
/// at the edge of the domain (RFC 3325 §5).
pub(crate) fn untouched(request: &Request) -> Edits {
    let mut edits = Edits::new();
    edits.remove(request, HeaderName::PPreferredIdentity);
    edits
}

/// What is changed on both sides, for a message received at `now`.
pub(crate) fn passing(request: &Request, policy: &Policy, now: Millis) -> Edits {
    let mut edits = untouched(request);
    if !request.has(HeaderName::Date)
        && let Some(date) = Date::from_epoch_seconds(now.0 / 1000)
    {
        edits.append(HeaderName::Date, date);
    }
    if policy.strip_unverified_display_names {
        strip_display_name(request, &mut edits);
    }
    edits
}

/// The same for the sender's side, where his settings apply.
pub(crate) fn originating(
    request: &Request,
    policy: &Policy,
    profile: &Profile,
    now: Millis,
) -> Edits {
    let mut edits = passing(request, policy, now);
    if profile.always_anonymous {
        hide(request, &mut edits);
    }
    edits
}

/// What is changed in a request that begins or concerns a session, on both sides.
pub(crate) fn session(request: &Request, policy: &Policy) -> Edits {
    let mut edits = untouched(request);
    if policy.strip_unverified_display_names {
        strip_display_name(request, &mut edits);
    }
    edits
}

/// The same for the side of who sends it, where his settings apply (§7.2.2.3).
pub(crate) fn own_session(request: &Request, policy: &Policy, profile: &Profile) -> Edits {
    let mut edits = session(request, policy);
    if profile.always_anonymous {
        hide(request, &mut edits);
    }
    edits
}

/// Asks for `Privacy: id` on behalf of the sender. With `none` he asked himself that nothing be
/// hidden this time, and the header must not be changed then (RFC 3323 §4.2).
fn hide(request: &Request, edits: &mut Edits) {
    match request.header::<Privacy<'_>>() {
        Ok(Some(privacy)) if privacy.is_none() || privacy.has(PrivacyValue::Id) => {}
        Ok(Some(privacy)) => {
            edits.set(request, HeaderName::Privacy, format_args!("{privacy};id"));
        }
        Ok(None) | Err(_) => edits.set(request, HeaderName::Privacy, "id"),
    }
}

/// Takes a display name out of From that the core does not assert. Tags and URI stay, and they
/// alone tell transactions and users (RFC 3261 §8.1.1.3, §20.10).
fn strip_display_name(request: &Request, edits: &mut Edits) {
    let Ok(Some(from)) = request.header::<From<'_>>() else { return };
    let address = from.address();
    let Some(shown) = address.display_name() else { return };
    let asserted = request.list::<PAssertedIdentity<'_>>().filter_map(Result::ok);
    let mut names = asserted.filter_map(|identity| identity.display_name());
    if !names.any(|name| name == shown) {
        edits.set(request, HeaderName::From, NameAddr { display: None, ..address });
    }
}

#[cfg(test)]
mod tests {
    use parlance_sip::{Edits, Request};
    use parlance_store::{Millis, Profile};

    use super::{originating, passing};
    use crate::policy::Policy;
    use crate::tests::request;

    const DATED: &str = "Date: Sat, 13 Nov 2010 23:29:00 GMT";

    fn written(request: &Request, edits: &Edits) -> String {
        let text = String::from_utf8(edits.apply(request).unwrap().bytes().to_vec()).unwrap();
        let head = text.split("\r\n\r\n").next().unwrap();
        head.lines().skip(1).collect::<Vec<_>>().join("|")
    }

    fn message(headers: &str) -> Request {
        request(&format!("MESSAGE sip:b@h SIP/2.0\r\n{headers}\r\n\r\n"))
    }

    // Covers: PF-025, CORE-036
    #[test]
    fn a_date_comes_and_a_preferred_identity_goes() {
        let now = Millis(1_289_690_940_999);
        let policy = Policy::default();
        let of = |headers: &str| {
            let request = message(headers);
            written(&request, &passing(&request, &policy, now))
        };
        assert_eq!(of("Subject: x"), format!("Subject: x|{DATED}"));
        let other = "Date: Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(of(other), other);
        let preferred = "P-Preferred-Identity: <sip:a@h>\r\nSubject: x";
        assert_eq!(of(&format!("{preferred}\r\n{DATED}")), format!("Subject: x|{DATED}"));
    }

    // Covers: PF-016, CORE-053
    #[test]
    fn a_user_may_always_be_anonymous() {
        let shy = Profile { always_anonymous: true, ..Profile::default() };
        #[rustfmt::skip]
        let table = [
            ("Subject: x",            "Subject: x|Privacy: id"),
            ("Privacy: header",       "Privacy: header;id"),
            ("Privacy: user ;header", "Privacy: user ;header;id"),
            ("Privacy: header;id",    "Privacy: header;id"),
            ("Privacy: none",         "Privacy: none"),
            ("Privacy: ;;",           "Privacy: id"),
        ];
        for (header, expected) in table {
            let request = message(&format!("{header}\r\n{DATED}"));
            let edits = originating(&request, &Policy::default(), &shy, Millis(0));
            let text = written(&request, &edits).replace(&format!("|{DATED}"), "");
            assert_eq!(text, expected, "{header}");
            let open = Profile::default();
            let edits = originating(&request, &Policy::default(), &open, Millis(0));
            assert!(edits.is_empty(), "{header}");
        }
    }

    // Covers: SEC-013
    #[test]
    fn a_name_that_nobody_asserts_may_go() {
        const BANK: &str = "From: \"Your Bank\" <sip:a@h;x=1>;tag=7";
        let strip = Policy { strip_unverified_display_names: true, ..Policy::default() };
        #[rustfmt::skip]
        let table = [
            (BANK, "P-Asserted-Identity: <sip:a@h>", "From: <sip:a@h;x=1>;tag=7"),
            (BANK, "P-Asserted-Identity: \"Al\" <sip:a@h>", "From: <sip:a@h;x=1>;tag=7"),
            (BANK, "P-Asserted-Identity: <tel:+1>, \"Your Bank\" <sip:a@h>", BANK),
            ("From: Al <sip:a@h>;tag=7", "P-Asserted-Identity: \"Al\" <sip:a@h>",
                "From: Al <sip:a@h>;tag=7"),
            ("From: <sip:a@h>;tag=7", "Subject: x", "From: <sip:a@h>;tag=7"),
        ];
        for (from, other, expected) in table {
            let request = message(&format!("{from}\r\n{other}\r\n{DATED}"));
            let text = written(&request, &passing(&request, &strip, Millis(0)));
            assert_eq!(text, format!("{expected}|{other}|{DATED}"));
            assert!(passing(&request, &Policy::default(), Millis(0)).is_empty());
        }
    }
}

//! `Event`, `Allow-Events` and `Subscription-State` (RFC 6665 §8.4).

use super::params::Params;
use super::token_params::TokenParams;
use super::{Encode, Fault, Sink};

/// An event type: the package with its templates, such as `presence.winfo`. Compared octet by octet
/// (RFC 6665 §8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType<'a> {
    name: &'a str,
    /// `id` and what packages define.
    pub params: Params<'a>,
}

impl<'a> EventType<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let TokenParams { token, params } = TokenParams::read(value)?;
        // token-nodot: no part between dots is empty.
        if token.split('.').any(str::is_empty) {
            return Err(Fault::Syntax);
        }
        Ok(Self { name: token, params })
    }

    fn read_alone(value: &'a [u8]) -> Result<Self, Fault> {
        Self::read(value)
            .and_then(|event| if event.params.is_empty() { Ok(event) } else { Err(Fault::Syntax) })
    }

    /// Package and templates as written.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The package without its templates.
    pub fn package(&self) -> &'a str {
        self.name.split('.').next().unwrap_or_default()
    }

    /// The templates after the package, in order.
    pub fn templates(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.name.split('.').skip(1)
    }

    /// The `id`, which tells apart two subscriptions of one dialog; `None` when absent.
    pub fn id(&self) -> Option<&'a str> {
        self.params.token("id")
    }
}

impl Encode for EventType<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        out.text(self.name);
        self.params.write_to(out);
    }
}

wrap! {
    /// What is subscribed to, notified or published (RFC 6665 §8.2.1).
    Event(EventType = EventType::read);
    /// One event type that is supported (RFC 6665 §8.2.2).
    AllowEvents(EventType = EventType::read_alone), list;
}

/// The state of a subscription, in a NOTIFY (RFC 6665 §8.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionState<'a> {
    value: TokenParams<'a>,
}

/// What `Subscription-State` begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Substate<'a> {
    /// Accepted.
    Active,
    /// Not authorised yet.
    Pending,
    /// Over.
    Terminated,
    /// An extension, treated as active (RFC 6665 §4.1.3).
    Other(&'a str),
}

impl<'a> SubscriptionState<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let value = TokenParams::read(value)?;
        let is_number = |name| {
            let param = value.params.first(name);
            param.is_none_or(|param| param.value.is_some_and(|value| value.number().is_some()))
        };
        if is_number("expires") && is_number("retry-after") {
            Ok(Self { value })
        } else {
            Err(Fault::Parameter)
        }
    }

    /// The state.
    pub fn state(&self) -> Substate<'a> {
        match self.value.token {
            token if token.eq_ignore_ascii_case("active") => Substate::Active,
            token if token.eq_ignore_ascii_case("pending") => Substate::Pending,
            token if token.eq_ignore_ascii_case("terminated") => Substate::Terminated,
            other => Substate::Other(other),
        }
    }

    /// Why the subscription ended: `deactivated`, `probation`, `rejected`, `timeout`, `giveup`,
    /// `noresource`, `invariant` or an extension.
    pub fn reason(&self) -> Option<&'a str> {
        self.value.params.token("reason")
    }

    /// The seconds left; what is over 32 bits counts as the largest number.
    pub fn expires(&self) -> Option<u32> {
        self.seconds("expires")
    }

    /// The seconds to wait before subscribing again.
    pub fn retry_after(&self) -> Option<u32> {
        self.seconds("retry-after")
    }

    fn seconds(&self, name: &str) -> Option<u32> {
        let seconds = self.value.params.value(name)?.number()?;
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }
}

impl Encode for SubscriptionState<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        self.value.write_to(out);
    }
}

header!(SubscriptionState<'a>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    #[test]
    fn parses() {
        accepts!(Event, "presence");
        accepts!(Event, "presence.winfo;id=9");
        accepts!(Event, "registration"); // as a third-party REGISTER carries it
        accepts!(AllowEvents, "conference");
        let event = Event::parse(b"a.b.c;ID=x").unwrap();
        assert_eq!((event.name(), event.package(), event.id()), ("a.b.c", "a", Some("x")));
        assert_eq!(event.templates().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn states() {
        use Substate::{Active, Other, Pending, Terminated};
        #[rustfmt::skip]
        let table = [
            ("active;expires=599", Active, None, Some(599), None), // RFC 3856 §8
            ("Pending;expires=9999999999", Pending, None, Some(u32::MAX), None),
            (
                "terminated;reason=probation;retry-after=60",
                Terminated,
                Some("probation"),
                None,
                Some(60),
            ),
            ("x-new", Other("x-new"), None, None, None),
        ];
        for (text, state, reason, expires, retry) in table {
            let read = SubscriptionState::parse(text.as_bytes()).unwrap();
            assert_eq!((read.state(), read.reason()), (state, reason), "{text}");
            assert_eq!((read.expires(), read.retry_after()), (expires, retry), "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        refuses!(Event, "", Fault::Empty);
        refuses!(Event, "a..b", Fault::Syntax);
        refuses!(Event, ".a", Fault::Syntax);
        refuses!(Event, "a b", Fault::Syntax);
        refuses!(AllowEvents, "a;id=1", Fault::Syntax);
        refuses!(SubscriptionState, "active;expires=soon", Fault::Parameter);
        refuses!(SubscriptionState, "active;retry-after", Fault::Parameter);
        refuses!(SubscriptionState, ";expires=1", Fault::Syntax);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(
            name in "[a-z-]{1,4}(\\.[a-z]{1,3}){0,2}",
            state in "active|pending|terminated|[a-z]{1,5}",
            seconds: u32,
            reason in "[a-z]{1,8}",
        ) {
            let text = format!("{name};id={reason}");
            let event = Event::parse(text.as_bytes()).unwrap();
            prop_assert_eq!((event.name(), event.to_string()), (name.as_str(), text.clone()));
            let text = format!("{state};reason={reason};expires={seconds}");
            let read = SubscriptionState::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(
                (read.expires(), read.reason()),
                (Some(seconds), Some(reason.as_str())),
            );
            prop_assert_eq!(read.to_string(), text);
        }
    }
}

//! Why a message is not kept, and what its sender is answered.

use parlance_isc::Reply;
use parlance_sip::HeaderName;

/// Why a message is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The recipient does not let this sender leave messages.
    #[error("the recipient's rules")]
    Rules,
    /// The recipient wants no messages kept.
    #[error("the recipient's settings")]
    Settings,
    /// The sender wants it delivered now or never.
    #[error("the sender's request")]
    Sender,
    /// Its time was over when it came.
    #[error("expired")]
    Expired,
    /// The operator does not keep messages, or not for this user.
    #[error("switched off")]
    Off,
    /// It is larger than the operator keeps.
    #[error("too large")]
    TooLarge,
    /// The inbox is full.
    #[error("mailbox full")]
    Full,
    /// The store failed.
    #[error("fault")]
    Fault,
}

/// How long a sender is asked to wait when the store failed; local value, in seconds. A disk that
/// is full or a store that is busy may be well again after that.
const RETRY_AFTER_S: u32 = 30;

/// The answer: always 480 (OMA-TS-SIMPLE_IM §7.3.1.4), which an S-CSCF does not take for a fault
/// of the server. What the recipient decided is not told apart from his being away. `host` stands
/// in the Warning (RFC 3261 §20.43).
pub(crate) fn refusal(refusal: Refusal, host: &str) -> Reply {
    let warning = |text: &str| format!("399 {host} \"{text}\"");
    let reply = Reply::new(480);
    match refusal {
        Refusal::Rules | Refusal::Settings | Refusal::Sender | Refusal::Expired | Refusal::Off => {
            reply
        }
        Refusal::TooLarge => reply.with(HeaderName::Warning, warning("message too large to keep")),
        Refusal::Full => reply.with(HeaderName::Warning, warning("mailbox full")),
        Refusal::Fault => reply.with(HeaderName::RetryAfter, RETRY_AFTER_S),
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderName, Refusal, refusal};

    // Covers: DF-003, DF-008, DF-016, CORE-063
    #[test]
    fn every_refusal_is_a_480() {
        let full = "399 ims.test \"mailbox full\"";
        let large = "399 ims.test \"message too large to keep\"";
        #[rustfmt::skip]
        let table = [
            (Refusal::Rules,    None),
            (Refusal::Settings, None),
            (Refusal::Sender,   None),
            (Refusal::Expired,  None),
            (Refusal::Off,      None),
            (Refusal::TooLarge, Some((HeaderName::Warning, large))),
            (Refusal::Full,     Some((HeaderName::Warning, full))),
            (Refusal::Fault,    Some((HeaderName::RetryAfter, "30"))),
        ];
        for (why, header) in table {
            let reply = refusal(why, "ims.test");
            assert_eq!((reply.status, &*reply.reason), (480, "Temporarily Unavailable"));
            let expected: Vec<_> =
                header.map(|(name, text)| (name, text.to_owned())).into_iter().collect();
            assert_eq!(reply.headers, expected, "{why}");
        }
    }
}

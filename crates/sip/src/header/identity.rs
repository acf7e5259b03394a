//! The identities that the core asserts: `P-Asserted-Identity`, `P-Preferred-Identity` (RFC 3325
//! §9) and `P-Called-Party-ID` (RFC 7315 §4.2).

use super::name_addr::NameAddr;

wrap! {
    /// Who the trusted core says the sender is (RFC 3325 §9.1). A message has at most one SIP or
    /// SIPS and one tel value; that is for whoever reads the list to see to.
    PAssertedIdentity(NameAddr = NameAddr::read), list;
    /// Which of its identities the user wants asserted (RFC 3325 §9.2).
    PPreferredIdentity(NameAddr = NameAddr::read), list;
    /// The identity that was called, before the Request-URI became a contact (RFC 7315 §4.2).
    PCalledPartyId(NameAddr = NameAddr::read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::split_list;
    use crate::header::{Fault, Header};

    #[test]
    fn parses() {
        accepts!(PAssertedIdentity, "\"Cullen Jennings\" <sip:fluffy@cisco.com>"); // RFC 3325 §10.1
        accepts!(PAssertedIdentity, "tel:+14085264000", "<tel:+14085264000>");
        accepts!(PPreferredIdentity, "\"Cullen Jennings\" <sip:fluffy@cisco.com>");
        accepts!(PCalledPartyId, "<sip:user1-business@example.com>"); // RFC 7315 §4.2.2
    }

    #[test]
    fn two_identities_on_one_line() {
        let line = b"<sip:alice@ims.test>, <tel:+15550000001>";
        let schemes: Vec<&str> = split_list(line)
            .map(|identity| PAssertedIdentity::parse(identity).unwrap().uri.scheme())
            .collect();
        assert_eq!(schemes, ["sip", "tel"]);
    }

    #[test]
    fn refuses() {
        refuses!(PAssertedIdentity, "", Fault::Empty);
        refuses!(PCalledPartyId, "<sip:a@b.c>, <sip:d@e.f>", Fault::Syntax);
    }
}

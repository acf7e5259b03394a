//! What requests of our own say about charging (RFC 7315 §4.5, §4.6).

use parlance_sip::{HeaderName, RequestBuilder};
use parlance_store::{ChargingAddresses, Registration};

use crate::Cx;

/// Most addresses of a kind in one header (RFC 7315 §5.5).
const ADDRESSES_MAX: usize = 2;

/// The charging headers of a request of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charging {
    /// `P-Charging-Vector`.
    pub vector: String,
    /// `P-Charging-Function-Addresses`; `None`: nobody told any.
    pub addresses: Option<String>,
}

impl Charging {
    /// Of a request for the user of `registration`, or in his name: with [`charging_vector`], and
    /// with the addresses that the third-party REGISTER told (CORE-020).
    ///
    /// The addresses must not leave our network (RFC 7315 §4.5.1): such a request goes to the
    /// S-CSCF of the registration, and without a registration there are none.
    pub fn of(cx: &Cx, registration: Option<&Registration>, operator: Option<&str>) -> Charging {
        let told = registration.and_then(|registration| addresses(&registration.charging));
        Charging { vector: charging_vector(cx, registration, operator), addresses: told }
    }

    /// Writes them.
    pub fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header(HeaderName::PChargingVector, &self.vector);
        match &self.addresses {
            Some(told) => request.header(HeaderName::PChargingFunctionAddresses, told),
            None => request,
        }
    }
}

/// The value of `P-Charging-Vector` for a request of our own: a fresh identifier, since an ICID
/// names one dialog or one transaction, and the operator that the third-party REGISTER of the user
/// it is for told (CORE-020), else `operator`.
pub fn charging_vector(
    cx: &Cx,
    registration: Option<&Registration>,
    operator: Option<&str>,
) -> String {
    text(&format!("{:016x}{:016x}", cx.random(), cx.random()), registration, operator)
}

fn text(icid: &str, registration: Option<&Registration>, operator: Option<&str>) -> String {
    let told = registration.and_then(|registration| registration.orig_ioi.as_deref());
    match told.or(operator).filter(|ioi| !ioi.is_empty()) {
        None => format!("icid-value=\"{icid}\""),
        Some(ioi) => format!("icid-value=\"{icid}\";orig-ioi=\"{}\"", quotable(ioi)),
    }
}

/// The value of `P-Charging-Function-Addresses` (RFC 7315 §5.5); `None` without an address.
fn addresses(told: &ChargingAddresses) -> Option<String> {
    let kind = |names: [&'static str; ADDRESSES_MAX], told: &[String]| {
        let known = told.iter().filter(|address| !address.is_empty());
        let params = names.into_iter().zip(known);
        params.map(|(name, told)| format!("{name}={}", address(told))).collect::<Vec<_>>()
    };
    let params = [kind(["ccf", "ccf-2"], &told.ccf), kind(["ecf", "ecf-2"], &told.ecf)].concat();
    (!params.is_empty()).then(|| params.join(";"))
}

/// A name or IP address as it is, all else between quotation marks (`gen-value`, RFC 3261 §25.1).
fn address(told: &str) -> String {
    let is_host = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    let inner = told.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_ipv6 = inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    match is_ipv6 || told.bytes().all(is_host) {
        true => told.to_owned(),
        false => format!("\"{}\"", quotable(told)),
    }
}

/// What may stand between quotation marks (RFC 3261 §25.1).
fn quotable(text: &str) -> String {
    let shown: String = text.chars().filter(|character| !character.is_control()).collect();
    shown.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use parlance_sip::header::{Header as _, PChargingFunctionAddresses};
    use parlance_store::{ChargingAddresses, Registration};

    use super::{addresses, text};

    // Covers: CORE-020, CORE-037
    #[test]
    fn an_operator_is_named_if_known() {
        let told = |ioi: &str| {
            let registration =
                Registration { orig_ioi: Some(ioi.to_owned()), ..Registration::default() };
            text("1", Some(&registration), Some("ours.test"))
        };
        assert_eq!(text("1", None, None), "icid-value=\"1\"");
        assert_eq!(text("1", None, Some("ours.test")), "icid-value=\"1\";orig-ioi=\"ours.test\"");
        let untold = Registration::default();
        assert_eq!(text("1", Some(&untold), Some("h")), "icid-value=\"1\";orig-ioi=\"h\"");
        assert_eq!(told("h.test"), "icid-value=\"1\";orig-ioi=\"h.test\"");
        assert_eq!(told(""), "icid-value=\"1\"");
        let odd = told("a\"b\r\nX: c\\");
        assert_eq!(odd, "icid-value=\"1\";orig-ioi=\"a\\\"bX: c\\\\\"");
    }
    // Covers: CORE-020
    #[test]
    fn the_functions_are_those_that_were_told() {
        let told = |ccf: &[&str], ecf: &[&str]| {
            let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            addresses(&ChargingAddresses { ccf: list(ccf), ecf: list(ecf) })
        };
        #[rustfmt::skip]
        let table: [(&[&str], &[&str], &str); 5] = [
            (&["192.0.8.1", "192.0.8.2"], &["192.0.8.3", "192.0.8.4"],
                "ccf=192.0.8.1;ccf-2=192.0.8.2;ecf=192.0.8.3;ecf-2=192.0.8.4"), // RFC 7315 §4.5.2.3
            (&[], &["e.test"], "ecf=e.test"),
            (&["[2001:db8::1]"], &[], "ccf=[2001:db8::1]"),
            (&["aaa://c.test:3868"], &[], "ccf=\"aaa://c.test:3868\""),
            (&["one", "", "two", "three"], &["a\"b\r\nX: c\\"],
                "ccf=one;ccf-2=two;ecf=\"a\\\"bX: c\\\\\""),
        ];
        for (ccf, ecf, expected) in table {
            let text = told(ccf, ecf);
            assert_eq!(text.as_deref(), Some(expected));
            assert!(PChargingFunctionAddresses::parse(expected.as_bytes()).is_ok(), "{expected}");
        }
        assert_eq!(told(&[], &[]), None);
        assert_eq!(told(&[""], &[]), None);
    }
}

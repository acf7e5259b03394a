//! `P-Charging-Vector` and `P-Charging-Function-Addresses` (RFC 7315 §4.5, §4.6).

use super::params::{Params, Value};
use super::{Encode, Fault, Sink};

/// What correlates the charging records of one dialog or transaction over all operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PChargingVector<'a> {
    /// The IMS charging identifier.
    pub icid: Value<'a>,
    /// All parameters, the identifier first; unknown ones are passed on.
    pub params: Params<'a>,
}

impl<'a> PChargingVector<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let params = Params::parse_bare(value)?;
        let icid = params.value("icid-value").ok_or(Fault::Missing)?;
        Ok(Self { icid, params })
    }

    /// The host that made the identifier.
    pub fn icid_generated_at(&self) -> Option<Value<'a>> {
        self.params.value("icid-generated-at")
    }

    /// The operator the request comes from.
    pub fn orig_ioi(&self) -> Option<Value<'a>> {
        self.params.value("orig-ioi")
    }

    /// The operator that answers.
    pub fn term_ioi(&self) -> Option<Value<'a>> {
        self.params.value("term-ioi")
    }
}

impl Encode for PChargingVector<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        self.params.write_to(out);
    }
}

header!(PChargingVector<'a>);

/// Where charging records go; an element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PChargingFunctionAddresses<'a> {
    /// `ccf`, `ccf-2`, `ecf`, `ecf-2` and others.
    pub params: Params<'a>,
}

impl<'a> PChargingFunctionAddresses<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        Params::parse_bare(value).map(|params| Self { params })
    }

    /// The addresses of charging collection functions (offline), the first choice first. RFC 3455
    /// repeats `ccf` where RFC 7315 writes `ccf-2`; both are read.
    pub fn ccf(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        self.addresses(["ccf", "ccf-2"])
    }

    /// The addresses of event charging functions (online), the first choice first.
    pub fn ecf(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        self.addresses(["ecf", "ecf-2"])
    }

    fn addresses(&self, names: [&'static str; 2]) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let params = self.params;
        names.into_iter().flat_map(move |name| {
            params.iter().filter(move |param| param.is(name)).filter_map(|param| param.value)
        })
    }
}

impl Encode for PChargingFunctionAddresses<'_> {
    fn write_to<S: Sink>(&self, out: &mut S) {
        self.params.write_to(out);
    }
}

header!(PChargingFunctionAddresses<'a>, list);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::header::Header;

    fn show<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<&'a str> {
        values.filter_map(|value| value.as_str()).collect()
    }

    #[test]
    fn vectors() {
        #[rustfmt::skip]
        let table = [
            ("icid-value=1234bc9876e; icid-generated-at=192.0.6.8; orig-ioi=home1.net",
                "1234bc9876e", Some("home1.net"), None), // RFC 7315 §4.6
            ("icid-value=\"AyretyU0dm+6O2IrT5tAFrbHLso=023551024\";orig-ioi=\"a\";term-ioi=b",
                "AyretyU0dm+6O2IrT5tAFrbHLso=023551024", Some("a"), Some("b")),
            ("orig-ioi=a;ICID-Value=x", "x", Some("a"), None),
        ];
        for (text, icid, orig, term) in table {
            let vector = PChargingVector::parse(text.as_bytes()).unwrap();
            assert_eq!(vector.icid.as_str(), Some(icid), "{text}");
            assert_eq!(vector.orig_ioi().and_then(|value| value.as_str()), orig);
            assert_eq!(vector.term_ioi().and_then(|value| value.as_str()), term);
            assert_eq!(vector.to_string(), text);
        }
        let vector =
            PChargingVector::parse(b"icid-value=x;icid-generated-at=[2001:db8::1]").unwrap();
        assert!(vector.icid_generated_at().is_some_and(|host| host.is("[2001:db8::1]")));
    }

    #[test]
    fn addresses() {
        #[rustfmt::skip]
        let table: [(&str, &[&str], &[&str]); 4] = [
            ("ccf=192.0.8.1; ecf=192.0.8.3", &["192.0.8.1"], &["192.0.8.3"]),
            ("ccf=[5555::b99:c88:d77:e66]; ccf=[5555::a55:b44:c33:d22]; ecf=e.f",
                &["[5555::b99:c88:d77:e66]", "[5555::a55:b44:c33:d22]"], &["e.f"]),
            ("ccf-2=\"aaa://b.net\";ccf=\"aaa://a.net\"", &["aaa://a.net", "aaa://b.net"], &[]),
            ("ecf=aaa://e.net:3868", &[], &["aaa://e.net:3868"]),
        ];
        for (text, ccf, ecf) in table {
            let addresses = PChargingFunctionAddresses::parse(text.as_bytes()).unwrap();
            assert_eq!(
                (show(addresses.ccf()), show(addresses.ecf())),
                (ccf.to_vec(), ecf.to_vec())
            );
            assert_eq!(addresses.to_string(), text);
        }
    }

    #[test]
    fn refuses() {
        refuses!(PChargingVector, "", Fault::Empty);
        refuses!(PChargingVector, "orig-ioi=a", Fault::Missing);
        refuses!(PChargingVector, "icid-value", Fault::Missing);
        refuses!(PChargingVector, "icid-value=x;", Fault::Parameter);
        refuses!(PChargingVector, "icid-value=", Fault::Parameter);
        refuses!(PChargingVector, ";icid-value=x", Fault::Parameter);
        refuses!(PChargingFunctionAddresses, "", Fault::Empty);
        refuses!(PChargingFunctionAddresses, "ccf=\"open", Fault::Parameter);
    }

    proptest! {
        #[test]
        fn display_then_parse_is_identity(icid in "[a-zA-Z0-9+=]{1,16}", ioi in "[a-z.]{1,9}") {
            let text = format!("icid-value=\"{icid}\";orig-ioi={ioi}");
            let vector = PChargingVector::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(vector.icid.as_str(), Some(icid.as_str()));
            prop_assert_eq!(vector.to_string(), text);
        }
    }
}

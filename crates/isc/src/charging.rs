//! The charging identifier of requests of our own (RFC 7315 §4.6).

use parlance_store::Registration;

use crate::Cx;

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

/// What may stand between quotation marks (RFC 3261 §25.1).
fn quotable(text: &str) -> String {
    let shown: String = text.chars().filter(|character| !character.is_control()).collect();
    shown.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use parlance_store::Registration;

    use super::text;

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
}

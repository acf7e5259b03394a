//! The charging identifier of requests of our own (RFC 7315 §4.6).

use parlance_store::Registration;

use crate::Cx;

/// The value of `P-Charging-Vector` for a request of our own to the user of `registration`: a fresh
/// identifier, since an ICID names one dialog or one transaction, and the operator that the
/// third-party REGISTER told, else `operator`.
pub fn charging_vector(cx: &Cx, registration: &Registration, operator: Option<&str>) -> String {
    let told = registration.orig_ioi.as_deref().or(operator);
    text(&cx.tag(), told.filter(|ioi| !ioi.is_empty()))
}

fn text(icid: &str, orig_ioi: Option<&str>) -> String {
    match orig_ioi {
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
    use super::text;

    // Covers: CORE-037
    #[test]
    fn an_operator_is_named_if_known() {
        assert_eq!(text("1", None), "icid-value=\"1\"");
        assert_eq!(text("1", Some("h.test")), "icid-value=\"1\";orig-ioi=\"h.test\"");
        let odd = text("1", Some("a\"b\r\nX: c\\"));
        assert_eq!(odd, "icid-value=\"1\";orig-ioi=\"a\\\"bX: c\\\\\"");
    }
}

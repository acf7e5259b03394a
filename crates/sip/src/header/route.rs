//! `Route`, `Record-Route`, `Path` and `Service-Route`.

use super::name_addr::NameAddr;

wrap! {
    /// One hop the request has still to take (RFC 3261 §20.34).
    Route(NameAddr = NameAddr::read_hop), list;
    /// One hop that wants to see the requests of the dialog (RFC 3261 §20.30).
    RecordRoute(NameAddr = NameAddr::read_hop), list;
    /// One hop between registrar and user agent (RFC 3327 §4).
    Path(NameAddr = NameAddr::read_hop), list;
    /// One hop of the way to the home proxy (RFC 3608 §5).
    ServiceRoute(NameAddr = NameAddr::read_hop), list;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::split_list;
    use crate::header::{Fault, Header};
    use crate::uri::UriError;

    #[test]
    fn parses() {
        accepts!(Route, "<sip:bigbox3.site3.atlanta.com;lr>"); // RFC 3261 §20.34
        accepts!(Route, "<sip:services.example.com;lr;unknownwith=value;unknown-no-value>");
        accepts!(RecordRoute, "<sip:server10.biloxi.com;lr>"); // RFC 3261 §20.30
        // RFC 4028 §9
        accepts!(Route, "sips:p1.atlanta.example.com;lr", "<sips:p1.atlanta.example.com;lr>");
        accepts!(Path, "<sip:P1.EXAMPLEVISITED.COM;lr>"); // RFC 3327 §5.5.1
        accepts!(ServiceRoute, "\"HSP\" <sip:HSP.HOME.EXAMPLE.COM;lr>;x"); // RFC 3608 §6.4.2
    }

    // Covers: CORE-067
    #[test]
    fn a_route_set_keeps_order_octets_and_repetitions() {
        let line =
            b"<sip:im-orig@192.0.2.9:5080;lr>, <sip:iscmark@192.0.2.8:6060;lr;s=2;h=0;d=0;a=7369>,\
            <sip:iscmark@192.0.2.8:6060;lr;s=2;h=0;d=0;a=7369>";
        let routes: Vec<String> =
            split_list(line).map(|hop| Route::parse(hop).unwrap().to_string()).collect();
        assert_eq!(
            routes,
            [
                "<sip:im-orig@192.0.2.9:5080;lr>",
                "<sip:iscmark@192.0.2.8:6060;lr;s=2;h=0;d=0;a=7369>",
                "<sip:iscmark@192.0.2.8:6060;lr;s=2;h=0;d=0;a=7369>",
            ]
        );
        let route = Route::parse(b"<sip:a@b.c;lr>").unwrap();
        assert!(route.uri.as_sip().is_some_and(|uri| uri.is_loose_router()));
    }

    #[test]
    fn refuses() {
        refuses!(Route, "", Fault::Empty);
        refuses!(Route, "sip:services.example.com;lr;", Fault::Parameter);
        refuses!(Route, "sip:services.example.com;lr ;x", Fault::Uri(UriError::Parameter));
        refuses!(Path, "<sip:a@b.c;lr", Fault::Syntax);
    }
}

//! Where requests go that the server originates itself (OMA-TS-SIMPLE_IM §7.3.4, §7.4.4; TS 24.229
//! §5.7.3).

use parlance_sip::ListenerId;
use parlance_sip::locate::TransportParam;
use parlance_sip::uri::{Aor, SipUri, Uri};

use crate::served_user::look_up;
use crate::wire::transport_parameter;
use crate::{Cx, NextHop};

/// Where a request goes: the pre-loaded `Route` and the hop it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// The value of `Route`, if the request needs one.
    pub route: Option<String>,
    /// The next hop.
    pub hop: NextHop,
}

impl Way {
    /// The way to `address`, whose URI is `uri`: to the S-CSCF that registered him here, else
    /// [`Way::onwards`]. `None`: there is none.
    pub async fn to(cx: &Cx, address: &Aor, uri: &str, listener: ListenerId) -> Option<Self> {
        let node = cx.node();
        let found = look_up(&*node.profiles, &*node.registrations, address, cx.now()).await;
        let scscf = found.ok().and_then(|found| Some(found.registration()?.scscf.clone()));
        let known = scscf.and_then(|scscf| Self::to_scscf(&scscf, listener));
        known.or_else(|| Self::onwards(cx, uri, listener))
    }

    /// The way of a request in the name of `user`, one of ours, to `uri`: to his S-CSCF, or else to
    /// the next hop of the server, which treat it as his own (`orig`, TS 24.229 §5.7.3). Without
    /// either it goes where `uri` says. `None`: there is none.
    pub async fn for_user(cx: &Cx, user: &Aor, uri: &str, listener: ListenerId) -> Option<Self> {
        let way = Self::to(cx, user, uri, listener).await?;
        let route = way.route.map(|route| format!("{};orig>", route.trim_end_matches('>')));
        Some(Self { route, ..way })
    }

    /// To the S-CSCF whose `Contact` a registration told, towards its user: never with `orig`.
    /// `None` when what it told is no SIP URI.
    pub fn to_scscf(scscf: &str, listener: ListenerId) -> Option<Self> {
        let uri = Uri::parse(scscf.trim_matches(['<', '>']).as_bytes()).ok()?;
        let hop = NextHop::of(&uri, listener)?;
        Some(Self { route: Some(route(uri.as_sip()?)), hop })
    }

    /// To the next hop of the server, the I-CSCF or transit; without one to where `to` says.
    pub fn onwards(cx: &Cx, to: &str, listener: ListenerId) -> Option<Self> {
        match &cx.node().next_hop {
            Some(next) => {
                let hop = NextHop { listener, ..next.clone() };
                Some(Self { route: Some(route_of(&hop)), hop })
            }
            None => {
                let hop = NextHop::of(&Uri::parse(to.as_bytes()).ok()?, listener)?;
                Some(Self { route: None, hop })
            }
        }
    }
}

/// A pre-loaded Route: loose, and on the terminating side.
fn route(uri: &SipUri<'_>) -> String {
    format!("<{};lr>", uri.without(&["orig", "lr"]))
}

fn route_of(hop: &NextHop) -> String {
    let place = &hop.place;
    let scheme = if place.sips { "sips" } else { "sip" };
    let transport = match place.transport {
        TransportParam::Known(transport) => transport_parameter(transport),
        TransportParam::Absent | TransportParam::Unknown => "",
    };
    format!("<{scheme}:{place}{transport};lr>")
}

#[cfg(test)]
mod tests {
    use parlance_sip::uri::Uri;
    use parlance_sip::{ListenerId, Transport};

    use super::{NextHop, TransportParam, Way, route_of};

    // Covers: CF-070
    #[test]
    fn a_way_is_loose_and_never_originating() {
        let way = Way::to_scscf("<sip:scscf@10.0.0.1:6060;orig;transport=tcp;lr>", ListenerId(1));
        let way = way.unwrap();
        assert_eq!(way.route.as_deref(), Some("<sip:scscf@10.0.0.1:6060;transport=tcp;lr>"));
        let place = &way.hop.place;
        assert_eq!(
            (place.port, place.transport),
            (Some(6060), TransportParam::Known(Transport::Tcp))
        );
        assert_eq!(Way::to_scscf("tel:+1", ListenerId(0)), None);
        let uri = Uri::parse(b"sip:[2001:db8::1]:5070;transport=tls").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        assert_eq!(route_of(&hop), "<sip:[2001:db8::1]:5070;transport=tls;lr>");
    }

    // Covers: CORE-037
    #[test]
    fn the_way_leads_towards_the_user() {
        #[rustfmt::skip]
        let table = [
            ("sip:127.0.0.13:6060",               "<sip:127.0.0.13:6060;lr>"),
            ("sip:s@scscf.ims.test;lr;orig",      "<sip:s@scscf.ims.test;lr>"),
            ("sip:[2001:db8::1];transport=tcp",   "<sip:[2001:db8::1];transport=tcp;lr>"),
            ("sips:scscf.ims.test;x=1;y?Subject=z", "<sips:scscf.ims.test;x=1;y;lr>"),
        ];
        for (scscf, route) in table {
            let way = Way::to_scscf(scscf, ListenerId(3)).unwrap();
            assert_eq!(way.route.as_deref(), Some(route));
            assert_eq!(way.hop.listener, ListenerId(3));
        }
        assert_eq!(Way::to_scscf("tel:+1", ListenerId(0)), None);
        assert_eq!(Way::to_scscf("", ListenerId(0)), None);
        for text in ["sip:10.0.0.1:5070", "sip:[2001:db8::1];transport=tcp", "sips:h.test"] {
            let hop = NextHop::of(&Uri::parse(text.as_bytes()).unwrap(), ListenerId(0)).unwrap();
            assert_eq!(route_of(&hop), format!("<{text};lr>"));
        }
    }
}

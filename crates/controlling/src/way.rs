//! Where the requests go that this function originates (OMA-TS-SIMPLE_IM §7.4.4; TS 24.229
//! §5.7.3).

use parlance_isc::served_user::look_up;
use parlance_isc::{Cx, NextHop};
use parlance_sip::ListenerId;
use parlance_sip::uri::{Aor, SipUri, Uri};

/// A first hop, and the Route that leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The value of `Route`, if the request needs one.
    pub(crate) route: Option<String>,
    /// The next hop.
    pub(crate) hop: NextHop,
}

impl Way {
    /// The way to `address`, whose URI is `uri`: to the S-CSCF that registered him here, else to
    /// the next hop of the server, else to where the URI says. `None`: there is none.
    pub(crate) async fn to(
        cx: &Cx,
        address: &Aor,
        uri: &str,
        listener: ListenerId,
    ) -> Option<Self> {
        let node = cx.node();
        let found = look_up(&*node.profiles, &*node.registrations, address, cx.now()).await;
        let scscf = found.ok().and_then(|found| Some(found.registration()?.scscf.clone()));
        if let Some(way) = scscf.and_then(|scscf| Self::to_scscf(&scscf, listener)) {
            return Some(way);
        }
        match &node.next_hop {
            Some(next) => {
                let hop = NextHop { listener, ..next.clone() };
                Some(Self { route: Some(route_of(&hop)), hop })
            }
            None => {
                let hop = NextHop::of(&Uri::parse(uri.as_bytes()).ok()?, listener)?;
                Some(Self { route: None, hop })
            }
        }
    }

    /// To the S-CSCF whose `Contact` a registration told, towards its user: never with `orig`.
    fn to_scscf(scscf: &str, listener: ListenerId) -> Option<Self> {
        let uri = Uri::parse(scscf.trim_matches(['<', '>']).as_bytes()).ok()?;
        let hop = NextHop::of(&uri, listener)?;
        Some(Self { route: Some(route(uri.as_sip()?)), hop })
    }
}

fn route(uri: &SipUri<'_>) -> String {
    let user = uri.user.map(|user| format!("{user}@")).unwrap_or_default();
    let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut text = format!("<{}:{user}{}{port}", uri.scheme(), uri.host.as_str());
    for (name, value) in uri.params.iter() {
        if name.eq_ignore_ascii_case("orig") || name.eq_ignore_ascii_case("lr") {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text.push_str(";lr>");
    text
}

fn route_of(hop: &NextHop) -> String {
    let scheme = if hop.secure { "sips" } else { "sip" };
    let host = if hop.host.contains(':') { format!("[{}]", hop.host) } else { hop.host.clone() };
    let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = hop.transport.map(|it| format!(";transport={}", it.token().to_lowercase()));
    format!("<{scheme}:{host}{port}{};lr>", transport.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use parlance_isc::NextHop;
    use parlance_sip::uri::Uri;
    use parlance_sip::{ListenerId, Transport};

    use super::{Way, route_of};

    // Covers: CF-070
    #[test]
    fn a_way_is_loose_and_never_originating() {
        let way = Way::to_scscf("<sip:scscf@10.0.0.1:6060;orig;transport=tcp;lr>", ListenerId(1));
        let way = way.unwrap();
        assert_eq!(way.route.as_deref(), Some("<sip:scscf@10.0.0.1:6060;transport=tcp;lr>"));
        assert_eq!((way.hop.port, way.hop.transport), (Some(6060), Some(Transport::Tcp)));
        assert_eq!(Way::to_scscf("tel:+1", ListenerId(0)), None);
        let uri = Uri::parse(b"sip:[2001:db8::1]:5070;transport=tls").unwrap();
        let hop = NextHop::of(&uri, ListenerId(0)).unwrap();
        assert_eq!(route_of(&hop), "<sip:[2001:db8::1]:5070;transport=tls;lr>");
    }
}

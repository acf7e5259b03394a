//! `parlance ifc`: the filter criteria for the HSS (TS 29.228 Annex E).

use clap::{Args, ValueEnum};
use parlance_isc::ifc::{Addresses, ServiceIdentity, render_services, render_user};
use parlance_sip::uri::Uri;

use crate::config::{Config, Side};
use crate::sockets;

/// Which criteria, for which addresses.
#[derive(Args, Clone, Debug)]
pub(super) struct IfcArgs {
    /// Where the S-CSCF sends what served users send; else from the configuration.
    #[arg(long, value_name = "URI")]
    originating: Option<String>,
    /// Where it sends what served users get.
    #[arg(long, value_name = "URI")]
    terminating: Option<String>,
    /// Where it sends third-party REGISTERs.
    #[arg(long, value_name = "URI")]
    registration: Option<String>,
    /// The transport written into addresses that come from the configuration. Over UDP a slow
    /// client outlasts the patience of an S-CSCF (RFC 4320 §4.1).
    #[arg(long, value_enum, default_value_t = TransportArg::Tcp)]
    transport: TransportArg,
    /// A public identity of the user; may be repeated.
    #[arg(long = "identity", value_name = "URI")]
    identities: Vec<String>,
    /// Prints the profiles of the service identities of the configuration instead of a user's. A
    /// group whose identity does not begin with `controlling.group_prefix` needs one of its own.
    #[arg(long, conflicts_with = "identities")]
    services: bool,
}

/// A transport an S-CSCF may be told to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TransportArg {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl IfcArgs {
    /// The XML document.
    ///
    /// # Errors
    /// An address that is no SIP URI.
    pub(super) fn render(&self, config: &Config) -> Result<String, String> {
        let addresses = self.addresses(config)?;
        let domain = config.sip.domains.first().map_or("ims.test", String::as_str);
        if self.services {
            return Ok(render_services(&addresses, &identities(config)));
        }
        let example = format!("sip:alice@{domain}");
        let mut identities: Vec<&str> = self.identities.iter().map(String::as_str).collect();
        if identities.is_empty() {
            identities.push(&example);
        }
        Ok(render_user(&addresses, &identities))
    }

    fn addresses(&self, config: &Config) -> Result<Addresses, String> {
        let transport = match self.transport {
            TransportArg::Tcp => "tcp",
            TransportArg::Udp => "udp",
        };
        let of = |given: &Option<String>, side: Side, user: &str| match given {
            Some(text) => match Uri::parse(text.as_bytes()) {
                Ok(Uri::Sip(_)) => Ok(text.clone()),
                _ => Err(format!("{text:?} is no SIP URI")),
            },
            None => {
                let place = sockets::named(&config.sip, side);
                Ok(format!("sip:{user}@{place};transport={transport}"))
            }
        };
        Ok(Addresses {
            originating: of(&self.originating, Side::Originating, "im-orig")?,
            terminating: of(&self.terminating, Side::Terminating, "im-term")?,
            registration: of(&self.registration, Side::Registration, "im-reg")?,
            settings_event: config.settings.event.clone(),
        })
    }
}

/// What the server hosts, as public service identities.
fn identities(config: &Config) -> Vec<ServiceIdentity> {
    let sip = &config.sip;
    let distinct = [
        config.controlling.factory(sip),
        config.explode.identity(sip),
        config.history.identity(sip),
        config.deferred.identity(sip),
        config.participating.pre_established_uri(sip),
    ];
    let prefix = &config.controlling.group_prefix;
    let group = |domain: &String| format!("sip:{prefix}!.*!@{domain}");
    let groups = sip.domains.iter().map(group);
    let distinct = distinct.into_iter().map(ServiceIdentity::Distinct);
    distinct.chain(groups.map(ServiceIdentity::Wildcarded)).collect()
}

#[cfg(test)]
mod tests {
    use parlance_isc::ifc::profiles;

    use super::{IfcArgs, TransportArg};
    use crate::config::Config;

    fn args() -> IfcArgs {
        IfcArgs {
            originating: None,
            terminating: None,
            registration: None,
            transport: TransportArg::Tcp,
            identities: Vec::new(),
            services: false,
        }
    }

    fn servers(args: &IfcArgs, config: &Config) -> Vec<String> {
        let profile = profiles(&args.render(config).unwrap()).unwrap().remove(0);
        let names = profile.criteria.iter().map(|ifc| ifc.application_server.server_name.clone());
        names.collect()
    }

    // Covers: CORE-029
    #[test]
    fn the_criteria_name_the_listeners() {
        let (config, _) = Config::parse(
            "[sip]\nnames = [\"im.h.test\"]\n[[sip.listen]]\naddress = \"0.0.0.0:5080\"\n\
             side = \"originating\"\nadvertise = \"as.h.test\"\n[[sip.listen]]\n\
             address = \"192.0.2.1:5081\"\nside = \"terminating\"\n[[sip.listen]]\n\
             address = \"[2001:db8::1]:5082\"\nside = \"registration\"\n",
            std::iter::empty(),
        );
        let found = servers(&args(), &config);
        let has = |name: &str| found.iter().any(|found| found == name);
        assert!(has("sip:im-orig@as.h.test:5080;transport=tcp"), "{found:?}");
        assert!(has("sip:im-term@192.0.2.1:5081;transport=tcp"), "{found:?}");
        assert!(has("sip:im-reg@[2001:db8::1]:5082;transport=tcp"), "{found:?}");

        let udp = IfcArgs { transport: TransportArg::Udp, ..args() };
        let found = servers(&udp, &Config::default());
        assert!(found.contains(&"sip:im-reg@127.0.0.1:5060;transport=udp".to_owned()), "{found:?}");
    }

    // Covers: CLI-006
    #[test]
    fn the_criteria_name_the_event_of_the_settings() {
        let (config, _) =
            Config::parse("[settings]\nevent = \"my.settings\"\n", std::iter::empty());
        let text = args().render(&config).unwrap();
        assert!(text.contains(r"^my\.settings([ ;]|$)"), "{text}");
        assert!(text.contains("<Method>PUBLISH</Method>"), "{text}");
    }

    // Covers: CORE-066
    #[test]
    fn the_services_are_those_of_the_configuration() {
        let (config, _) = Config::parse(
            "[sip]\ndomains = [\"h.test\", \"i.test\"]\n[controlling]\n\
             factory = \"sip:meet@h.test\"\ngroup_prefix = \"g-\"\n[deferred]\n\
             service_uri = \"sip:box@h.test\"\n",
            std::iter::empty(),
        );
        let services = IfcArgs { services: true, ..args() };
        let found = profiles(&services.render(&config).unwrap()).unwrap();
        let found: Vec<_> = found.into_iter().flat_map(|found| found.public_identities).collect();
        let of = ["meet", "im-exploder", "im-history", "box", "im-session", "g-0"];
        let of = of.map(|user| format!("sip:{user}@h.test"));
        assert_eq!(found, [&of[..], &["sip:g-0@i.test".to_owned()]].concat());
    }

    /// What is shipped is what is printed for the documented addresses.
    #[test]
    fn the_shipped_services_are_those_of_the_defaults() {
        let shipped = include_str!("../../../../ifc/service-identities.xml");
        let (config, _) = Config::parse(
            "[sip]\ndomains = [\"ims.test\"]\nnames = [\"im.ims.test\"]\n",
            std::iter::empty(),
        );
        let given = IfcArgs {
            terminating: Some("sip:im-term@im.ims.test:5081;transport=tcp".to_owned()),
            services: true,
            ..args()
        };
        assert_eq!(given.render(&config).unwrap(), shipped);
    }

    #[test]
    fn given_addresses_and_identities_are_taken_as_they_are() {
        let given = IfcArgs {
            originating: Some("sip:a@h:1".to_owned()),
            identities: vec!["sip:x@y".to_owned(), "tel:+1".to_owned()],
            ..args()
        };
        let text = given.render(&Config::default()).unwrap();
        let profile = profiles(&text).unwrap().remove(0);
        assert_eq!(profile.public_identities, ["sip:x@y", "tel:+1"]);
        assert!(servers(&given, &Config::default()).contains(&"sip:a@h:1".to_owned()));
        let wrong = IfcArgs { originating: Some("http://h".to_owned()), ..args() };
        assert!(wrong.render(&Config::default()).is_err());
        let services = IfcArgs { services: true, ..args() };
        assert!(profiles(&services.render(&Config::default()).unwrap()).unwrap().len() > 1);
    }
}

//! The core and the users around the server, at real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parlance_lab::core::{Core, CoreConfig, SHIPPED_CRITERIA, Subscription};
use parlance_lab::network::{self, Streams};
use parlance_lab::ue::{Ue, UeConfig};
use tokio::time::sleep;

use crate::server::Server;

/// How many users there are.
const USERS: usize = 48;

/// Everybody.
pub(crate) struct Cast {
    pub(crate) core: Core,
    users: Vec<Ue>,
}

impl Cast {
    /// The core and its users, all of them registered; the first three are the team.
    pub(crate) async fn register(server: &Server) -> Self {
        let link = network::udp(server.core).await.expect("the port is free");
        let core = Core::start(link, configuration(server)).expect("the criteria are some");
        let mut users = Vec::new();
        for number in 0..USERS {
            let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let link = network::udp(here).await.expect("there are ports");
            let identity = identity(number);
            core.subscribe(Subscription {
                identity: identity.clone(),
                aliases: Vec::new(),
                addresses: vec![link.outlet().local()],
            });
            let seed = u64::try_from(number).expect("there are not so many") + 1;
            let ue = Ue::start(link, UeConfig { identity, core: server.core, seed });
            let ue = ue.with_msrp(Streams::Real(Ipv4Addr::LOCALHOST.into()));
            users.push(ue.expect("there are ports"));
        }
        let cast = Self { core, users };
        for ue in cast.ues() {
            assert_eq!(ue.register().await.status, 200, "{ue:?} registers");
        }
        cast
    }

    /// All users.
    pub(crate) fn ues(&self) -> impl Iterator<Item = &Ue> {
        self.users.iter()
    }

    /// `COUNT` users, from number `first` on.
    pub(crate) fn some<const COUNT: usize>(&self, first: usize) -> [Ue; COUNT] {
        std::array::from_fn(|place| self.users[first + place].clone())
    }

    /// Everybody leaves what is left of sessions.
    pub(crate) async fn leave(&self) {
        for ue in self.ues() {
            for chat in ue.chats() {
                // 481: it has ended in this moment.
                chat.leave().await;
            }
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The identity of a user by number.
fn identity(number: usize) -> String {
    match number {
        0 => "sip:alice@ims.test".to_owned(),
        1 => "sip:bob@ims.test".to_owned(),
        2 => "sip:carol@ims.test".to_owned(),
        _ => format!("sip:user{number:02}@ims.test"),
    }
}

/// The documented ports in the criteria lead to those of the server.
fn configuration(server: &Server) -> CoreConfig {
    let mut config = CoreConfig {
        criteria: SHIPPED_CRITERIA.replace(";transport=tcp", ""),
        services_at: "sip:im-term@im.ims.test:5081".to_owned(),
        ..CoreConfig::default()
    };
    config.names.insert("im.ims.test".to_owned(), Ipv4Addr::LOCALHOST.into());
    for (documented, address) in [5080, 5081, 5082].into_iter().zip(server.sip) {
        config.ports.insert(documented, address.port());
    }
    config
}

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use parlance_isc::{Clock, Locals, Lookup, Media, NextHop, ShardInput, Socket, Targets, Wire};
use parlance_sip::message::Limits;
use parlance_sip::{ClientKey, ListenerId, Message, Source, Target, Transport};
use parlance_store::Store;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::{Assembly, Parts};
use crate::config::Config;
use crate::sockets;

/// A network that remembers what was sent.
#[derive(Default)]
struct Sent(RefCell<Vec<Bytes>>);

impl Wire for Sent {
    fn transmit(&self, _: &Target, bytes: Bytes, _: Option<ClientKey>) -> bool {
        self.0.borrow_mut().push(bytes);
        true
    }

    fn lookup(&self, _: &NextHop) -> Lookup {
        Box::pin(std::future::ready(Targets::new()))
    }
}

fn parts(config: &Config, queues: Vec<mpsc::Sender<ShardInput>>) -> Parts {
    let plans = sockets::plan(&config.sip);
    let addresses: Vec<_> = plans.iter().map(|plan| plan.listener.address).collect();
    Parts {
        locals: sockets::locals(&plans, &addresses),
        plans,
        media: Media::none(),
        store: Store::memory(),
        clock: Clock::new(UNIX_EPOCH + Duration::from_secs(1_790_000_000)),
        secret: [1; 32],
        holder: 7,
        nonce_seed: [2; 32],
        queues,
    }
}

fn options(to: &str, remote: &str) -> ShardInput {
    let text = format!(
        "OPTIONS {to} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.9;branch=z9hG4bK1\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@ims.test>;tag=1\r\nTo: <sip:127.0.0.1>\r\n\
         Call-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let message = Message::parse_datagram(Bytes::from(text), &Limits::default());
    let source = Source {
        transport: Transport::Udp,
        remote: remote.parse().unwrap(),
        listener: ListenerId(0),
        connection: None,
        verified: false,
    };
    let at = tokio::time::Instant::now().into_std();
    ShardInput::Received { at, source, peer_names: [].into(), message }
}

/// The status of what is answered to an OPTIONS from `remote`, by a server without sockets.
async fn answered(assembly: &Assembly, queue: mpsc::Receiver<ShardInput>, remote: &str) -> String {
    asked(assembly, queue, "sip:127.0.0.1:5060", remote).await
}

async fn asked(
    assembly: &Assembly,
    queue: mpsc::Receiver<ShardInput>,
    to: &str,
    remote: &str,
) -> String {
    let sent = Rc::new(Sent::default());
    let shard = assembly.shard(0, Rc::clone(&sent) as Rc<dyn Wire>, Box::new(|| 4_u64));
    assembly.node().shards[0].try_send(options(to, remote)).unwrap();
    let running = tokio::task::spawn_local(shard.run(queue));
    while sent.0.borrow().is_empty() {
        tokio::task::yield_now().await;
    }
    running.abort();
    let first = sent.0.borrow()[0].clone();
    String::from_utf8_lossy(&first[..11]).into_owned()
}

#[tokio::test]
async fn it_runs_over_any_network_and_store() {
    for (remote, status) in [("127.0.0.9:5060", "SIP/2.0 200"), ("192.0.2.1:5060", "SIP/2.0 403")] {
        let run = async {
            let (queue, received) = mpsc::channel(8);
            let config = Config::default();
            let assembly = Assembly::new(&config, parts(&config, vec![queue])).unwrap();
            assert_eq!(answered(&assembly, received, remote).await, status, "{remote}");
        };
        LocalSet::new().run_until(run).await;
    }
}

#[tokio::test]
async fn who_is_trusted_is_reloaded() {
    let run = async {
        let (queue, received) = mpsc::channel(8);
        let config = Config::default();
        let assembly = Assembly::new(&config, parts(&config, vec![queue])).unwrap();
        let text = "[[sip.peer]]\nname = \"a\"\nnetworks = [\"192.0.2.0/24\"]\n";
        let (mut config, _) = Config::parse(text, std::iter::empty());
        assembly.reload(&config, [3; 32]).unwrap();
        assert_eq!(answered(&assembly, received, "192.0.2.1:5060").await, "SIP/2.0 200");
        config.sip.filter_file = Some("/none".into());
        assert!(assembly.reload(&config, [3; 32]).is_err());
    };
    LocalSet::new().run_until(run).await;
}

/// The groups that are shipped as an example are served, and nothing of conferences when they are
/// off.
#[tokio::test]
async fn conferences_are_served_unless_they_are_off() {
    let groups = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/groups");
    #[rustfmt::skip]
    let table = [
        ("sip:im-conf-factory@ims.test",        true,  "SIP/2.0 200"),
        ("sip:im-conf-factory@ims.test",        false, "SIP/2.0 480"),
        ("sip:im-group-chess@ims.test",         true,  "SIP/2.0 200"),
        ("sip:im-sess-0@127.0.0.1",             true,  "SIP/2.0 404"),
        ("sip:im-sess-0@127.0.0.1",             false, "SIP/2.0 200"),
    ];
    for (to, enabled, status) in table {
        let run = async {
            let (queue, received) = mpsc::channel(8);
            let mut config = Config::default();
            config.controlling.enabled = enabled;
            config.controlling.groups = Some(groups.into());
            let assembly = Assembly::new(&config, parts(&config, vec![queue])).unwrap();
            let found = assembly.conferences.as_ref().map(|it| it.groups().identities());
            let chess = || "sip:im-group-chess@ims.test".parse().unwrap();
            assert_eq!(found, enabled.then(|| vec![chess()]));
            assembly.reload(&config, [3; 32]).unwrap();
            assert_eq!(asked(&assembly, received, to, "127.0.0.9:5060").await, status, "{to}");
        };
        LocalSet::new().run_until(run).await;
    }
}

/// The identities that the shipped criteria route here are no users.
// Covers: ROLE-007
#[tokio::test]
async fn what_is_shipped_as_a_service_is_one() {
    #[rustfmt::skip]
    let table = [
        ("sip:im-deferred@ims.test", "SIP/2.0 200"),
        ("sip:im-session@ims.test",  "SIP/2.0 200"),
        ("sip:im-history@ims.test",  "SIP/2.0 404"),
    ];
    for (to, status) in table {
        let run = async {
            let (queue, received) = mpsc::channel(8);
            let mut config = Config::default();
            config.participating.pre_established = true;
            let assembly = Assembly::new(&config, parts(&config, vec![queue])).unwrap();
            assert_eq!(asked(&assembly, received, to, "127.0.0.9:5060").await, status, "{to}");
        };
        LocalSet::new().run_until(run).await;
    }
}

#[test]
fn the_next_hop_leaves_from_a_listener_of_its_transport() {
    let local = |id, transport| Socket {
        id: ListenerId(id),
        transport,
        sent_by: "127.0.0.1:5060".to_owned(),
    };
    let locals = Locals(vec![local(0, Transport::Udp), local(1, Transport::Tcp)]);
    let of = |text: &str| {
        let mut config = Config::default();
        config.sip.next_hop = Some(text.to_owned());
        super::next_hop(&config, &locals).unwrap().listener
    };
    assert_eq!(of("sip:h;lr"), ListenerId(0));
    assert_eq!(of("sip:h;lr;transport=tcp"), ListenerId(1));
}

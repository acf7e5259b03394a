//! Rooms over real sockets: what one participant does is no concern of the others.

use parlance_msrp::switch::{LegConfig, RoomConfig, SwitchConfig};
use parlance_msrp::{FromRule, LocalAddress, Path, Scheme};
use parlance_net::msrp::{AtCore, Msrp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{PATIENCE, address, connect, response, start};

const ROOM: &str = "sip:room@im.test";

/// One participant: our URI and its own.
struct Leg {
    uri: String,
    own: String,
}

fn leg(at: &mut AtCore<'_>, room: parlance_msrp::switch::RoomId, port: u16, number: usize) -> Leg {
    let local =
        LocalAddress { scheme: Scheme::Msrp, host: "127.0.0.1".into(), port, transport: "tcp" };
    let config = LegConfig::new(&format!("sip:p{number}@im.test"));
    let session = at.node.add_leg(at.now, room, &local, &config).unwrap();
    let own = format!("msrp://127.0.0.1:9/participant{number};tcp");
    at.node.set_peer(at.now, session, Path::new(own.as_bytes()), FromRule::Whole, &[]);
    let uri = String::from_utf8(at.node.uri(session).unwrap().as_bytes().to_vec()).unwrap();
    Leg { uri, own }
}

async fn room(msrp: &Msrp, size: usize, queue_octets_max: usize) -> Vec<Leg> {
    let port = address(msrp).port();
    let opened = msrp.run(1, move |at| {
        at.node.set_switch(SwitchConfig { queue_octets_max, ..SwitchConfig::default() });
        let policy = RoomConfig { welcome: false, ..RoomConfig::new(vec![ROOM.to_owned()]) };
        let room = at.node.open_room(at.now, policy).unwrap();
        (0..size).map(|number| leg(at, room, port, number)).collect()
    });
    opened.await.unwrap()
}

fn request(leg: &Leg, id: &str, rest: &str) -> String {
    let Leg { uri, own } = leg;
    format!(
        "MSRP {id} SEND\r\nTo-Path: {uri}\r\nFrom-Path: {own}\r\nMessage-ID: m-{id}\r\n\
         {rest}-------{id}$\r\n"
    )
}

/// A message to the room of as many octets of text.
fn message(leg: &Leg, id: &str, from: usize, octets: usize) -> String {
    let body = format!(
        "To: <{ROOM}>\r\nFrom: <sip:p{from}@im.test>\r\n\r\n\
         Content-Type: text/plain\r\n\r\n{}{id}",
        "x".repeat(octets)
    );
    let length = body.len();
    let head = format!("Byte-Range: 1-{length}/{length}\r\nContent-Type: message/cpim\r\n\r\n");
    request(leg, id, &format!("{head}{body}\r\n"))
}

async fn join(msrp: &Msrp, leg: &Leg) -> TcpStream {
    let mut stream = connect(msrp).await;
    stream.write_all(request(leg, "bind1234", "").as_bytes()).await.unwrap();
    response(&mut stream, "bind1234").await;
    stream
}

// Covers: MSRP-070
#[tokio::test]
async fn one_that_does_not_read_holds_nobody_up() {
    let msrp = start(|_| ());
    let legs = room(&msrp, 3, 100_000).await;
    let mut sender = join(&msrp, &legs[0]).await;
    let mut reader = join(&msrp, &legs[1]).await;
    // It never reads again; what is between us takes a few megabytes at most.
    let _silent = join(&msrp, &legs[2]).await;
    for number in 0..400 {
        let id = format!("m{number:07}");
        sender.write_all(message(&legs[0], &id, 0, 50_000).as_bytes()).await.unwrap();
        assert!(response(&mut sender, &id).await.contains(" 200 "));
        let wanted = format!("x{id}\r\n-------");
        let mut read = Vec::new();
        let mut octets = vec![0; 65_536];
        while !read.ends_with(b"$\r\n") || !String::from_utf8_lossy(&read).contains(&wanted) {
            let count = timeout(PATIENCE, reader.read(&mut octets)).await.expect("it comes");
            read.extend_from_slice(&octets[..count.unwrap()]);
        }
    }
}

//! RFC 7977.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use parlance_net::msrp::Msrp;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::support::{address, send, session_of, settle, start};

/// Opens a WebSocket with these subprotocols, from a thread of its own.
fn open(msrp: &Msrp, offered: &str) -> Result<WebSocket<TcpStream>, String> {
    let to = address(msrp);
    let mut request = format!("ws://{to}/").into_client_request().unwrap();
    if !offered.is_empty() {
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered.parse().unwrap());
    }
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (socket, response) =
        tungstenite::client::client(request, stream).map_err(|error| error.to_string())?;
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "msrp");
    Ok(socket)
}

fn websocket() -> Msrp {
    start(|config| config.listeners[0].websocket = true)
}

// Covers: MSRP-021, MSRP-095
#[tokio::test(flavor = "multi_thread")]
async fn each_message_has_a_websocket_message_of_its_own() {
    let msrp = websocket();
    let mut socket = open(&msrp, "soap, msrp").unwrap();
    // Three requests in one text message and in binary pieces: all of it is octets.
    let three = ["aaaa1234", "bbbb1234", "cccc1234"].map(|id| send(id, &session_of(1), 5)).concat();
    socket.send(Message::text(String::from_utf8(three).unwrap())).unwrap();
    for piece in send("dddd1234", &session_of(0), 5).chunks(50) {
        socket.send(Message::binary(piece.to_vec())).unwrap();
    }
    let mut answered = Vec::new();
    for _ in 0..4 {
        let message = socket.read().unwrap();
        let text = message.to_text().unwrap();
        assert_eq!(text.matches("MSRP ").count(), 1, "{text}");
        answered.push(text.split(' ').nth(1).unwrap().to_owned());
        assert!(text.ends_with(&format!("-------{}$\r\n", answered.last().unwrap())), "{text}");
    }
    answered.sort();
    assert_eq!(answered, ["aaaa1234", "bbbb1234", "cccc1234", "dddd1234"]);
    socket.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there".into()));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    settle(&msrp, 0).await;
}

// Covers: MSRP-021
#[tokio::test(flavor = "multi_thread")]
async fn another_subprotocol_is_refused() {
    let msrp = websocket();
    for offered in ["", "soap", "msrp2"] {
        let error = open(&msrp, offered).unwrap_err();
        assert!(error.contains("400"), "{offered:?}: {error}");
    }
    settle(&msrp, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_ends_the_connection() {
    let msrp = start(|config| {
        config.listeners[0].websocket = true;
        config.limits.websocket_octets_max = 10_000;
    });
    let mut socket = open(&msrp, "msrp").unwrap();
    let _ = socket.send(Message::binary(vec![b'x'; 10_001]));
    while socket.read().is_ok() {}
    settle(&msrp, 0).await;
}

// Covers: MSRP-095
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_one_octet_at_a_time_is_not_waited_for() {
    let msrp = start(|config| {
        config.listeners[0].websocket = true;
        config.limits.body_timeout = Duration::from_millis(200);
    });
    let mut socket = open(&msrp, "msrp").unwrap();
    socket.send(Message::binary(send("aaaa1234", &session_of(0), 5))).unwrap();
    socket.read().unwrap();
    let stream = socket.get_mut();
    // A binary message of 65,536 octets, masked with zeros.
    stream.write_all(&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
    let began = tokio::time::Instant::now();
    while msrp.connections() > 0 {
        assert!(began.elapsed() < Duration::from_secs(2));
        let _ = stream.write_all(b"M");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

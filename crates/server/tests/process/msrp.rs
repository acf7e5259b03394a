//! MSRP as an operator runs it: with SIP and without.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{PATIENCE, Place, parlance, text};

/// A process that prints a line of JSON once it listens; killed when dropped.
struct Printed {
    child: Child,
    said: Value,
}

impl Printed {
    fn start(arguments: &[&str]) -> Self {
        let mut child = parlance(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { said: serde_json::from_str(&line).unwrap(), child }
    }

    fn end(mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client at one leg.
struct Leg {
    stream: TcpStream,
    uri: String,
    peer: String,
    read: String,
}

impl Leg {
    fn new(leg: &Value) -> Self {
        let text = |key: &str| leg[key].as_str().unwrap().to_owned();
        let (uri, peer) = (text("uri"), text("peer"));
        let address = uri.split('/').nth(2).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, uri, peer, read: String::new() }
    }

    /// Sends a SEND with these headers and body, and waits for its 200.
    fn send(&mut self, id: &str, rest: &str) {
        let Self { uri, peer, .. } = &*self;
        let head = format!("MSRP {id} SEND\r\nTo-Path: {uri}\r\nFrom-Path: {peer}\r\n");
        let octets = format!("{head}Message-ID: m-{id}\r\n{rest}-------{id}$\r\n");
        self.stream.write_all(octets.as_bytes()).unwrap();
        self.until(&format!("MSRP {id} 200"));
    }

    /// Whether it is let in.
    fn tries_to_bind(&mut self) -> bool {
        let Self { uri, peer, .. } = &*self;
        let head = format!("MSRP bind1234 SEND\r\nTo-Path: {uri}\r\nFrom-Path: {peer}\r\n");
        let octets = format!("{head}Message-ID: bind\r\n-------bind1234$\r\n");
        self.stream.write_all(octets.as_bytes()).unwrap();
        self.until("-------bind1234$");
        self.read.starts_with("MSRP bind1234 200")
    }

    /// Waits until this was read.
    fn until(&mut self, wanted: &str) {
        let mut octets = [0; 4096];
        while !self.read.contains(wanted) {
            let count = self.stream.read(&mut octets).unwrap();
            assert!(count > 0, "no {wanted} in {}", self.read);
            self.read.push_str(&String::from_utf8_lossy(&octets[..count]));
        }
    }
}

// Covers: MSRP-048, MSRP-060
#[test]
fn rooms_and_pairs_are_opened_without_sip() {
    let listen = ["msrp-room", "--listen", "127.0.0.1:0", "--cores", "2"];
    let wanted = ["--rooms", "2", "--size", "3", "--pairs", "2"];
    let running = Printed::start(&[&listen[..], &wanted[..]].concat());
    let said = &running.said;
    for pair in said["pairs"].as_array().unwrap() {
        let [mut one, mut other] = [0, 1].map(|side| Leg::new(&pair["legs"][side]));
        other.send("bind1234", "");
        one.send("hell1234", "Byte-Range: 1-5/5\r\nContent-Type: text/plain\r\n\r\nhello\r\n");
        other.until("\r\n\r\nhello\r\n-------");
    }
    for room in said["rooms"].as_array().unwrap() {
        let legs = room["legs"].as_array().unwrap();
        let mut clients: Vec<Leg> = legs.iter().map(Leg::new).collect();
        for client in &mut clients {
            client.send("bind1234", "");
        }
        let (to, from) = (room["uri"].as_str().unwrap(), legs[0]["participant"].as_str().unwrap());
        let body = format!(
            "To: <{to}>\r\nFrom: <{from}>\r\n\r\nContent-Type: text/plain\r\n\r\ngood morning"
        );
        let (length, rest) = (body.len(), "Content-Type: message/cpim\r\n\r\n");
        let chunk = format!("Byte-Range: 1-{length}/{length}\r\n{rest}{body}\r\n");
        clients[0].send("good1234", &chunk);
        for client in &mut clients[1..] {
            client.until("good morning\r\n-------");
        }
        assert!(!clients[0].read.contains("good morning"), "not back to the sender");
    }
    running.end();
}

#[test]
fn who_lost_the_connection_takes_part_again() {
    let listen = ["msrp-room", "--listen", "127.0.0.1:0", "--cores", "1", "--again"];
    let running = Printed::start(&[&listen[..], &["--rooms", "1", "--size", "2"]].concat());
    let leg = &running.said["rooms"][0]["legs"][0];
    for _ in 0..3 {
        // The server has to see first that the last connection is gone.
        let bound = (0..1000).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            Leg::new(leg).tries_to_bind()
        });
        assert!(bound, "the place is not free");
    }
    running.end();
}

#[test]
fn a_server_serves_msrp_where_it_is_configured() {
    let place = Place::new();
    place.configure("[msrp]\ncores = 2\n[[msrp.listen]]\naddress = \"127.0.0.1:0\"\n");
    let mut running = place.start();
    running.until_logged("MSRP listening");
    let log = place.log();
    let line = log.lines().find(|line| line.contains("MSRP listening")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["protocol"], "msrp");
    let mut stream = TcpStream::connect(line["address"].as_str().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "MSRP nobo1234 SEND\r\nTo-Path: msrp://127.0.0.1:1/x;tcp\r\n\
                   From-Path: msrp://127.0.0.1:9/y;tcp\r\nMessage-ID: m\r\n-------nobo1234$\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = [0; 17];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(text(&answer), "MSRP nobo1234 481");
    running.signal(Signal::SIGTERM);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(running.wait().success());
}

#[test]
fn what_is_missing_is_told() {
    let place = Place::new();
    for command in ["msrp-relay", "msrp-room"] {
        let output = place.run(&[command]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(text(&output.stderr).contains("msrp."), "{}", text(&output.stderr));
    }
}

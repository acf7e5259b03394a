//! A server process of a test, and the other end of its sockets.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with a configuration, and perhaps a server that runs on it.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) sip: SocketAddr,
    pub(crate) terminating: SocketAddr,
    pub(crate) http: SocketAddr,
    /// What the server sends requests to.
    pub(crate) core: UdpSocket,
}

impl Place {
    /// Ports nobody uses: two for SIP (any side, terminating) and one for HTTP, and a core.
    pub(crate) fn new() -> Self {
        let core = UdpSocket::bind("127.0.0.1:0").unwrap();
        core.set_read_timeout(Some(PATIENCE)).unwrap();
        let [sip, terminating, http] = free_ports();
        let place = Self { directory: TempDir::new().unwrap(), sip, terminating, http, core };
        place.configure("");
        place
    }

    /// Writes the configuration: what every test needs, and `more`, which begins with keys of
    /// `[log]` and may end with those of `[store]`.
    pub(crate) fn configure(&self, more: &str) {
        // The documented port is not free while another test has it.
        let msrp = if more.contains("msrp") { "" } else { "[msrp]\nlisten = []\n" };
        let (more, store) = more.split_once("[store]\n").unwrap_or((more, ""));
        let text = format!(
            "[sip]\nnext_hop = \"sip:{};lr\"\ndrain_s = 15\n\
             [[sip.listen]]\naddress = \"{}\"\n\
             [[sip.listen]]\naddress = \"{}\"\nside = \"terminating\"\n\
             [http]\nlisten = \"{}\"\n[store]\npath = \"{}\"\n{store}[shards]\ncount = 2\n\
             {msrp}[log]\nformat = \"json\"\n{more}",
            self.core.local_addr().unwrap(),
            self.sip,
            self.terminating,
            self.http,
            self.data().display(),
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("parlance.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Everything logged so far, by all runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Starts the server and waits until it says that it is ready.
    pub(crate) fn start(&self) -> Running<'_> {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Running<'_> {
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let mut command = parlance(&["serve", "--config"]);
        command.arg(self.config()).envs(environment.iter().copied());
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut running = Running { child, place: self };
        running.until("the server is ready", |running| {
            assert!(running.ended().is_none(), "{}", running.place.log());
            running.place.status("/readyz") == Some(200)
        });
        running
    }

    /// Runs `parlance ARGUMENTS --config FILE` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        parlance(arguments).arg("--config").arg(self.config()).output().unwrap()
    }

    /// Runs `parlance user ARGUMENTS`, which must succeed, and reads what it prints.
    pub(crate) fn user(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["user"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The status of a GET, if anybody answers.
    pub(crate) fn status(&self, path: &str) -> Option<u16> {
        Some(self.get(self.http, path, "")?.0)
    }

    /// Status and body of a GET with these further header lines.
    pub(crate) fn get(&self, to: SocketAddr, path: &str, headers: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(to).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n{headers}\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// The token of the administration interface.
    pub(crate) fn bare_token(&self) -> String {
        fs::read_to_string(self.data().join("admin-token")).unwrap().trim().to_owned()
    }

    /// The header line with it.
    pub(crate) fn token(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.bare_token())
    }
}

/// A server that runs; killed when dropped.
pub(crate) struct Running<'a> {
    child: Child,
    place: &'a Place,
}

impl Running<'_> {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.until("the server ends", |running| running.ended().is_some());
        self.child.wait().unwrap()
    }

    /// Waits until the log has `text`.
    pub(crate) fn until_logged(&mut self, text: &str) {
        self.until(text, |running| running.place.log().contains(text));
    }

    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let pause = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if holds(self) {
                return;
            }
            sleep(pause);
        }
        panic!("not in time: {what}\n{}", self.place.log());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, without what the environment of the test run says.
pub(crate) fn parlance(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLANCE_") {
            command.env_remove(name);
        }
    }
    command.env_remove("NOTIFY_SOCKET").args(arguments);
    command
}

pub(crate) fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Ports of 127.0.0.1 free for UDP and TCP at this moment, all different.
fn free_ports<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let mut held = Vec::new();
    while held.len() < COUNT {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = std::net::TcpListener::bind(udp.local_addr().unwrap()) {
            held.push((udp, tcp));
        }
    }
    let addresses: Vec<_> = held.iter().map(|(udp, _)| udp.local_addr().unwrap()).collect();
    addresses.try_into().unwrap()
}

/// One SIP peer over UDP.
pub(crate) struct Peer(UdpSocket);

impl Peer {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Sends a MESSAGE with these further header lines.
    pub(crate) fn message(&self, to: SocketAddr, call_id: &str, headers: &str, body: &str) {
        let asserted = format!("P-Asserted-Identity: <sip:alice@ims.test>\r\n{headers}");
        self.send(to, call_id, &asserted, body);
    }

    /// The same without a word of the core about the sender.
    pub(crate) fn unasserted(&self, to: SocketAddr, call_id: &str, headers: &str) {
        self.send(to, call_id, headers, "x");
    }

    fn send(&self, to: SocketAddr, call_id: &str, headers: &str, body: &str) {
        let here = self.0.local_addr().unwrap();
        let request = format!(
            "MESSAGE sip:bob@ims.test SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK{call_id}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@ims.test>;tag=1\r\nTo: <sip:bob@ims.test>\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 MESSAGE\r\n\
             Accept-Contact: *;+g.oma.sip-im\r\nContent-Type: text/plain\r\n{headers}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.send_to(request.as_bytes(), to).unwrap();
    }

    /// The MESSAGE was stored.
    #[track_caller]
    pub(crate) fn is_stored(&self) {
        let response = self.response();
        assert!(response.starts_with("SIP/2.0 202"), "{response}");
    }

    /// The next final response.
    pub(crate) fn response(&self) -> String {
        loop {
            let (message, _) = receive(&self.0);
            if !message.starts_with("SIP/2.0 1") {
                return message;
            }
        }
    }
}

/// The next message to the service manager: its first line.
pub(crate) fn told(manager: &UnixDatagram) -> String {
    let mut octets = [0; 512];
    let length = manager.recv(&mut octets).expect("the service manager is told in time");
    text(&octets[..length]).lines().next().unwrap_or_default().to_owned()
}

/// The next message and its sender.
pub(crate) fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut octets = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut octets).expect("a message comes in time");
    (text(&octets[..length]), from)
}

/// Answers a request as a UAS does.
pub(crate) fn answer(socket: &UdpSocket, to: SocketAddr, request: &str, status: &str) {
    let copied = ["Via", "From", "To", "Call-ID", "CSeq"];
    let lines = request.lines().take_while(|line| !line.is_empty());
    let kept: Vec<&str> = lines
        .filter(|line| copied.iter().any(|name| line.starts_with(&format!("{name}:"))))
        .collect();
    let response =
        format!("SIP/2.0 {status}\r\n{}\r\nContent-Length: 0\r\n\r\n", kept.join("\r\n"));
    socket.send_to(response.as_bytes(), to).unwrap();
}

/// Whether a file is there.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

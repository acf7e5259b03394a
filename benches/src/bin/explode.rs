//! One MESSAGE to a list of 1,000 through the whole server: how long until its 202, until the last
//! copy is answered, and what memory that takes.
//!
//! This program is the S-CSCF: it sends the message over TCP and answers every copy 200 at once.
//! The store is on a disk, so the time has in it what makes the 202 and each outcome durable.
//!
//! `cargo run --release -p parlance-benches --bin explode [-- RECIPIENTS [TIMES]]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::HashSet;
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parlance_benches::server::{HTTP, Serving};
use parlance_sip::frame::{Frame, Framer};
use parlance_sip::message::Limits;
use parlance_sip::{Request, Response, ResponseBuilder};
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Where the copies go: the next hop of the server.
const CORE: &str = "127.0.0.1:15070";
const SERVER: &str = "127.0.0.20:5080";
/// Longest wait for one explosion.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let recipients = numbers.first().copied().unwrap_or(1000);
    let times = numbers.get(1).copied().unwrap_or(5);
    let directory = tempfile::tempdir()?;
    let copies = core()?;
    let server = Serving::start(directory.path(), &configuration(directory.path()), None)?;
    let mut accepted = Vec::new();
    let mut finished = Vec::new();
    let before = memory(server.pid(), "VmRSS")?;
    for call in 0..times {
        let (until_202, until_last) = explode(recipients, call, &copies)?;
        accepted.push(until_202);
        finished.push(until_last);
    }
    let (after, peak) = (memory(server.pid(), "VmRSS")?, memory(server.pid(), "VmHWM")?);
    accepted.sort_unstable();
    finished.sort_unstable();
    let median = |times: &[Duration]| times.get(times.len() / 2).copied().unwrap_or_default();
    let last = median(&finished);
    println!("{recipients} recipients, {times} times");
    println!("until the 202:              {:>8.1} ms", median(&accepted).as_secs_f64() * 1e3);
    println!("until the last answer:      {:>8.1} ms", last.as_secs_f64() * 1e3);
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = recipients as f64 / last.as_secs_f64();
    println!("copies a second:            {rate:>8.0}");
    println!("resident before and after:  {before:>8} and {after} KiB");
    println!("resident at its peak:       {peak:>8} KiB, {} above the beginning", peak - before);
    Ok(())
}

/// Sends one message; how long until its 202 and until the last copy came.
fn explode(
    recipients: usize,
    call: usize,
    copies: &mpsc::Receiver<String>,
) -> Result<(Duration, Duration)> {
    let mut stream = TcpStream::connect(SERVER)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let message = message(recipients, call, stream.local_addr()?);
    let began = Instant::now();
    stream.write_all(message.as_bytes())?;
    let mut framer = Framer::new(Limits::default());
    let status = loop {
        let mut octets = [0; 4096];
        let count = stream.read(&mut octets)?;
        framer.buffer().extend_from_slice(octets.get(..count).unwrap_or_default());
        if let Some(Frame::Message(message)) = framer.next_frame()
            && let Ok(response) = Response::new(message)
            && response.status() >= 200
        {
            break response.status();
        }
        if count == 0 {
            return Err("the server closed the connection".into());
        }
    };
    let until_202 = began.elapsed();
    if status != 202 {
        return Err(format!("the message was answered {status}").into());
    }
    let mut seen = HashSet::new();
    while seen.len() < recipients {
        seen.insert(copies.recv_timeout(PATIENCE)?);
    }
    Ok((until_202, began.elapsed()))
}

fn message(recipients: usize, call: usize, from: SocketAddr) -> String {
    let entries: String =
        (0..recipients).map(|number| format!("<entry uri=\"sip:u{number}@ims.test\"/>")).collect();
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nTraining moved to 19:00\r\n--b\r\n\
         Content-Type: application/resource-lists+xml\r\n\
         Content-Disposition: recipient-list\r\n\r\n\
         <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"><list>{entries}</list>\
         </resource-lists>\r\n--b--\r\n"
    );
    format!(
        "MESSAGE sip:im-exploder@ims.test SIP/2.0\r\n\
         Via: SIP/2.0/TCP {from};branch=z9hG4bKbench{call}\r\nMax-Forwards: 68\r\n\
         From: <sip:alice@ims.test>;tag=1\r\nTo: <sip:im-exploder@ims.test>\r\n\
         Call-ID: bench-{call}\r\nCSeq: 1 MESSAGE\r\n\
         P-Asserted-Identity: <sip:alice@ims.test>\r\n\
         Accept-Contact: *;+g.oma.sip-im;require;explicit\r\nRequire: recipient-list-message\r\n\
         Content-Type: multipart/mixed;boundary=b\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A next hop that answers every copy 200, and tells whom it was for.
fn core() -> Result<mpsc::Receiver<String>> {
    let listener = TcpListener::bind(CORE)?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || answer(stream, &tell));
        }
    });
    Ok(told)
}

fn answer(mut stream: TcpStream, tell: &mpsc::Sender<String>) {
    let mut framer = Framer::new(Limits::default());
    let mut octets = vec![0; 65_536];
    while let Ok(count) = stream.read(&mut octets) {
        if count == 0 {
            return;
        }
        framer.buffer().extend_from_slice(octets.get(..count).unwrap_or_default());
        let mut answers = Vec::new();
        while let Some(frame) = framer.next_frame() {
            let Frame::Message(message) = frame else { continue };
            let Ok(request) = Request::new(message) else { continue };
            answers.extend_from_slice(&ResponseBuilder::new(&request, 200, "core").build());
            let uri = String::from_utf8_lossy(request.uri_text()).into_owned();
            if tell.send(uri).is_err() {
                return;
            }
        }
        if stream.write_all(&answers).is_err() {
            return;
        }
    }
}

fn configuration(data: &Path) -> String {
    format!(
        "[sip]\ndomains = [\"ims.test\"]\nnext_hop = \"sip:{CORE};transport=tcp;lr\"\n\
         [[sip.listen]]\naddress = \"{SERVER}\"\nside = \"any\"\ntransports = [\"tcp\"]\n\
         [http]\nlisten = \"{HTTP}\"\n\
         [store]\npath = {:?}\n[msrp]\nlisten = []\n[log]\nlevel = \"warn\"\n\
         [participating]\nnotice = false\nrate_per_user = 0\n\
         [controlling]\nadhoc_group_size_max = 1000\n\
         [explode]\ncopies_per_second = 0\ncopies_burst = 1000\n",
        data.join("data")
    )
}

/// A line of /proc/PID/status, in KiB.
fn memory(pid: u32, line: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':'));
    let number = found.and_then(|value| value.split_whitespace().next()).ok_or("no such line")?;
    Ok(number.parse()?)
}

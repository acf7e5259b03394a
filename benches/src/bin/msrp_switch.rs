//! Rooms of an MSRP switch (RFC 7701) beside the floor that copies the same octets to the same
//! sockets without a protocol, in one run.
//!
//! Rooms of 10, 50 and 500 with texts of 300 octets; recipients that answer every SEND and
//! recipients that answer none; TLS; and the latency at half the rate. The server has processor 0,
//! the generator processor 1.
//!
//! `cargo run --release -p parlance-benches --bin msrp_switch [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use parlance_benches::msrp::{HEADING, Result, Server, asked, certificate, line, serve_floor};
use parlance_lab::msrp_load::{Options, Report};

/// A shape of rooms, and how they are played.
struct Shape {
    rooms: &'static str,
    size: &'static str,
    senders: usize,
    window: u32,
}

const SHAPES: [Shape; 3] = [
    Shape { rooms: "10", size: "10", senders: 10, window: 4 },
    Shape { rooms: "2", size: "50", senders: 50, window: 1 },
    Shape { rooms: "1", size: "500", senders: 10, window: 4 },
];

fn main() -> Result<()> {
    serve_floor()?;
    let mut summary = Vec::new();
    println!("{HEADING}");
    for shape in &SHAPES {
        let groups = ["--rooms", shape.rooms, "--size", shape.size];
        for answering in [true, false] {
            let recipients = if answering { "yes" } else { "partial" };
            let name = format!(
                "rooms of {}, {}",
                shape.size,
                if answering { "all answer" } else { "none answers" }
            );
            println!("{name}");
            let floor = Server::floor(&groups)?;
            let floor = floor.play(&Options { quiet: !answering, ..options(shape) })?;
            println!("{}", line("floor", &floor));
            let server =
                Server::parlance(&[&groups[..], &["--recipients-answer", recipients]].concat())?;
            let full = server.play(&options(shape))?;
            println!("{}", line("Parlance", &full));
            let half = half(&server, shape, &full)?;
            println!("{}", line("Parlance, half of that", &half));
            summary.push((name, full.delivered_rate, full.delivered_rate / floor.delivered_rate));
        }
    }
    let directory = tempfile::tempdir()?;
    let (certificate, key) = certificate(directory.path())?;
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let [shape, ..] = &SHAPES;
    let groups = ["--rooms", shape.rooms, "--size", shape.size, "--recipients-answer", "yes"];
    let server =
        Server::parlance(&[&groups[..], &["--certificate", &certificate, "--key", &key]].concat())?;
    println!("rooms of {}, all answer, TLS", shape.size);
    let full = server.play(&options(shape))?;
    println!("{}", line("Parlance", &full));
    println!("{}\n", line("Parlance, half of that", &half(&server, shape, &full)?));
    for (name, rate, ratio) in summary {
        println!("{name}: {rate:.0} delivered SENDs/s, {ratio:.2} of the floor's");
    }
    println!("(wanted of rooms of 10, all answer: at least 1,500,000, and 0.7 of the floor's)");
    Ok(())
}

fn options(shape: &Shape) -> Options {
    Options {
        senders: Some(shape.senders),
        window: shape.window,
        duration: if asked("--quick") { 2.0 } else { 6.0 },
        warm_up: 0.5,
        ..Options::default()
    }
}

fn half(server: &Server, shape: &Shape, full: &Report) -> Result<Report> {
    server.play(&Options { rate: full.sent_rate / 2.0, tick: 100, ..options(shape) })
}

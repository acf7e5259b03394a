//! Rooms of an MSRP switch (RFC 7701) beside the floor that copies the same octets to the same
//! sockets without a protocol, in one run.
//!
//! Rooms of 10, 50 and 500 with texts of 300 octets; recipients that answer every SEND and
//! recipients that answer none; TLS; and the latency at half of the rate, or less. The server has
//! processor 0, the generator processor 1. Floor and switch take turns, and the median of each
//! counts: what else runs on a machine makes one turn twice as fast as another.
//!
//! `cargo run --release -p parlance-benches --bin msrp_switch [-- --quick]`
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use parlance_benches::msrp::{
    HEADING, Result, Server, asked, certificate, line, part_load, serve_floor,
};
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

/// A machine on which the floor of the first shape delivers fewer SENDs a second is too slow, or
/// too busy, to compare on.
const FLOOR_MIN: f64 = 2e6;

/// How often each is played.
const TURNS: usize = 5;

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
            let server =
                Server::parlance(&[&groups[..], &["--recipients-answer", recipients]].concat())?;
            let (mut floors, mut fulls) = (Vec::new(), Vec::new());
            for _ in 0..TURNS {
                floors.push(floor.play(&Options { quiet: !answering, ..options(shape) })?);
                fulls.push(server.play(&options(shape))?);
            }
            let (floor, full) = (median(floors)?, median(fulls)?);
            println!("{}", line("floor", &floor));
            println!("{}", line("Parlance", &full));
            print_part_load(&server, shape, &full)?;
            summary.push((name, full.delivered_rate, floor.delivered_rate));
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
    print_part_load(&server, shape, &full)?;
    println!();
    let slow = summary.first().is_none_or(|(_, _, floor)| *floor < FLOOR_MIN);
    for (name, rate, floor) in summary {
        let ratio = rate / floor;
        println!("{name}: {rate:.0} delivered SENDs/s, {ratio:.2} of the floor's {floor:.0}");
    }
    println!(
        "(wanted: at least 0.7 of the floor's; of rooms of 10, all answer, at least 1,500,000)"
    );
    if slow {
        println!("VOID: the floor of rooms of 10, all answer, is below {FLOOR_MIN:.0}");
    }
    Ok(())
}

/// The one with the median of the rates.
fn median(mut reports: Vec<Report>) -> Result<Report> {
    reports.sort_by(|one, other| one.delivered_rate.total_cmp(&other.delivered_rate));
    let middle = reports.len() / 2;
    reports.into_iter().nth(middle).ok_or_else(|| "nothing was played".into())
}

fn options(shape: &Shape) -> Options {
    Options {
        senders: Some(shape.senders),
        window: shape.window,
        duration: if asked("--quick") { 1.0 } else { 4.0 },
        warm_up: 0.5,
        ..Options::default()
    }
}

fn print_part_load(server: &Server, shape: &Shape, full: &Report) -> Result<()> {
    let (part, report) = part_load(&options(shape), full, |options| server.play(options))?;
    println!("{}", line(&format!("Parlance, {part}"), &report));
    Ok(())
}

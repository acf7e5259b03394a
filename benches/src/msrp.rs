//! Servers under MSRP load: each on processor 0, with the generator on processor 1.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use clap::Parser;
use parlance_lab::msrp_load::{FloorOptions, Legs, Options, Report, floor, run};

/// Where servers run.
pub const SERVER_PROCESSOR: &str = "0";
/// Where the generator runs.
pub const GENERATOR_PROCESSOR: usize = 1;

/// The least part of the highest rate that latency is asked at.
const PARTS_MAX: u32 = 16;

/// What goes wrong in a benchmark.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A server to be put under load, anew for each: sessions end with their connections.
#[derive(Clone, Debug)]
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
}

/// A server that runs; it is ended with this value.
#[derive(Debug)]
struct Running {
    child: Child,
    /// Its end is when the server's output may be closed.
    _output: BufReader<ChildStdout>,
    /// The sessions it has printed.
    legs: Legs,
}

impl Running {
    /// Starts the program and reads the line that says which sessions it has.
    fn start(server: &Server) -> Result<Self> {
        let mut child = Command::new("taskset")
            .args(["-c", SERVER_PROCESSOR])
            .arg(&server.program)
            .args(&server.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let mut running = Self { child, _output: output, legs: Legs::default() };
        let legs = serde_json::from_str(&line);
        running.legs = legs.map_err(|error| format!("{error}: {line}"))?;
        Ok(running)
    }
}

impl Server {
    fn new(program: PathBuf, arguments: &[&str]) -> Self {
        Self { program, arguments: arguments.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// The floor, with these groups: this program again, see [`serve_floor`].
    pub fn floor(groups: &[&str]) -> Result<Self> {
        Ok(Self::new(std::env::current_exe()?, &[&["floor"], groups].concat()))
    }

    /// `parlance msrp-room` with these groups and more.
    pub fn parlance(groups: &[&str]) -> Result<Self> {
        let fixed = ["msrp-room", "--listen", "127.0.0.1:0", "--cores", "1"];
        let arguments = [&fixed[..], groups].concat();
        Ok(Self::new(beside("parlance", "parlance-server")?, &arguments))
    }

    /// `parlance msrp-relay` with this configuration file: clients ask it for URIs with AUTH.
    pub fn relay(file: &Path) -> Result<Self> {
        let fixed = ["msrp-relay", "--json", "--config", &file.to_string_lossy()];
        Ok(Self::new(beside("parlance", "parlance-server")?, &fixed))
    }

    /// Plays a load against it.
    pub fn play(&self, options: &Options) -> Result<Report> {
        let server = Running::start(self)?;
        let pid = vec![i32::try_from(server.child.id())?];
        let options = Options { pid, pin: Some(GENERATOR_PROCESSOR), ..options.clone() };
        Ok(run(&options, &server.legs)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays half of the rate of `full`, with messages due one after the other; when that is too much
/// for them to leave in time half of it, and so on: what comes alone costs more than what comes in
/// a window, and latency under a load that is too much says nothing. Returns what part of the rate
/// it was, too.
pub fn part_load(
    options: &Options,
    full: &Report,
    mut play: impl FnMut(&Options) -> Result<Report>,
) -> Result<(String, Report)> {
    let mut parts = 2;
    loop {
        let rate = full.sent_rate / f64::from(parts);
        let report = play(&Options { rate, tick: 100, ..options.clone() })?;
        if report.generator.bottleneck.is_none() || parts >= PARTS_MAX {
            return Ok((format!("1/{parts} of that"), report));
        }
        parts *= 2;
    }
}

/// Becomes the floor when the command line of this program begins with `floor`.
pub fn serve_floor() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some("floor") {
        return Ok(());
    }
    floor(&FloorOptions::parse_from(arguments), &mut io::stdout())?;
    Err("the floor has ended".into())
}

/// A program built beside this one, by the package that has it.
pub fn beside(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    let built = Command::new("cargo").args(["build", "--release", "-p", package]).status();
    if built?.success() && path.exists() { Ok(path) } else { Err(format!("no {name}").into()) }
}

/// Whether the command line has this word.
pub fn asked(word: &str) -> bool {
    std::env::args().any(|argument| argument == word)
}

/// A key pair and a self-signed certificate for the loopback, as files of `directory`.
pub fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((certificate, key))
}

/// One line for a report: rate, processor time, latency, and what was wrong.
pub fn line(name: &str, report: &Report) -> String {
    let cpu = report.server.as_ref().map_or(0.0, |server| server.cpu_us_per_delivered);
    let share = report.server.as_ref().map_or(0.0, |server| server.cpu_share);
    let mut line = format!(
        "  {name:<34} {:>9.0} SENDs/s {cpu:>7.3} us each {:>4.0} % busy  {:>7.0} / {:>7.0} us",
        report.delivered_rate,
        share * 100.0,
        report.delivery.p50_us,
        report.delivery.p99_us
    );
    if let Some(reason) = &report.generator.bottleneck {
        line += &format!("  THE GENERATOR: {reason}");
    }
    if !report.clean {
        line += &format!("  NOT CLEAN: {}", report.faults.join(", "));
    }
    line
}

/// The heading of such lines.
pub const HEADING: &str =
    "                                       delivered      processor           p50 /     p99";

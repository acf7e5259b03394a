//! Servers of SIP under load. Where both are pinned, the server has processor 0 and the generator
//! processor 1.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::msrp::{GENERATOR_PROCESSOR, Result, SERVER_PROCESSOR, beside};
use crate::signalling::CALLED;

/// Ticks of processor time in a second, `USER_HZ` of every Linux there is.
const TICKS_A_SECOND: u64 = 100;

/// Has this thread, and those it starts from now on, on the generator's processor.
pub fn pin_generator() {
    let (processor, own) = (GENERATOR_PROCESSOR.to_string(), std::process::id().to_string());
    // Where it cannot be, the figures wander more.
    let _ = Command::new("taskset").args(["-cp", &processor, &own]).stdout(Stdio::null()).status();
}

/// Where the servers tell how they are.
pub const HTTP: &str = "127.0.0.20:8080";

/// How often it is looked whether a server is ready, and how long is waited between: 20 s in all.
const START_LOOKS: u32 = 1000;
const START_PAUSE: Duration = Duration::from_millis(20);

/// `parlance serve`; it is ended with this value.
#[derive(Debug)]
pub struct Serving(Child);

impl Serving {
    /// Starts it with `configuration`, whose `[http]` is [`HTTP`], on one processor if that is
    /// said, and waits until it is ready.
    ///
    /// # Errors
    /// The binary cannot be built or started, or is not ready after 20 s.
    pub fn start(directory: &Path, configuration: &str, processor: Option<&str>) -> Result<Self> {
        let config = directory.join("parlance.toml");
        fs::write(&config, configuration)?;
        let binary = beside("parlance", "parlance-server")?;
        let mut command = match processor {
            Some(processor) => {
                let mut command = Command::new("taskset");
                command.args(["-c", processor]).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(["serve", "--config"]).arg(&config).stdout(Stdio::null());
        let mut serving = Self(command.spawn()?);
        for _ in 0..START_LOOKS {
            if is_ready() {
                return Ok(serving);
            }
            if let Some(status) = serving.0.try_wait()? {
                return Err(format!("the server has ended: {status}").into());
            }
            thread::sleep(START_PAUSE);
        }
        Err("the server is not ready".into())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a server says at [`HTTP`] that it is ready.
fn is_ready() -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(HTTP)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
}

/// `parlance serve` with both sides, its next hop at [`CALLED`]; it is ended with this value.
#[derive(Debug)]
pub struct Parlance {
    serving: Serving,
    _directory: TempDir,
}

impl Parlance {
    /// Where the served users' own requests go.
    pub const SIP: &str = "127.0.0.20:5080";

    /// Starts it with `participating` in that section of its configuration.
    ///
    /// # Errors
    /// As [`Serving::start`].
    pub fn start(participating: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = configuration(directory.path(), participating);
        let serving = Serving::start(directory.path(), &config, Some(SERVER_PROCESSOR))?;
        Ok(Self { serving, _directory: directory })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.serving.pid()
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        cpu(self.pid())
    }
}

fn configuration(data: &Path, participating: &str) -> String {
    format!(
        "[sip]\ndomains = [\"ims.test\"]\nnext_hop = \"sip:{CALLED};transport=tcp;lr\"\n\
         [[sip.listen]]\naddress = \"{}\"\nside = \"originating\"\ntransports = [\"tcp\"]\n\
         [[sip.listen]]\naddress = \"127.0.0.20:5081\"\nside = \"terminating\"\n\
         transports = [\"tcp\"]\n[[sip.listen]]\naddress = \"127.0.0.20:5082\"\n\
         side = \"registration\"\ntransports = [\"tcp\"]\n[http]\nlisten = \"{HTTP}\"\n\
         [[msrp.listen]]\naddress = \"127.0.0.20:2855\"\n[msrp]\ncores = 1\n[shards]\ncount = 1\n\
         [store]\npath = {:?}\n[log]\nlevel = \"warn\"\n\
         [controlling]\nsessions_per_user_max = 100000\nended_s = 1\n\
         [participating]\nnotice = false\nrate_per_user = 0\nsessions_max = 0\n{participating}",
        Parlance::SIP,
        data.join("data")
    )
}

/// A Kamailio of `benches/kamailio`; it is ended with this value.
#[derive(Debug)]
pub struct Kamailio {
    scripts: PathBuf,
    port: String,
    pid: u32,
}

impl Kamailio {
    /// Starts it at a port of the loopback with one of the configurations there.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(port: &str, config: &str) -> Result<Self> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio");
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_PROCESSOR]).arg(scripts.join("start.sh")).args([port, config]);
        let started = command.env("RELAY_SHM_MB", "512").output()?;
        if !started.status.success() {
            return Err(String::from_utf8_lossy(&started.stderr).into_owned().into());
        }
        let pid = String::from_utf8_lossy(&started.stdout).trim().parse()?;
        Ok(Self { scripts, port: port.to_owned(), pid })
    }

    /// Processor time that its processes have used.
    pub fn cpu(&self) -> Duration {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        children.map(cpu).sum::<Duration>() + cpu(self.pid)
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        let _ = Command::new(self.scripts.join("stop.sh")).arg(&self.port).status();
    }
}

/// User and system time of a process (proc_pid_stat(5)); none when it is gone.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
    let ticks = fields.map_or(0, |fields| {
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    });
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}

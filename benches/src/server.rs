//! Servers of SIP under load: each on processor 0, with the generator on processor 1.

use std::fs;
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

/// `parlance serve` with both sides, its next hop at [`CALLED`]; it is ended with this value.
#[derive(Debug)]
pub struct Parlance {
    child: Child,
    _directory: TempDir,
}

impl Parlance {
    /// Where the served users' own requests go.
    pub const SIP: &str = "127.0.0.20:5080";

    /// Starts it with `participating` in that section of its configuration.
    ///
    /// # Errors
    /// The binary cannot be built or started.
    pub fn start(participating: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("parlance.toml");
        fs::write(&config, configuration(directory.path(), participating))?;
        let child = Command::new("taskset")
            .args(["-c", SERVER_PROCESSOR])
            .arg(beside("parlance", "parlance-server")?)
            .args(["serve", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()?;
        thread::sleep(Duration::from_secs(1));
        Ok(Self { child, _directory: directory })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        cpu(self.child.id())
    }
}

impl Drop for Parlance {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(data: &Path, participating: &str) -> String {
    format!(
        "[sip]\ndomains = [\"ims.test\"]\nnext_hop = \"sip:{CALLED};transport=tcp;lr\"\n\
         [[sip.listen]]\naddress = \"{}\"\nside = \"originating\"\ntransports = [\"tcp\"]\n\
         [[sip.listen]]\naddress = \"127.0.0.20:5081\"\nside = \"terminating\"\n\
         transports = [\"tcp\"]\n[[sip.listen]]\naddress = \"127.0.0.20:5082\"\n\
         side = \"registration\"\ntransports = [\"tcp\"]\n[http]\nlisten = \"127.0.0.20:8080\"\n\
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

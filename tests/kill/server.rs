//! The server as a process of its own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server with its directory; killed when dropped.
pub(crate) struct Server {
    directory: TempDir,
    sip: SocketAddr,
    process: Option<Child>,
}

impl Server {
    /// Configures a server that sends to `core`. Pauses and limits that would only make the test
    /// longer are off. The binary is there when this returns.
    pub(crate) fn new(core: SocketAddr) -> Self {
        binary();
        let directory = TempDir::new().expect("there is room for a directory");
        let [sip, http] = free_ports();
        let data = directory.path().join("data");
        let text = format!(
            "[sip]\nnext_hop = \"sip:{core};lr\"\nt1_ms = 100\n\
             [[sip.listen]]\naddress = \"{sip}\"\n[http]\nlisten = \"{http}\"\n\
             [store]\npath = \"{}\"\n[shards]\ncount = 2\n\
             [msrp]\nlisten = []\n[participating]\nrate_per_user = 0\nnotice = false\n\
             [deferred]\nitems_max = 1000000\noctets_max = 1073741824\nsettle_ms = 0\n\
             retry_first_s = 1\nretry_max_s = 1\npause_ms = 0\nmessages_per_second = 1000000\n\
             lease_s = 3\ndue_interval_ms = 20\n",
            data.display()
        );
        let config = directory.path().join("parlance.toml");
        fs::write(config, text).expect("the directory can be written to");
        Self { directory, sip, process: None }
    }

    /// Where it listens.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Starts it. Whether it is ready, its answers tell.
    pub(crate) fn start(&mut self) {
        let log = self.directory.path().join("log");
        let log = File::options().create(true).append(true).open(log);
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--config"]).arg(self.directory.path().join("parlance.toml"));
        command.stdout(Stdio::null()).stderr(log.expect("the log can be written to"));
        self.process = Some(command.spawn().expect("the server can be started"));
    }

    /// Kills it as the kernel would (SIGKILL), and starts it on what is left.
    pub(crate) fn kill_and_start(&mut self) {
        self.kill();
        self.start();
    }

    fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let ended = process.try_wait().expect("it is our own process");
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", self.log());
        process.kill().expect("it runs");
        process.wait().expect("it is our own process");
    }

    /// The end of what it logged.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("the log of the server ends:\n{}", self.log());
        }
    }
}

/// The binary beside this test, built if it is not there or not of this source.
fn binary() -> &'static Path {
    static BINARY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("PARLANCE") {
            return PathBuf::from(binary);
        }
        let this = std::env::current_exe().expect("a test is a file");
        let profile = this.ancestors().nth(2).expect("target/PROFILE/deps/TEST").to_path_buf();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        // Of the whole workspace, so that its dependencies have the features they are built with.
        command.args(["build", "--offline", "--locked", "--workspace", "--bin", "parlance"]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile.ends_with("release") {
            command.arg("--release");
        }
        let built = command.output().expect("cargo runs");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "the server cannot be built:\n{said}");
        let binary = profile.join("parlance");
        assert!(binary.exists(), "no {}: name the server in PARLANCE", binary.display());
        binary
    })
}

/// Ports of 127.0.0.1 free for UDP and TCP at this moment.
fn free_ports() -> [SocketAddr; 2] {
    let mut held = Vec::new();
    while held.len() < 2 {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("there are ports");
        let address = udp.local_addr().expect("it is bound");
        if let Ok(tcp) = TcpListener::bind(address) {
            held.push((udp, tcp, address));
        }
    }
    [held[0].2, held[1].2]
}

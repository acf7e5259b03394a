//! The binary `parlance`, started with a configuration and watched from outside.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A server with its directory; killed when dropped.
#[derive(Debug)]
pub struct Process {
    directory: TempDir,
    child: Option<Child>,
}

impl Process {
    /// A server that is not started yet, with this configuration, as TOML: keys before the first
    /// table are of `[store]`. The binary is there when this returns.
    ///
    /// # Panics
    /// There is no room for its directory, or the binary cannot be built.
    pub fn new(configuration: &str) -> Self {
        binary();
        let directory = TempDir::new().expect("there is room for a directory");
        let data = directory.path().join("data");
        let text = format!("[store]\npath = {data:?}\n{configuration}\n");
        fs::write(directory.path().join("parlance.toml"), text).expect("there is room for a file");
        Self { directory, child: None }
    }

    /// Starts it. Whether it is ready, its answers tell.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(&mut self) {
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
        self.child = Some(command.spawn().expect("the server can be started"));
    }

    /// Kills it as the kernel would (SIGKILL).
    ///
    /// # Panics
    /// It had ended by itself.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let ended = child.try_wait().expect("it is our own process");
        assert!(ended.is_none(), "it ended by itself: {ended:?}\n{}", self.log());
        child.kill().expect("it runs");
        child.wait().expect("it is our own process");
    }

    /// A file of the process in `/proc`; empty when it is gone.
    pub fn proc(&self, name: &str) -> PathBuf {
        let pid = self.child.as_ref().map_or(0, Child::id);
        Path::new("/proc").join(pid.to_string()).join(name)
    }

    /// The directory with its configuration, its log and its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The end of what it logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let mut lines: Vec<_> = log.lines().rev().take(30).collect();
        lines.reverse();
        lines.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            // The test has failed already; there may be nobody to tell.
            let log = self.log();
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("the log of the server ends:\n{log}\n"),
            );
        }
    }
}

/// The binary that `PARLANCE` names, or the one beside this test, which is built if it is not there
/// or not of this source.
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
///
/// # Panics
/// There are not so many.
pub fn free_ports<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let mut held: Vec<(UdpSocket, TcpListener)> = Vec::new();
    let mut ports = [SocketAddr::from(([127, 0, 0, 1], 0)); COUNT];
    for port in &mut ports {
        while port.port() == 0 {
            let udp = UdpSocket::bind(*port).expect("there are ports");
            let address = udp.local_addr().expect("it is bound");
            if let Ok(tcp) = TcpListener::bind(address) {
                held.push((udp, tcp));
                *port = address;
            }
        }
    }
    ports
}

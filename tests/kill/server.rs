//! The server as a process of its own.

use std::net::SocketAddr;
use std::time::Duration;

use parlance_tests::process::{Process, free_ports};

/// How long anything may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when it is dropped.
pub(crate) struct Server {
    process: Process,
    sip: SocketAddr,
}

impl Server {
    /// Configures a server that sends to `core`. Pauses and limits that would only make the test
    /// longer are off. The binary is there when this returns.
    pub(crate) fn new(core: SocketAddr) -> Self {
        let [sip, http] = free_ports();
        let text = format!(
            "[sip]\nnext_hop = \"sip:{core};lr\"\nt1_ms = 100\n\
             [[sip.listen]]\naddress = \"{sip}\"\n[http]\nlisten = \"{http}\"\n\
             [shards]\ncount = 2\n\
             [msrp]\nlisten = []\n[participating]\nrate_per_user = 0\nnotice = false\n\
             [deferred]\nitems_max = 1000000\noctets_max = 1073741824\nsettle_ms = 0\n\
             retry_first_s = 1\nretry_max_s = 1\npause_ms = 0\nmessages_per_second = 1000000\n\
             lease_s = 3\ndue_interval_ms = 20\n"
        );
        Self { process: Process::new(&text), sip }
    }

    /// Where it listens.
    pub(crate) fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Starts it. Whether it is ready, its answers tell.
    pub(crate) fn start(&mut self) {
        self.process.start();
    }

    /// Kills it as the kernel would (SIGKILL), and starts it on what is left.
    pub(crate) fn kill_and_start(&mut self) {
        self.process.kill();
        self.start();
    }
}

//! The server as a process of its own, asked for its metrics.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use parlance_lab::flow::{ROOM_DOCUMENT, TEAM_DOCUMENT};
use parlance_tests::process::{Process, free_ports};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::watch::Look;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is killed when it is dropped.
pub(crate) struct Server {
    process: Process,
    /// The ports for served users' own requests, for requests to them, and for registrations.
    pub(crate) sip: [SocketAddr; 3],
    http: SocketAddr,
    /// Where the core has to be.
    pub(crate) core: SocketAddr,
    _groups: TempDir,
}

impl Server {
    /// Starts a server and waits until it is ready. What is kept for a time is kept shortly, so
    /// that the time after the load is short; the journal of the store is small, because the
    /// database holds in memory what stands in it.
    pub(crate) async fn start() -> Self {
        let [orig, term, reg, http, msrp, core] = free_ports();
        let groups = TempDir::new().expect("there is room for a directory");
        for (name, document) in [("room.xml", ROOM_DOCUMENT), ("team.xml", TEAM_DOCUMENT)] {
            fs::write(groups.path().join(name), document).expect("there is room for a file");
        }
        let listen = |address: SocketAddr, side: &str| {
            format!(
                "[[sip.listen]]\naddress = \"{address}\"\nside = \"{side}\"\n\
                 transports = [\"udp\"]\n"
            )
        };
        let sides =
            [listen(orig, "originating"), listen(term, "terminating"), listen(reg, "registration")];
        let text = format!(
            "journal_octets_max = 4194304\n\
             [sip]\nnext_hop = \"sip:{core};lr\"\nudp_octets_max = 65000\n{}\
             [http]\nlisten = \"{http}\"\n[[msrp.listen]]\naddress = \"{msrp}\"\n\
             [shards]\ncount = 2\n[log]\nlevel = \"warn\"\n\
             [participating]\nnotice = false\nrate_per_user = 0\npeer_to_peer = true\n\
             session_media = \"anchor\"\n[deferred]\nsettle_ms = 100\n\
             [controlling]\ngroups = {:?}\nempty_room_s = 5\nended_s = 30\n\
             [explode]\ncopies_per_second = 0\n",
            sides.concat(),
            groups.path(),
        );
        let mut process = Process::new(&text);
        process.start();
        let server = Self { process, sip: [orig, term, reg], http, core, _groups: groups };
        let start = Instant::now();
        while !server.get("/readyz").await.is_some_and(|answer| answer.contains(" 200 ")) {
            assert!(start.elapsed() < PATIENCE, "not in time: {}", server.process.log());
            sleep(Duration::from_millis(50)).await;
        }
        server
    }

    /// What it has.
    pub(crate) async fn look(&self) -> Look {
        let metrics = self.get("/metrics").await.unwrap_or_default();
        let status = fs::read_to_string(self.process.proc("status")).unwrap_or_default();
        let files = fs::read_dir(self.process.proc("fd")).map_or(0, Iterator::count);
        assert!(files > 0, "it has ended: {}", self.process.log());
        Look::new(&metrics, &status, files)
    }

    /// The end of what it logged.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }
}

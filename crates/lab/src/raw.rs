//! A UE that says exactly what the script writes: for what `rsip` cannot say or read.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use parlance_sip::Transport;

use crate::network::{Link, Outlet};

/// A UE without a mind of its own: text out, text in.
#[derive(Debug)]
pub struct RawUe {
    link: Link,
    outlet: Outlet,
    core: SocketAddr,
}

impl RawUe {
    /// A UE at `link` that talks to `core`.
    pub fn new(link: Link, core: SocketAddr) -> Self {
        let outlet = link.outlet();
        Self { link, outlet, core }
    }

    /// The address of the UE.
    pub fn address(&self) -> SocketAddr {
        self.outlet.local()
    }

    /// Sends `head`, whose lines may end as the source does, with Content-Length and `body`.
    pub fn send(&self, head: &str, body: &[u8]) {
        let mut text = head.trim_end().replace("\r\n", "\n").replace('\n', "\r\n");
        text.push_str(&format!("\r\nContent-Length: {}\r\n\r\n", body.len()));
        self.send_octets(&[text.as_bytes(), body].concat());
    }

    /// Sends octets as they are.
    pub fn send_octets(&self, octets: &[u8]) {
        self.outlet.send(Transport::Udp, self.core, Bytes::copy_from_slice(octets));
    }

    /// The next message that comes within `wait`, as text.
    pub async fn hear(&mut self, wait: Duration) -> Option<String> {
        let packet = tokio::time::timeout(wait, self.link.recv()).await.ok()??;
        Some(String::from_utf8_lossy(&packet.octets).into_owned())
    }

    /// The status of the next final response that comes within `wait`.
    pub async fn status(&mut self, wait: Duration) -> Option<u16> {
        loop {
            let text = self.hear(wait).await?;
            let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
            if let Some(status) = status.filter(|status| *status >= 200) {
                return Some(status);
            }
        }
    }

    /// Answers a request with `status`: the lines that a response takes over are taken over.
    pub fn answer(&self, request: &str, status: u16, reason: &str) {
        let taken = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
            ["via", "v", "from", "f", "to", "t", "call-id", "i", "cseq"].contains(&name.as_str())
        };
        let lines: Vec<&str> = request.lines().skip(1).filter(taken).collect();
        self.send(&format!("SIP/2.0 {status} {reason}\n{}", lines.join("\n")), &[]);
    }
}

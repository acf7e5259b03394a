//! A small HTTP client for the administration interface of a running server (RFC 9112).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admin::Command;
use crate::config::Secret;

/// How long one command may take; local limit.
const PATIENCE: Duration = Duration::from_secs(30);

/// Octets of an answer at most; local limit, above a page of the largest messages.
const ANSWER_OCTETS_MAX: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no server listens on {0}")]
    NotRunning(SocketAddr),
    /// Reading or writing failed.
    #[error("the server does not answer: {0}")]
    Io(#[from] io::Error),
    /// What answers is not the administration interface.
    #[error("what listens on {0} is not this server")]
    Foreign(SocketAddr),
    /// The server refused.
    #[error("{0}")]
    Refused(String),
}

/// Gives `command` to the server at `address`.
///
/// # Errors
/// [`ClientError`].
pub async fn send(
    address: SocketAddr,
    token: &Secret,
    operator: &str,
    command: &Command,
) -> Result<Value, ClientError> {
    let address = reachable(address);
    let answered = timeout(PATIENCE, exchange(address, token, operator, command)).await;
    let (status, body) =
        answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))?;
    let value: Value = serde_json::from_slice(&body).map_err(|_| ClientError::Foreign(address))?;
    match (status, value.get("error").and_then(Value::as_str)) {
        (200, _) => Ok(value),
        (_, Some(why)) => Err(ClientError::Refused(why.to_owned())),
        (_, None) => Err(ClientError::Foreign(address)),
    }
}

/// Whether somebody listens at `address`.
pub async fn is_running(address: SocketAddr) -> bool {
    let connecting = TcpStream::connect(reachable(address));
    matches!(timeout(PATIENCE, connecting).await, Ok(Ok(_)))
}

async fn exchange(
    address: SocketAddr,
    token: &Secret,
    operator: &str,
    command: &Command,
) -> Result<(u16, Vec<u8>), ClientError> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => ClientError::NotRunning(address),
        _ => error.into(),
    })?;
    let (method, path, body) = command.request();
    let body = body.unwrap_or(json!(null)).to_string();
    // HTTP/1.0: the answer ends with the connection, and is never in chunks.
    let head = format!(
        "{} {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n{}: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        method.token(),
        token.reveal(),
        crate::http::OPERATOR,
        printable(operator),
        body.len(),
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_OCTETS_MAX).read_to_end(&mut answer).await?;
    split(&answer).ok_or(ClientError::Foreign(address))
}

/// Status and body of an answer.
fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(head_end + 4)?;
    let line = str::from_utf8(head).ok()?.lines().next()?;
    let (version, rest) = line.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    version.starts_with("HTTP/1.").then(|| (status, body.to_vec()))
}

/// The same without what would end a header line.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').collect()
}

/// Where to connect to for what listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::{printable, reachable, split};

    #[test]
    fn an_answer_is_split() {
        let answer = b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n{}\r\n\r\n";
        assert_eq!(split(answer), Some((404, b"{}\r\n\r\n".to_vec())));
        for other in ["", "HTTP/1.0 200 OK\r\n", "SSH-2.0\r\n\r\n\r\n", "HTTP/1.0 2\r\n\r\n"] {
            assert_eq!(split(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn an_operator_cannot_write_headers() {
        assert_eq!(printable("ro\r\not é"), "root ");
    }

    #[test]
    fn everywhere_is_reached_here() {
        let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:8080"), "127.0.0.1:8080");
        assert_eq!(reached("[::]:8080"), "[::1]:8080");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}

//! The same hosts over real UDP sockets.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use parlance_sip::Transport;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::{Carrier, Link, Packet, WAITING_MAX};

/// The largest datagram there is.
const DATAGRAM_OCTETS_MAX: usize = 65_535;

struct Socket(Rc<UdpSocket>);

impl Carrier for Socket {
    fn carry(&self, packet: Packet) {
        if packet.transport == Transport::Udp {
            // UDP may lose: a full buffer is loss.
            let _ = self.0.try_send_to(&packet.octets, packet.to);
        }
    }
}

/// A host on a real UDP socket. Must be called on a `LocalSet`; streams are not carried.
///
/// # Errors
/// The socket cannot be bound.
pub async fn udp(address: SocketAddr) -> io::Result<Link> {
    let socket = Rc::new(UdpSocket::bind(address).await?);
    let local = socket.local_addr()?;
    // Until the runtime has seen it writable, nothing is sent.
    socket.writable().await?;
    let (outside, inbox) = mpsc::channel(WAITING_MAX);
    tokio::task::spawn_local(read(Rc::clone(&socket), local, outside));
    Ok(Link { local, carrier: Rc::new(Socket(socket)), inbox })
}

async fn read(socket: Rc<UdpSocket>, local: SocketAddr, outside: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; DATAGRAM_OCTETS_MAX];
    loop {
        tokio::select! {
            () = outside.closed() => return,
            read = socket.recv_from(&mut buffer) => {
                // An ICMP answer to an earlier datagram is an error here and concerns nobody.
                let Ok((length, from)) = read else { continue };
                let octets = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                let packet = Packet { from, to: local, transport: Transport::Udp, octets };
                // A full inbox is loss.
                let _ = outside.try_send(packet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parlance_sip::Transport::Udp;
    use tokio::task::LocalSet;

    use super::udp;

    #[tokio::test]
    async fn a_datagram_goes_from_socket_to_socket() {
        let check = async || {
            let mut to = udp("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let from = udp("127.0.0.1:0".parse().unwrap()).await.unwrap().outlet();
            from.send(Udp, to.outlet().local(), Bytes::from_static(b"hello"));
            let packet = to.recv().await.unwrap();
            assert_eq!((packet.from, &packet.octets[..]), (from.local(), &b"hello"[..]));
        };
        LocalSet::new().run_until(check()).await;
    }
}

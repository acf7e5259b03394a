//! The sockets over loopback, on ports the system chooses.

#[cfg(test)]
mod dns;
#[cfg(test)]
mod meter;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tcp;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod udp;

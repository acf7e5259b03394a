//! MSRP over real sockets: what the driver does beside the machines, which have tests of their own.

#[cfg(test)]
mod cores;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod meter;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod websocket;

//! Addresses of the listeners: fixed ones one after the other, or free ones, and nobody else's in either case.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::problem::Problem;

/// The addresses given out so far. A listener keeps its own as long as the program runs.
pub struct Addresses {
    first: SocketAddr,
    given: BTreeMap<String, SocketAddr>,
    /// `reuse_port` lets two Envoys listen on one port without either noticing. A socket that is bound, but does not
    /// listen, gets no connections and keeps the port from being given out as a free one.
    held: Vec<TcpSocket>,
}

impl Addresses {
    /// Addresses from `first` on; port 0 means free ones.
    pub fn from(first: SocketAddr) -> Self {
        Self { first, given: BTreeMap::new(), held: Vec::new() }
    }

    /// Gives an address to each listener that has none.
    pub fn assign(&mut self, keys: impl IntoIterator<Item = String>) -> Result<(), Problem> {
        for key in keys {
            if self.given.contains_key(&key) {
                continue;
            }
            let wanted = self.next(&key)?;
            let (socket, address) = hold(wanted).map_err(|error| {
                let problem = Problem::new(format!("can't listen on {wanted} for {key}: {error}"));
                problem.cure("end what listens there, or name another address: --listen 127.0.0.1:0 takes free ports")
            })?;
            self.held.push(socket);
            self.given.insert(key, address);
        }
        Ok(())
    }

    fn next(&self, key: &str) -> Result<SocketAddr, Problem> {
        if self.first.port() == 0 {
            return Ok(self.first);
        }
        let taken: Vec<u16> = self.given.values().map(SocketAddr::port).collect();
        let port = (self.first.port()..=u16::MAX).find(|port| !taken.contains(port));
        let port = port.ok_or_else(|| Problem::new(format!("no port is left for {key} above {}", self.first)))?;
        Ok(SocketAddr::new(self.first.ip(), port))
    }

    /// All of them.
    pub fn all(&self) -> &BTreeMap<String, SocketAddr> {
        &self.given
    }
}

fn hold(wanted: SocketAddr) -> std::io::Result<(TcpSocket, SocketAddr)> {
    if wanted.port() > 0 {
        // Without reuse_port: this fails if anybody has the port, even one that would share it.
        drop(std::net::TcpListener::bind(wanted)?);
    }
    let socket = if wanted.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseport(true)?;
    socket.bind(wanted)?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn free_ports_differ_and_stay() {
        let mut addresses = Addresses::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        addresses.assign(["a".to_owned(), "b".to_owned()]).unwrap();
        let first = addresses.all().clone();
        addresses.assign(["b".to_owned(), "c".to_owned()]).unwrap();
        assert_eq!(addresses.all()["b"], first["b"]);
        assert_ne!(first["a"], first["b"]);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut addresses = Addresses::from(other.local_addr().unwrap());
        let error = addresses.assign(["a".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("can't listen on 127.0.0.1:"), "{error}");
    }
}

//! Addresses of 127.0.0.0/8 that nobody else uses: a range for Services, so that a process can listen on its Service's
//! own address, and one for Pods.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Port that is held on the first address of a range for as long as the range is used.
const HELD: u16 = 65_535;

/// Two ranges of addresses, kept from other meshes on this machine while this lives.
#[derive(Debug)]
pub struct Addresses {
    second: u8,
    _held: TcpListener,
}

impl Addresses {
    /// Takes free ones.
    ///
    /// # Panics
    /// There are none, or ports below 1024 are kept for root.
    pub fn take() -> Self {
        let (second, held) = (32..120_u8)
            .step_by(2)
            .find_map(|second| Some((second, TcpListener::bind((Ipv4Addr::new(127, second, 0, 1), HELD)).ok()?)))
            .expect("a free range of loopback addresses");
        let addresses = Self { second, _held: held };
        // Services listen where their users expect them: the webhooks on 443, HTTP on 80.
        TcpListener::bind((addresses.service(9), 443)).unwrap_or_else(|error| {
            panic!(
                "can't listen on port 443 of a loopback address: {error}\n  \
                 sudo sysctl net.ipv4.ip_unprivileged_port_start=80"
            )
        });
        addresses
    }

    /// The range of Services, as the API server wants it.
    pub fn service_range(&self) -> String {
        format!("127.{}.0.0/16", self.second)
    }

    /// A Service's fixed address. The API server gives the others from the upper part of the range.
    pub const fn service(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second, 0, number)
    }

    /// A Pod's address.
    pub const fn pod(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.second + 1, 0, number)
    }
}

/// A port of 127.0.0.1 that nobody listened on just now.
pub fn free() -> SocketAddr {
    tollgate_tests::registry::free_address()
}

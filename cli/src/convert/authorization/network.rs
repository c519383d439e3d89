//! Lists of addresses and networks, as Istio writes them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::field::Field;
use super::super::report::Report;
use super::bound::texts;

/// The networks of a list; the bits behind a network's length do not count. None where something is refused.
pub(super) fn read(list: &Field<'_>, report: &mut Report) -> Option<Vec<IpNet>> {
    let mut networks = Some(Vec::new());
    for (field, text) in texts(list, report)? {
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match parsed {
            Ok(network) => {
                if let Some(networks) = &mut networks {
                    networks.push(network.trunc());
                }
            }
            Err(_) => {
                let reason = format!("`{text}` is neither an address nor a network");
                report.refuse(&field, reason, "write 10.1.2.3 or 10.1.0.0/16: Istio refuses this");
                networks = None;
            }
        }
    }
    networks
}

/// What is in both lists: of two networks one is in the other, or they have nothing in common.
pub(super) fn both(these: &[IpNet], those: &[IpNet]) -> Vec<IpNet> {
    let mut common = Vec::new();
    for this in these {
        for that in those {
            let narrower = if this.contains(that) {
                that
            } else if that.contains(this) {
                this
            } else {
                continue;
            };
            if !common.contains(narrower) {
                common.push(*narrower);
            }
        }
    }
    common
}

/// As people write them: an address without a length.
pub(super) fn print(networks: &[IpNet]) -> Vec<String> {
    let print = |network: &IpNet| match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    };
    networks.iter().map(print).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn networks(texts: &[&str]) -> Option<Vec<IpNet>> {
        read(&Field::new(&json!(texts), "x"), &mut Report::default())
    }

    #[test]
    fn addresses_and_networks_are_read_and_the_rest_is_refused() {
        let list = networks(&["10.1.2.3", "10.1.2.3/16", "::1", "2001:db8::1/32"]).unwrap();
        assert_eq!(print(&list), ["10.1.2.3", "10.1.0.0/16", "::1", "2001:db8::/32"]);
        for text in ["10.1.2", "10.1.2.3/33", "a", "10.1.2.3/", "*", "fe80::1%eth0"] {
            assert_eq!(networks(&[text]), None, "{text}");
        }
    }

    #[test]
    fn two_lists_have_in_common_the_narrower_networks() {
        let list = |texts: &[&str]| networks(texts).unwrap();
        let common =
            both(&list(&["10.0.0.0/8", "192.168.1.0/24"]), &list(&["10.1.0.0/16", "192.168.0.0/16", "172.16.0.1"]));
        assert_eq!(print(&common), ["10.1.0.0/16", "192.168.1.0/24"]);
        assert!(both(&list(&["10.0.0.0/8"]), &list(&["11.0.0.0/8"])).is_empty());
    }
}

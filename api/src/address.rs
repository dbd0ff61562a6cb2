//! Addresses that no field of a user may lead to: those of cloud metadata services, which hand out credentials to whoever
//! asks, and those where no server can be. Both halves ask here, after a name was looked up, so no spelling of an address
//! and no DNS answer gets round it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata addresses outside the link-local ranges: Alibaba Cloud, Azure, Oracle Cloud.
const METADATA_V4: [[u8; 4]; 3] = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
/// The same for IPv6: AWS (instance metadata, pod identity) and Google Cloud.
const METADATA_V6: [[u16; 8]; 3] = [
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
    [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
];

/// What the address is when nothing may be sent there; `None` when it may. `loopback_too`: in a pod, whose loopback address
/// is the pod itself.
#[must_use]
pub fn refused(address: IpAddr, loopback_too: bool) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refused_v4(address, loopback_too),
        IpAddr::V6(address) => match embedded(address) {
            Some(embedded) => refused_v4(embedded, loopback_too),
            None => refused_v6(address, loopback_too),
        },
    }
}

fn refused_v4(address: Ipv4Addr, loopback_too: bool) -> Option<&'static str> {
    if address.is_link_local() || METADATA_V4.contains(&address.octets()) {
        return Some("a link-local or metadata address");
    }
    if address.octets()[0] == 0 || address.is_multicast() || address.is_broadcast() {
        return Some("an unspecified, multicast or broadcast address");
    }
    (loopback_too && address.is_loopback()).then_some("a loopback address, which in a pod is the pod itself")
}

fn refused_v6(address: Ipv6Addr, loopback_too: bool) -> Option<&'static str> {
    if address.is_unicast_link_local() || METADATA_V6.contains(&address.segments()) {
        return Some("a link-local or metadata address");
    }
    if address.is_unspecified() || address.is_multicast() {
        return Some("an unspecified or multicast address");
    }
    (loopback_too && address.is_loopback()).then_some("a loopback address, which in a pod is the pod itself")
}

/// The IPv4 address that an IPv6 one leads to: mapped (`::ffff:0:0/96`), compatible (`::/96`), translated by NAT64
/// (`64:ff9b::/96`) or tunnelled by 6to4 (`2002::/16`).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(g, h)),
        // `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(join(g, h)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::refused;

    #[test]
    fn metadata_and_link_local_addresses_are_refused_in_every_spelling() {
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(refused(address.parse().unwrap(), false).is_some(), "{address}");
        }
        for address in
            ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "fd00::1"]
        {
            assert_eq!(refused(address.parse().unwrap(), false), None, "{address}");
        }
    }

    #[test]
    fn in_a_pod_loopback_is_refused_too() {
        for address in ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1", "2002:7f00:1::"] {
            assert!(refused(address.parse().unwrap(), true).is_some(), "{address}");
        }
        for address in ["10.0.0.1", "fd00::1", "2606:4700::1111"] {
            assert_eq!(refused(address.parse().unwrap(), true), None, "{address}");
        }
    }
}

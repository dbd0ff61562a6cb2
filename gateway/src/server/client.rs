//! The client's address. A proxy in front tells it by `Forwarded` (RFC 7239) or `X-Forwarded-For`, and anybody can write
//! these headers: they are read only when the connection comes from a trusted proxy, from the right, where the nearest
//! proxy wrote, and only as far as the addresses are trusted proxies themselves.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use modelgate_api::compile::network;

/// Addresses in the headers that are looked at; a real chain has a few.
const MAX_HOPS: usize = 32;

/// Networks of trusted proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<(IpAddr, u8)>,
}

impl TrustedProxies {
    /// Of addresses and networks as the configuration writes them; what is neither trusts nobody.
    #[must_use]
    pub fn new(texts: &[String]) -> Self {
        Self { networks: texts.iter().filter_map(|text| network(text)).collect() }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|(network, length)| contains(*network, *length, address))
    }

    /// The nearest address that is not a trusted proxy.
    #[must_use]
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.ip().to_canonical();
        if self.networks.is_empty() || !self.trusts(peer) {
            return peer;
        }
        // Of two headers that may contradict each other the standard's is read, and never both.
        let hops = if headers.contains_key("forwarded") {
            hops(headers, "forwarded", forwarded_for)
        } else {
            hops(headers, "x-forwarded-for", address)
        };
        let mut client = peer;
        for hop in hops.into_iter().rev().take(MAX_HOPS) {
            // What is no address (`unknown`, a name, garbage) ends the trust: whoever wrote it is the last one known.
            let Some(hop) = hop else { return client };
            client = hop;
            if !self.trusts(hop) {
                return client;
            }
        }
        client
    }
}

fn hops(
    headers: &HeaderMap,
    name: &str,
    read: impl Fn(&str) -> Option<IpAddr> + Copy,
) -> Vec<Option<IpAddr>> {
    let values = headers.get_all(name).iter();
    let parts = values.flat_map(|value| match value.to_str() {
        Ok(text) => text.split(',').map(read).collect(),
        Err(_) => vec![None],
    });
    parts.collect()
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.trim().eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(address(value.trim().trim_matches('"'))?);
        }
    }
    found
}

/// An address, with or without brackets and port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let parsed = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|at| at.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    parsed.or_else(bracketed).map(|address| address.to_canonical())
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let host_bits = 128_u32.min(width - u32::from(length).min(width));
    let same = |bits: u128| if host_bits >= 128 { 0 } else { bits >> host_bits };
    same(network) == same(address)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// The other end, the headers, and the client that they make known.
    type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

    const CASES: &[Case] = &[
        ("203.0.113.9:1", &[], "203.0.113.9"),
        // Anybody can write the header.
        ("203.0.113.9:1", &[("x-forwarded-for", "10.0.0.1")], "203.0.113.9"),
        ("203.0.113.9:1", &[("forwarded", "for=10.0.0.1")], "203.0.113.9"),
        ("10.0.0.1:1", &[], "10.0.0.1"),
        ("10.0.0.1:1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
        // The client wrote the left part itself.
        ("10.0.0.1:1", &[("x-forwarded-for", "1.2.3.4, 198.51.100.1")], "198.51.100.1"),
        (
            "10.0.0.1:1",
            &[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-for", "198.51.100.1, 10.9.9.9")],
            "198.51.100.1",
        ),
        ("10.0.0.1:1", &[("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.2.3.4")], "198.51.100.1"),
        ("10.0.0.1:1", &[("x-forwarded-for", "198.51.100.1, 192.0.2.8, 10.2.3.4")], "192.0.2.8"),
        ("10.0.0.1:1", &[("x-forwarded-for", "10.1.1.1, 10.2.2.2")], "10.1.1.1"),
        // Behind garbage nobody is known.
        ("10.0.0.1:1", &[("x-forwarded-for", "198.51.100.1, unknown, 10.2.3.4")], "10.2.3.4"),
        ("10.0.0.1:1", &[("x-forwarded-for", "")], "10.0.0.1"),
        ("10.0.0.1:1", &[("x-forwarded-for", "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1:1", &[("x-forwarded-for", "[2001:db9::1]:80")], "2001:db9::1"),
        ("10.0.0.1:1", &[("x-forwarded-for", "::ffff:198.51.100.1")], "198.51.100.1"),
        ("[::ffff:10.0.0.1]:1", &[("x-forwarded-for", "198.51.100.1")], "198.51.100.1"),
        (
            "[2001:db8::5]:1",
            &[("forwarded", "for=\"[2001:db9::2]:9\";proto=https;by=10.0.0.1")],
            "2001:db9::2",
        ),
        ("10.0.0.1:1", &[("forwarded", "For=198.51.100.1, for=10.3.3.3")], "198.51.100.1"),
        ("10.0.0.1:1", &[("forwarded", "for=_hidden")], "10.0.0.1"),
        ("10.0.0.1:1", &[("forwarded", "for=1.1.1.1;for=2.2.2.2")], "10.0.0.1"),
        ("10.0.0.1:1", &[("forwarded", "proto=https")], "10.0.0.1"),
        // Never both.
        ("10.0.0.1:1", &[("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "1.2.3.4")], "198.51.100.1"),
    ];

    #[test]
    fn a_header_is_believed_only_from_a_trusted_proxy_and_only_up_to_the_first_stranger() {
        let trusted = TrustedProxies::new(&[
            "10.0.0.0/8".into(),
            "2001:db8::/32".into(),
            "192.0.2.7".into(),
            "junk".into(),
        ]);
        for (peer, headers, expected) in CASES {
            let mut map = HeaderMap::new();
            for (name, value) in *headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let client = trusted.client(peer.parse().unwrap(), &map);
            assert_eq!(client.to_string(), *expected, "{peer} {headers:?}");
        }
        let long = vec!["10.1.1.1"; 100].join(",");
        let map = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-forwarded-for"),
            HeaderValue::try_from(long).unwrap(),
        )]);
        assert_eq!(trusted.client("10.0.0.1:1".parse().unwrap(), &map).to_string(), "10.1.1.1");
        let nobody = TrustedProxies::default();
        let map = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("1.2.3.4"),
        )]);
        assert_eq!(nobody.client("10.0.0.1:1".parse().unwrap(), &map).to_string(), "10.0.0.1");
    }

    #[test]
    fn networks_contain_what_their_prefix_says() {
        let all = TrustedProxies::new(&["0.0.0.0/0".into()]);
        assert!(all.trusts("255.255.255.255".parse().unwrap()) && !all.trusts("::1".parse().unwrap()));
        let any = TrustedProxies::new(&["::/0".into()]);
        assert!(any.trusts("2001:db8::1".parse().unwrap()));
        let half = TrustedProxies::new(&["10.0.0.128/25".into()]);
        assert!(half.trusts("10.0.0.200".parse().unwrap()) && !half.trusts("10.0.0.127".parse().unwrap()));
    }
}

//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in either case, as curl and Go read them.

use std::net::IpAddr;

use base64::Engine;
use http::HeaderValue;
use url::{Host, Url};

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Value of `Proxy-Authorization`, where its address holds a user.
    pub authorization: Option<HeaderValue>,
}

/// Which proxy leads where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    none: Vec<Exception>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    Network { address: IpAddr, bits: u8 },
    Name { name: String, itself: bool, port: Option<u16> },
}

impl Proxies {
    /// From the environment.
    ///
    /// # Errors
    /// A sentence for each variable that is no proxy's address.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut of = |names: [&str; 4]| {
            let (name, value) = names
                .iter()
                .find_map(|name| Some((*name, env(name).filter(|value| !value.trim().is_empty())?)))?;
            parse(value.trim()).map_err(|why| faults.push(format!("{name}: {why}"))).ok()
        };
        let https = of(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        let http = of(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]);
        let none = env("NO_PROXY").or_else(|| env("no_proxy")).unwrap_or_default();
        let none =
            none.split([',', ' ']).map(str::trim).filter(|rule| !rule.is_empty()).map(exception).collect();
        if faults.is_empty() { Ok(Self { http, https, none }) } else { Err(faults) }
    }

    /// The proxy that leads to a host; none for this machine itself, whatever the environment says.
    #[must_use]
    pub fn to(&self, secure: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if secure { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        let is_local = match address {
            Some(address) => address.to_canonical().is_loopback(),
            None => host == "localhost" || host.ends_with(".localhost"),
        };
        let is_exempt = is_local || self.none.iter().any(|rule| rule.covers(&host, address, port));
        (!is_exempt).then_some(proxy)
    }
}

impl Exception {
    fn covers(&self, host: &str, address: Option<IpAddr>, at: u16) -> bool {
        match self {
            Self::All => true,
            Self::Network { address: network, bits } => {
                address.is_some_and(|address| shares_prefix(address.to_canonical(), *network, *bits))
            }
            Self::Name { name, itself, port } => {
                let matches = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|before| if before.is_empty() { *itself } else { before.ends_with('.') });
                matches && port.is_none_or(|port| port == at)
            }
        }
    }
}

fn shares_prefix(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let leading = |differing: u128, width: u32| {
        differing.leading_zeros().saturating_sub(128 - width) >= u32::from(bits)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => leading(u128::from(u32::from(a) ^ u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => leading(u128::from(a) ^ u128::from(b), 128),
        _ => false,
    }
}

fn exception(rule: &str) -> Exception {
    if rule == "*" {
        return Exception::All;
    }
    let (network, bits) = match rule.split_once('/') {
        Some((network, bits)) => (network, bits.parse().ok()),
        None => (rule, Some(128)),
    };
    if let (Ok(address), Some(bits)) = (network.trim_matches(['[', ']']).parse::<IpAddr>(), bits) {
        let width = if address.is_ipv4() { 32 } else { 128 };
        return Exception::Network { address, bits: u8::min(bits, width) };
    }
    let (name, port) = match rule.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (rule, None),
    };
    let name = name.to_ascii_lowercase();
    let name = name.strip_prefix('*').unwrap_or(&name);
    // With a leading dot a rule stands for the names below alone.
    match name.strip_prefix('.') {
        Some(below) => Exception::Name { name: below.to_owned(), itself: false, port },
        None => Exception::Name { name: name.to_owned(), itself: true, port },
    }
}

fn parse(value: &str) -> Result<Proxy, String> {
    let text = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let url =
        Url::parse(&text).map_err(|error| format!("is no address ({error}); write http://host:port"))?;
    if url.scheme() != "http" {
        return Err(format!("a proxy reached by {}:// is not served; write http://host:port", url.scheme()));
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err("names no host; write http://host:port".into()),
    };
    let authorization = if url.username().is_empty() {
        None
    } else {
        let plain =
            [decoded(url.username()), b":".to_vec(), decoded(url.password().unwrap_or_default())].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(plain);
        let mut value = HeaderValue::from_str(&format!("Basic {encoded}"))
            .map_err(|_| "its user cannot be sent".to_owned())?;
        value.set_sensitive(true);
        Some(value)
    };
    Ok(Proxy { host, port: url.port_or_known_default().unwrap_or(80), authorization })
}

/// Percent-encoded bytes as they are meant.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Proxies, Vec<String>> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Proxies::from_env(&move |name| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn exceptions_are_names_networks_and_ports() {
        let none =
            ".svc.cluster.local, example.com,*.corp,10.0.0.0/8, 192.168.7.7,[2001:db8::]/32,api.test:8443";
        let proxies = of(&[("https_proxy", "http://proxy:3128"), ("NO_PROXY", none)]).unwrap();
        for direct in [
            "a.svc.cluster.local",
            "example.com",
            "API.example.com.",
            "x.corp",
            "10.9.8.7",
            "192.168.7.7",
            "[2001:db8::5]",
            "localhost",
            "127.0.0.1",
            "[::1]",
        ] {
            assert_eq!(proxies.to(true, direct, 443), None, "{direct}");
        }
        for proxied in [
            "svc.cluster.local",
            "badexample.com",
            "11.0.0.1",
            "192.168.7.8",
            "corp.net",
            "api.test",
            "2001:db9::1",
        ] {
            assert!(proxies.to(true, proxied, 443).is_some(), "{proxied}");
        }
        assert_eq!(proxies.to(true, "api.test", 8443), None);
        assert_eq!(proxies.to(false, "elsewhere.net", 80), None, "HTTP_PROXY is not given");
        let all = of(&[("ALL_PROXY", "proxy"), ("no_proxy", "*")]).unwrap();
        assert_eq!(all.to(true, "elsewhere.net", 443), None);
    }

    #[test]
    fn an_address_with_a_user_gives_a_header_and_a_wrong_one_a_sentence() {
        let proxies = of(&[("HTTP_PROXY", "http://us%40er:p%3Aw@proxy.corp:8080")]).unwrap();
        let proxy = proxies.to(false, "elsewhere.net", 80).unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.corp", 8080));
        // printf 'us@er:p:w' | base64
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic dXNAZXI6cDp3");
        assert!(!format!("{proxy:?}").contains("dXNAZXI6"), "a password is no part of a log");
        for wrong in ["socks5://proxy:1080", "https://proxy", "http://"] {
            let faults = of(&[("HTTPS_PROXY", wrong)]).unwrap_err();
            assert!(faults[0].starts_with("HTTPS_PROXY: "), "{faults:?}");
        }
    }
}

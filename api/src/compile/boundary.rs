//! On which side of the data boundary an address is. A private address proves nothing (it may be a proxy's), so only what
//! cannot leave the machine or the cluster counts as inside.

use std::net::IpAddr;

use url::{Host, Url};

use crate::v1alpha1::Boundary;

/// Which side, and why, for people.
pub(super) fn of(url: &Url, stated: Option<Boundary>, cluster_domain: Option<&str>) -> (Boundary, String) {
    if let Some(stated) = stated {
        return (stated, "stated by spec.external.boundary".into());
    }
    match url.host() {
        Some(Host::Ipv4(address)) => of_address(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => of_address(IpAddr::V6(address)),
        Some(Host::Domain(name)) => of_name(name, cluster_domain),
        None => (Boundary::Outside, "the address names no host".into()),
    }
}

fn of_address(address: IpAddr) -> (Boundary, String) {
    if address.is_loopback() {
        (Boundary::Inside, format!("{address} is a loopback address"))
    } else {
        (Boundary::Outside, format!("{address} is not a loopback address"))
    }
}

fn of_name(name: &str, cluster_domain: Option<&str>) -> (Boundary, String) {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let Some(domain) = cluster_domain else {
        return (Boundary::Outside, format!("{name} is a name outside this machine"));
    };
    let suffix = format!(".svc.{}", domain.to_ascii_lowercase());
    if name.ends_with(&suffix) || name.ends_with(".svc") {
        (Boundary::Inside, format!("{name} is a name in the cluster's own domain"))
    } else {
        (Boundary::Outside, format!("{name} is not in the cluster's own domain {domain}"))
    }
}

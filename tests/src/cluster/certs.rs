//! The cluster's certificate authority, its servers' certificates and its clients' identities.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::layout::{API_SERVICE, DOMAIN, Layout, NODE, NODE_ADDRESS};
use crate::command::run_logged;

/// Clients: file name, user, group. The user is what the audit log shows.
const CLIENTS: &[(&str, &str, &str)] = &[
    ("admin", "testkit-admin", "system:masters"),
    ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    ("controller-manager", "system:kube-controller-manager", ""),
    ("scheduler", "system:kube-scheduler", ""),
    ("kube-proxy", "system:kube-proxy", ""),
    ("kubelet", "system:node:modelgate-node", "system:nodes"),
    ("coredns", "system:coredns", "system:masters"),
    ("node-agent", "testkit-node-agent", "system:masters"),
];

/// Writes `pki/` and one client configuration per user under `etc/`.
///
/// # Errors
/// When a file cannot be written or `openssl` fails.
pub fn write(layout: &Layout) -> Result<()> {
    std::fs::create_dir_all(layout.at("pki"))?;
    let ca = authority()?;
    save(layout, "ca.crt", &ca.certificate)?;
    let api_names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        &format!("kubernetes.default.svc.{DOMAIN}"),
        "localhost",
        "127.0.0.1",
        API_SERVICE,
        NODE_ADDRESS,
    ];
    server(layout, &ca, "apiserver", &api_names)?;
    server(layout, &ca, "kubelet-server", &[NODE, NODE_ADDRESS])?;
    for (file, user, group) in CLIENTS {
        let (certificate, key) = client(&ca, user, group)?;
        save(layout, &format!("{file}.crt"), &certificate)?;
        save(layout, &format!("{file}.key"), &key)?;
        let config = kubeconfig(&format!("https://{NODE_ADDRESS}:6443"), &ca.certificate, &certificate, &key);
        secret_file(Path::new(&layout.inner_kubeconfig(file)), &config)?;
    }
    service_account_key(layout)
}

/// The administrator's client configuration for use on the host.
///
/// # Errors
/// When `write` has not run.
pub fn admin_kubeconfig(layout: &Layout, port: u16) -> Result<String> {
    let read = |name: &str| std::fs::read_to_string(layout.pki(name)).with_context(|| format!("no {name}"));
    Ok(kubeconfig(
        &format!("https://127.0.0.1:{port}"),
        &read("ca.crt")?,
        &read("admin.crt")?,
        &read("admin.key")?,
    ))
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority() -> Result<Authority> {
    let mut params = named("modelgate-local-ca", "");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(Authority { certificate, issuer: Issuer::new(params, key) })
}

fn named(common_name: &str, organization: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if !organization.is_empty() {
        name.push(DnType::OrganizationName, organization);
    }
    params.distinguished_name = name;
    params
}

fn server(layout: &Layout, ca: &Authority, file: &str, names: &[&str]) -> Result<()> {
    let mut params = named(file, "");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        });
    }
    let key = KeyPair::generate()?;
    save(layout, &format!("{file}.crt"), &params.signed_by(&key, &ca.issuer)?.pem())?;
    save(layout, &format!("{file}.key"), &key.serialize_pem())
}

fn client(ca: &Authority, user: &str, group: &str) -> Result<(String, String)> {
    let mut params = named(user, group);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, &ca.issuer)?.pem(), key.serialize_pem()))
}

/// Service account tokens are signed with RSA, as in clusters that kubeadm makes: RS256 is what issuers use.
fn service_account_key(layout: &Layout) -> Result<()> {
    let log = layout.log("openssl");
    let limit = Duration::from_secs(60);
    let key = layout.pki("sa.key");
    run_logged(Command::new("openssl").args(["genrsa", "-out", &key, "2048"]), &log, limit)?;
    let mut public = Command::new("openssl");
    public.args(["rsa", "-in", &key, "-pubout", "-out", &layout.pki("sa.pub")]);
    run_logged(&mut public, &log, limit)
}

fn save(layout: &Layout, name: &str, text: &str) -> Result<()> {
    secret_file(&layout.at("pki").join(name), text)
}

/// Writes a file that only the owner reads.
///
/// # Errors
/// When it cannot be written.
pub fn secret_file(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn kubeconfig(server: &str, ca: &str, certificate: &str, key: &str) -> String {
    let [ca, certificate, key] = [ca, certificate, key].map(|text| BASE64.encode(text));
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: modelgate
  cluster: {{server: '{server}', certificate-authority-data: {ca}}}
users:
- name: user
  user: {{client-certificate-data: {certificate}, client-key-data: {key}}}
contexts:
- name: modelgate
  context: {{cluster: modelgate, user: user}}
current-context: modelgate
"
    )
}

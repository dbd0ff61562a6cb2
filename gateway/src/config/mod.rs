//! Text of a configuration → a [`Loaded`] one, complete and valid, or every reason why not. [`watch`] does it again when
//! the files change; [`snapshot`] builds from it what requests use.

pub mod read;
pub mod snapshot;
pub mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;

use modelgate_api::compile::{Place, Problem, compile};
use modelgate_api::contract::{AuthConfig, ChildModel, GatewayConfig, Target};
use modelgate_api::manifest;

use crate::args::{Settings, Source};
use read::Files;

/// A valid configuration and the hash of the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: GatewayConfig,
    /// Lower-case hexadecimal SHA-256.
    pub hash: String,
    /// Model files of backends whose engine is a child process; a backend that is not here fetches its model first.
    pub models: BTreeMap<String, PathBuf>,
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every mistake found, each a sentence for the user.
pub fn load(settings: &Settings) -> Result<Loaded, Vec<String>> {
    read_and_check(settings, true)
}

/// The same without looking for the files of models, which a machine that only checks a configuration need not have.
///
/// # Errors
/// Every mistake found, each a sentence for the user.
pub fn load_without_models(settings: &Settings) -> Result<Loaded, Vec<String>> {
    read_and_check(settings, false)
}

fn read_and_check(settings: &Settings, with_models: bool) -> Result<Loaded, Vec<String>> {
    let (config, hash) = match &settings.source {
        Source::Legacy(legacy) => {
            let config = legacy.compile(settings.is_reachable())?;
            let text = config.to_yaml().map_err(|error| vec![error.to_string()])?;
            (config, read::hash_of([("", text.as_bytes())]))
        }
        Source::Path(path) => {
            let files = read::files(path)?;
            (parse(&files, settings)?, files.hash.clone())
        }
    };
    let mut faults = check_access(&config.auth, settings.is_reachable());
    let models = if with_models { model_files(&config, settings, &mut faults) } else { BTreeMap::new() };
    check_names(&config, settings, &mut faults);
    faults.extend(
        config
            .backends
            .iter()
            .filter_map(|(name, backend)| refused_address(name, &backend.target, config.in_cluster)),
    );
    if faults.is_empty() { Ok(Loaded { config, hash, models }) } else { Err(faults) }
}

fn parse(files: &Files, settings: &Settings) -> Result<GatewayConfig, Vec<String>> {
    if let Some((name, text)) = files.rendered() {
        return GatewayConfig::from_yaml(text).map_err(|error| vec![format!("{name}: {error}")]);
    }
    let mut gateways = Vec::new();
    let mut backends = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in files.texts() {
        match manifest::parse(name, text) {
            Ok(found) => {
                gateways.extend(found.gateways);
                backends.extend(found.backends);
            }
            Err(errors) => faults.extend(errors.iter().map(ToString::to_string)),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let place =
        Place::Standalone { endpoints: settings.endpoints.clone(), reachable: settings.is_reachable() };
    match gateways.as_slice() {
        [gateway] => compile(gateway, &backends, &place)
            .map_err(|problems| problems.iter().map(Problem::to_string).collect()),
        [] => Err(vec![format!("{}: there is no ModelGateway; a gateway needs exactly one", files.origin)]),
        several => {
            let names: Vec<&str> = several.iter().map(|gateway| gateway.name.as_str()).take(8).collect();
            Err(vec![format!(
                "{}: {} ModelGateways ({}); a gateway runs exactly one",
                files.origin,
                several.len(),
                names.join(", ")
            )])
        }
    }
}

/// What `compile` checks for manifests, for rendered files too: nobody gets in by accident.
fn check_access(auth: &AuthConfig, reachable: bool) -> Vec<String> {
    if !auth.anonymous && auth.oidc.is_empty() && auth.api_keys.is_none() {
        return vec![
            "nobody could use this gateway: auth names no issuer and no API keys, and anonymous is false"
                .into(),
        ];
    }
    if auth.anonymous && reachable && !auth.anonymous_exposed {
        return vec!["auth.anonymous: everybody who reaches this address could use the gateway; listen on loopback (--listen 127.0.0.1:5000), or set anonymousExposed: true if that is meant".into()];
    }
    Vec::new()
}

fn model_files(
    config: &GatewayConfig,
    settings: &Settings,
    faults: &mut Vec<String>,
) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for (name, backend) in &config.backends {
        let Target::Child { model, .. } = &backend.target else { continue };
        let file = match (settings.model.get(name), model, &settings.models) {
            (Some(file), _, _) => file.clone(),
            (None, ChildModel::Claim { claim, path }, Some(models)) => models.join(claim).join(path),
            (None, ChildModel::Claim { claim, path }, None) => {
                faults.push(format!("ModelBackend {name}: its model is \"{path}\" of claim \"{claim}\"; give the file by `--model {name}=FILE`, or the folder that holds {claim}/{path} by `--models DIR`"));
                continue;
            }
            (None, ChildModel::Http { .. }, _) => continue,
        };
        if let Err(error) = std::fs::File::open(&file) {
            faults.push(format!(
                "ModelBackend {name}: model file {}: {error}; correct it by `--model {name}=FILE`",
                file.display()
            ));
        }
        files.insert(name.clone(), file);
    }
    files
}

/// A flag for a backend that does not exist is a spelling mistake.
fn check_names(config: &GatewayConfig, settings: &Settings, faults: &mut Vec<String>) {
    let known = || config.backends.keys().take(8).cloned().collect::<Vec<_>>().join(", ");
    let flags = settings.endpoints.keys().map(|name| ("--endpoint", name));
    for (flag, name) in flags.chain(settings.model.keys().map(|name| ("--model", name))) {
        if !config.backends.contains_key(name) {
            faults.push(format!(
                "{flag} {name}=…: no route uses a ModelBackend \"{name}\" (used: {})",
                known()
            ));
        }
    }
}

/// Addresses of metadata services and other link-local ones are refused before anything is sent there.
fn refused_address(name: &str, target: &Target, in_cluster: bool) -> Option<String> {
    let Target::External { url, .. } = target else { return None };
    let host = url::Url::parse(url).ok()?.host()?.to_owned();
    let address = match host {
        url::Host::Ipv4(address) => address.into(),
        url::Host::Ipv6(address) => address.into(),
        url::Host::Domain(_) => return None,
    };
    modelgate_api::address::refused(address, in_cluster)
        .map(|what| format!("ModelBackend {name}: {address} is {what}; no backend may be there"))
}

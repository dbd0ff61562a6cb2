//! Step 2: spec and backends → `ValidatedGateway`, or everything that is wrong. Pure.

use modelgate_api::compile::{Place, Problem, Reason, compile};
use modelgate_api::contract::GatewayConfig;
use modelgate_api::manifest::Object;
use modelgate_api::names::MAX_RESOURCE_NAME;
use modelgate_api::v1alpha1::{ModelBackendSpec, ModelGatewaySpec};
use sha2::{Digest, Sha256};

use crate::args::Render;
use crate::k8s::child::Owner;

/// Longest configuration that fits a ConfigMap with room for its metadata.
const LONGEST_CONFIG: usize = 1_000_000;

/// A gateway that can be built.
#[derive(Clone, Debug)]
pub struct ValidatedGateway {
    /// Identity.
    pub owner: Owner,
    /// The spec.
    pub spec: ModelGatewaySpec,
    /// The rendered configuration.
    pub config: GatewayConfig,
    /// The same as the text that pods read.
    pub text: String,
    /// Lower-case hexadecimal SHA-256 of the text, as pods answer it.
    pub hash: String,
}

/// Compiles the configuration.
///
/// # Errors
/// Every mistake found.
pub fn validate(
    owner: &Owner,
    generation: i64,
    spec: &ModelGatewaySpec,
    backends: &[Object<ModelBackendSpec>],
    render: &Render,
) -> Result<ValidatedGateway, Vec<Problem>> {
    let problem = |path: &str, message: String| {
        let object = format!("ModelGateway {}", owner.name);
        vec![Problem { object, path: path.into(), reason: Reason::Invalid, message }]
    };
    if owner.name.len() > MAX_RESOURCE_NAME {
        let message =
            format!("is longer than {MAX_RESOURCE_NAME} characters, which names of its children need");
        return Err(problem("metadata.name", message));
    }
    let object = Object {
        name: owner.name.clone(),
        namespace: owner.namespace.clone(),
        uid: owner.uid.clone(),
        generation,
        spec: spec.clone(),
    };
    let config = compile(&object, backends, &Place::Cluster { domain: render.cluster_domain.clone() })?;
    let text = config.to_yaml().map_err(|error| problem("spec", format!("cannot be rendered: {error}")))?;
    if text.len() > LONGEST_CONFIG {
        let message =
            format!("makes a configuration of {} bytes; {LONGEST_CONFIG} fit: use fewer routes", text.len());
        return Err(problem("spec.routes", message));
    }
    let hash = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ValidatedGateway { owner: owner.clone(), spec: spec.clone(), config, text, hash })
}

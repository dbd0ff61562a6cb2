//! Step 2: spec → `ValidatedBackend`, or everything that is wrong with it. Pure.

use modelgate_api::compile::{Problem, Reason, check_backend};
use modelgate_api::names::{DEFAULT_ENGINE_PORT, MAX_RESOURCE_NAME, backend_cache};
use modelgate_api::sizing;
use modelgate_api::v1alpha1::{
    Accelerator, AccessMode, AllowedGateways, BackendPolicy, CacheMode, CacheSpec, Devices, Engine,
    ExternalServer, GoDuration, HfSource, HttpSource, ModelBackendSpec, ModelSpec, MonitoringSpec, OciSource,
    Placement, PullSecret, PvcSource, RolloutSpec, RolloutStrategy, Schemaless, Server,
};

use crate::args::Render;
use crate::k8s::child::Owner;

/// A backend that can be built.
#[derive(Clone, Debug)]
pub struct ValidatedBackend {
    /// Identity.
    pub owner: Owner,
    /// The model.
    pub model: ModelSpec,
    /// Where it runs.
    pub place: Place,
}

/// Where a model runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// In pods of ours.
    Server(Box<ValidatedServer>),
    /// Elsewhere.
    External(ExternalServer),
    /// Nowhere.
    Fake,
}

/// A server with its defaults filled in.
#[derive(Clone, Debug)]
pub struct ValidatedServer {
    /// The engine's part of the spec.
    pub server: Server,
    /// Its port.
    pub port: u16,
    /// Where the model's files come from.
    pub source: Source,
    /// GPUs of each pod; `None` is none.
    pub accelerator: Option<Accelerator>,
    /// Pods.
    pub replicas: i32,
    /// Nodes.
    pub placement: Option<Placement>,
    /// Who may reach the pods.
    pub network: BackendPolicy,
    /// Gateways that may use it.
    pub allowed_gateways: AllowedGateways,
    /// Monitoring.
    pub monitoring: Option<MonitoringSpec>,
    /// Where what they fetch is kept; `None`: in each pod.
    pub cache: Option<SharedCache>,
    /// How pods are replaced.
    pub rollout: Replacement,
    /// Secrets for pulling images.
    pub pull_secrets: Vec<PullSecret>,
    /// What the user lays over the pod template.
    pub overrides: Option<Schemaless>,
}

/// A claim that all pods mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedCache {
    /// Its name.
    pub claim: String,
    /// What is made: size, StorageClass, access mode; `None`: the claim is the user's.
    pub made: Option<(String, Option<String>, AccessMode)>,
}

impl SharedCache {
    fn of(name: &str, spec: &CacheSpec) -> Option<Self> {
        if spec.mode == CacheMode::None {
            return None;
        }
        let mode = spec.access_mode.unwrap_or(AccessMode::ReadWriteMany);
        let made = spec.size.as_ref().map(|size| (size.0.clone(), spec.storage_class.clone(), mode));
        Some(Self { claim: spec.existing_claim.clone().unwrap_or_else(|| backend_cache(name)), made })
    }
}

/// How pods are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replacement {
    /// As the spec says.
    pub strategy: RolloutStrategy,
    /// Seconds for a pod to finish its requests; `None` is the engine's own.
    pub drain: Option<u32>,
    /// Seconds without progress after which a rollout has failed; `None` is the engine's own.
    pub deadline: Option<u32>,
}

impl Replacement {
    fn of(spec: Option<&RolloutSpec>) -> Self {
        // Part of a second counts as a whole one.
        let seconds = |time: &Option<GoDuration>| {
            let parsed = time.as_ref().and_then(|time| time.parse().ok());
            parsed.map(|time| u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX))
        };
        let Some(spec) = spec else { return Self::default() };
        Self {
            strategy: spec.strategy,
            drain: seconds(&spec.drain_timeout),
            deadline: seconds(&spec.progress_deadline),
        }
    }
}

impl ValidatedServer {
    /// The image of its pods.
    #[must_use]
    pub fn image(&self, render: &Render) -> String {
        let default = || match (self.server.engine, self.accelerator.is_some()) {
            (Engine::Vllm, _) => &render.vllm_image,
            (Engine::SGLang, _) => &render.sglang_image,
            (Engine::Tgi, _) => &render.tgi_image,
            (Engine::LlamaCpp, true) => &render.llama_cpp_cuda_image,
            (Engine::LlamaCpp, false) => &render.llama_cpp_image,
            (Engine::Triton, _) => &render.triton_image,
            // Custom always names one.
            (Engine::Embedded | Engine::Custom, _) => &render.engine_image,
        };
        self.server.image.clone().unwrap_or_else(|| default().clone())
    }
}

/// Where the model's files come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A claim.
    Claim(PvcSource),
    /// A volume made of an image.
    Oci(OciSource),
    /// A file behind a URL.
    Http(HttpSource),
    /// The hub; the engine fetches it.
    Hub(HfSource),
    /// The image or its arguments bring the model.
    Image,
}

/// Checks everything and fills in defaults.
///
/// # Errors
/// Every mistake found.
pub fn validate(owner: &Owner, spec: &ModelBackendSpec) -> Result<ValidatedBackend, Vec<Problem>> {
    let mut problems = check_backend(&owner.name, spec);
    let mut add = |path: &str, message: String| {
        let object = format!("ModelBackend {}", owner.name);
        problems.push(Problem { object, path: path.into(), reason: Reason::Invalid, message });
    };
    if owner.name.len() > MAX_RESOURCE_NAME {
        add(
            "metadata.name",
            format!("is longer than {MAX_RESOURCE_NAME} characters, which names of its children need"),
        );
    }
    let place = match (&spec.server, &spec.external) {
        (Some(server), _) => {
            place_of(&owner.name, spec, server).map(|server| Place::Server(Box::new(server)))
        }
        (None, Some(external)) => Some(Place::External(external.clone())),
        (None, None) => Some(Place::Fake),
    };
    match place {
        Some(place) if problems.is_empty() => {
            Ok(ValidatedBackend { owner: owner.clone(), model: spec.model.clone(), place })
        }
        // Without a source `check_backend` has said so.
        _ => Err(problems),
    }
}

fn place_of(name: &str, spec: &ModelBackendSpec, server: &Server) -> Option<ValidatedServer> {
    let given = spec.model.source.clone().unwrap_or_default();
    let source = match (given.pvc, given.http, given.hf, given.oci) {
        (Some(pvc), ..) => Source::Claim(pvc),
        (_, Some(http), ..) => Source::Http(http),
        (_, _, Some(hub), _) => Source::Hub(hub),
        (.., Some(oci)) => Source::Oci(oci),
        (None, None, None, None) if server.engine.traits().brings_model => Source::Image,
        (None, None, None, None) => return None,
    };
    let accelerator = match server.engine.traits().devices {
        Devices::Never => None,
        Devices::Optional => spec.accelerator.clone(),
        Devices::Required => Some(spec.accelerator.clone().unwrap_or_else(Accelerator::one)),
    };
    // Reckoned once, so that all that is built of it agrees; of the spec alone, never of the nodes.
    let accelerator = accelerator.map(|accelerator| Accelerator {
        count: Some(sizing::count(&spec.model, &accelerator)),
        ..accelerator
    });
    Some(ValidatedServer {
        port: server.port.unwrap_or(DEFAULT_ENGINE_PORT),
        server: server.clone(),
        source,
        accelerator,
        replicas: spec.replicas.unwrap_or(1),
        placement: spec.placement.clone(),
        allowed_gateways: spec.allowed_gateways.clone().unwrap_or_default(),
        network: spec.network.as_ref().map(|network| network.policy).unwrap_or_default(),
        monitoring: spec.monitoring.clone(),
        cache: spec.cache.as_ref().and_then(|cache| SharedCache::of(name, cache)),
        rollout: Replacement::of(spec.rollout.as_ref()),
        pull_secrets: spec.image_pull_secrets.clone(),
        overrides: spec.pod_overrides.clone(),
    })
}

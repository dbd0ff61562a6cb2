//! The Embedded engine: `modelgate-engine` with one GGUF file on the CPU.

use serde_json::json;

use super::engine::{EnginePod, Probes, cache, claim, fetch, fetched_into, image_volume, mount, scratch};
use super::facts::{CACHE, MODELS};
use crate::args::Render;
use crate::k8s::pods::http_probe;
use crate::model_backend::validate::{Source, ValidatedBackend, ValidatedServer};

pub(super) fn engine(backend: &ValidatedBackend, server: &ValidatedServer, render: &Render) -> EnginePod {
    let image = server.image(render);
    let (file, volume, init) = match &server.source {
        Source::Claim(pvc) => (format!("{MODELS}/{}", pvc.path), claim(&pvc.claim), Vec::new()),
        Source::Http(http) => {
            let file = format!("{}/{}.gguf", fetched_into(server), http.sha256);
            // By the pod's own image, which is the same program.
            let mut fetch = fetch(http, &file, server, render);
            if let Some(of_fetch) = fetch.get_mut("image") {
                *of_fetch = json!(image);
            }
            let volume = if server.cache.is_some() { cache(server) } else { scratch("models") };
            (file, volume, vec![fetch])
        }
        Source::Oci(oci) => (format!("{MODELS}/{}", oci.path), image_volume(oci, render), Vec::new()),
        // Validation lets other engines alone have them; the engine would say that the path does not exist.
        Source::Hub(hub) => (hub.repo.clone(), scratch("models"), Vec::new()),
        Source::Image => (MODELS.into(), scratch("models"), Vec::new()),
    };
    let kept = server.cache.is_some() && matches!(server.source, Source::Http(_));
    let model = if kept { mount("cache", CACHE, true) } else { mount("models", MODELS, true) };
    EnginePod {
        args: args(backend, server, file),
        image,
        command: None,
        env: Vec::new(),
        limits: Vec::new(),
        ports: Vec::new(),
        probes: Probes {
            // Ten minutes to read a file from a slow volume.
            startup: http_probe("/health", "http", 2, 300),
            readiness: http_probe("/health", "http", 5, 2),
            // A busy CPU answers late; only an engine that is silent for a minute and a half is restarted.
            liveness: http_probe("/health", "http", 15, 6),
        },
        mounts: vec![model, mount("tmp", "/tmp", false)],
        volumes: vec![volume, scratch("tmp")],
        init,
        // The old pod serves until the new one is ready; a CPU can be shared that long.
        strategy: json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
        progress_deadline: 900,
        grace: 60,
    }
}

fn args(backend: &ValidatedBackend, server: &ValidatedServer, file: String) -> Vec<String> {
    let model = &backend.model;
    let mut args: Vec<String> =
        vec!["serve".into(), "--model".into(), file, "--model-name".into(), model.name.clone()];
    for alias in &model.aliases {
        args.extend(["--alias".into(), alias.clone()]);
    }
    args.extend(["--listen".into(), format!("0.0.0.0:{}", server.port)]);
    if let Some(length) = model.context_length {
        args.extend(["--context-length".into(), length.to_string()]);
    }
    args
}

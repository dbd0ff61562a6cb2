//! Custom: an image of which nothing is known but that it speaks OpenAI's protocol on one port. Only a TCP connection is
//! probed, and metrics are looked for at the usual path.

use serde_json::json;

use super::engine::{EnginePod, Probes, claim, fetch, mount, scratch};
use super::facts::{CACHE, MODELS};
use super::program::limits;
use crate::args::Render;
use crate::k8s::pods::tcp_probe;
use crate::model_backend::validate::{Source, ValidatedServer};

pub(super) fn engine(server: &ValidatedServer, render: &Render) -> EnginePod {
    let mut mounts =
        vec![mount("cache", CACHE, false), mount("shm", "/dev/shm", false), mount("tmp", "/tmp", false)];
    let mut volumes =
        vec![scratch("cache"), json!({"name": "shm", "emptyDir": {"medium": "Memory"}}), scratch("tmp")];
    let mut init = Vec::new();
    match &server.source {
        Source::Claim(pvc) => {
            mounts.push(mount("models", MODELS, true));
            volumes.push(claim(&pvc.claim));
        }
        Source::Http(http) => {
            mounts.push(mount("models", MODELS, true));
            volumes.push(scratch("models"));
            init.push(fetch(http, &format!("{MODELS}/{}", http.sha256), render));
        }
        Source::Hub(_) | Source::Image => {}
    }
    EnginePod {
        image: server.image(render),
        command: None,
        args: Vec::new(),
        env: vec![
            json!({"name": "HOME", "value": CACHE}),
            json!({"name": "PORT", "value": server.port.to_string()}),
        ],
        limits: limits(server.accelerator.as_ref()),
        ports: Vec::new(),
        probes: Probes {
            startup: tcp_probe("http", 10, 360),
            readiness: tcp_probe("http", 5, 2),
            liveness: tcp_probe("http", 15, 6),
        },
        mounts,
        volumes,
        init,
        strategy: if server.accelerator.is_some() {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
        } else {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        },
        progress_deadline: 4200,
        grace: 130,
    }
}

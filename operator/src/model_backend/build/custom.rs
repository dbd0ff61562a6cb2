//! Custom: an image of which nothing is known but that it speaks OpenAI's protocol on one port. Only a TCP connection is
//! probed, and metrics are looked for at the usual path.

use serde_json::json;

use super::engine::{EnginePod, Probes, Storage, fetched_into, strategy};
use super::facts::CACHE;
use super::program::limits;
use crate::args::Render;
use crate::k8s::pods::tcp_probe;
use crate::model_backend::validate::ValidatedServer;

pub(super) fn engine(server: &ValidatedServer, render: &Render) -> EnginePod {
    let Storage { mounts, volumes, init } =
        Storage::of(server, true, |sha256| format!("{}/{sha256}", fetched_into(server)), render);
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
        strategy: strategy(server),
        progress_deadline: 4200,
        grace: 130,
    }
}

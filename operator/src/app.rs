//! Composition root: client, Lease, watches, controllers, admin listeners, shutdown. Every task's handle is kept: a task
//! that ends before its time ends the process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures::{Stream, StreamExt, stream};
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::acknowledge::{self, Acknowledgements};
use crate::admin::{self, Admin};
use crate::args::Settings;
use crate::context::{Ctx, WatchedBackend, WatchedGateway};
use crate::error::Error;
use crate::fleet::{self, Fleet};
use crate::k8s::child::OwnerKind;
use crate::k8s::events::Events;
use crate::leader::{Elector, Leadership};
use crate::mapping::Wake;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::{model_backend, model_gateway, watches};

/// Objects reconciled at once by each controller.
const CONCURRENCY: u16 = 16;
/// Changes of one object within this time are one reconcile.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Wakes on their way to a controller; a watch waits when it is full.
const WAKES: usize = 1024;
/// Reconciles under way are given this long at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// An API server that says nothing for this long is asked anew; watches get bookmarks every minute.
const SILENCE: Duration = Duration::from_secs(295);

/// Prints the CustomResourceDefinitions.
///
/// # Errors
/// When standard output is closed.
pub fn print_crds() -> anyhow::Result<()> {
    use std::io::Write;

    let mut out = std::io::stdout().lock();
    for crd in modelgate_api::crd::all()? {
        let text = serde_saphyr::to_string(&crd).context("render a CustomResourceDefinition")?;
        writeln!(out, "---\n{}", text.trim_end())?;
    }
    Ok(())
}

/// Runs until a signal, the loss of the Lease, or the end of a task that must not end.
///
/// # Errors
/// What made it stop, unless it was a signal.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    // Both kube and the probes use it; a second installation (tests) keeps the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let outcome = runtime.block_on(run_async(settings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn run_async(settings: Settings) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let metrics = Metrics::new().context("register metrics")?;
    let leadership = Leadership::new(settings.leader_elect);
    let admin = Admin { metrics: metrics.clone(), leadership: leadership.clone() };
    let health = admin::bind("--health-listen", settings.health_listen).await?;
    let scrape = admin::bind("--metrics-listen", settings.metrics_listen).await?;
    let client = client().await?;
    let mut tasks = JoinSet::new();
    spawn(&mut tasks, "health listener", admin::serve(health, admin.clone()));
    spawn(&mut tasks, "metrics listener", admin::serve(scrape, admin));

    let elector = elector(&settings, &client, &leadership);
    if settings.leader_elect {
        tracing::info!(identity = settings.identity, "waiting for the Lease");
        tokio::select! {
            () = elector.acquire() => {}
            () = stop.cancelled() => return Ok(()),
            ended = tasks.join_next() => return Err(unexpected(ended)),
        }
        tracing::info!(identity = settings.identity, "leading");
    }
    let elector = Arc::new(elector);
    if settings.leader_elect {
        let elector = Arc::clone(&elector);
        spawn(&mut tasks, "lease", async move { elector.hold().await });
    }
    let draining = CancellationToken::new();
    let mut controllers = lead(&settings, &client, &metrics, &leadership, &draining);
    let outcome = tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = leadership.lost.cancelled() => Err(anyhow::anyhow!("the Lease is lost; another operator leads")),
        ended = tasks.join_next() => Err(unexpected(ended)),
        ended = controllers.join_next() => Err(unexpected(ended)),
    };
    if outcome.is_ok() {
        tracing::info!("stopping: reconciles under way are finished first");
        draining.cancel();
        let drained = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("reconciles under way are cut off");
        }
        controllers.shutdown().await;
        if settings.leader_elect {
            elector.release().await;
        }
    }
    tasks.shutdown().await;
    outcome
}

async fn client() -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("find the cluster: give a kubeconfig or run in a pod")?;
    config.read_timeout = Some(SILENCE);
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).context("make the cluster's client")
}

fn elector(settings: &Settings, client: &Client, leadership: &Leadership) -> Elector {
    let namespace = settings.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let api = Api::namespaced(client.clone(), &namespace);
    Elector::new(api, settings.lease_name.clone(), settings.identity.clone(), leadership.clone())
}

/// Starts watches, controllers and pollers: for each namespace a set of its own, or one for all.
fn lead(
    settings: &Settings,
    client: &Client,
    metrics: &Metrics,
    leadership: &Leadership,
    draining: &CancellationToken,
) -> JoinSet<&'static str> {
    let mut tasks = JoinSet::new();
    let scopes: Vec<Option<String>> = match settings.watch_namespaces.as_slice() {
        [] => vec![None],
        namespaces => namespaces.iter().cloned().map(Some).collect(),
    };
    let fleet = Fleet::default();
    let devices =
        fleet::watch::run(client.clone(), fleet.clone(), metrics.clone(), watches::config(settings.lists));
    tasks.spawn(stoppable(draining, Box::pin(async move { (devices.await, "devices").1 })));
    for scope in scopes {
        let (stores, writers) = watches::stores();
        let ctx = Arc::new(Ctx {
            settings: settings.clone(),
            client: client.clone(),
            outbound: Outbound::new(),
            metrics: metrics.clone(),
            leadership: leadership.clone(),
            events: Events::new(client.clone(), &settings.identity),
            stores,
            acknowledgements: Acknowledgements::default(),
            activity: Default::default(),
            fleet: fleet.clone(),
            waiting: Default::default(),
            proofs: Default::default(),
            nudges: Default::default(),
            failures: Default::default(),
            served: Default::default(),
        });
        let (wake, woken) = mpsc::channel(WAKES);
        let (backends, woken_backends) = mpsc::channel(WAKES);
        let (gateways, woken_gateways) = mpsc::channel(WAKES);
        let until = |future| stoppable(draining, future);
        let watching = watches::run(Arc::clone(&ctx), scope, writers, wake.clone());
        tasks.spawn(until(Box::pin(async move { (watching.await, "watches").1 })));
        let waiting = fleet::wake_waiting(Arc::clone(&ctx), wake.clone());
        tasks.spawn(until(Box::pin(async move { (waiting.await, "waiting").1 })));
        let asking = acknowledge::run(Arc::clone(&ctx), wake);
        tasks.spawn(until(Box::pin(async move { (asking.await, "pollers").1 })));
        tasks.spawn(until(Box::pin(async move { (sort(woken, backends, gateways).await, "wakes").1 })));
        tasks.spawn(control(ctx, woken_backends, woken_gateways, draining.clone()));
    }
    tasks
}

type Named = std::pin::Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// Ends with its future, or when draining begins.
fn stoppable(
    draining: &CancellationToken,
    future: Named,
) -> impl Future<Output = &'static str> + Send + 'static {
    let draining = draining.clone();
    async move {
        tokio::select! {
            name = future => name,
            () = draining.cancelled() => "drained",
        }
    }
}

/// One channel in, one for each controller out.
async fn sort(
    mut woken: mpsc::Receiver<Wake>,
    backends: mpsc::Sender<ObjectRef<WatchedBackend>>,
    gateways: mpsc::Sender<ObjectRef<WatchedGateway>>,
) {
    while let Some(Wake { kind, namespace, name }) = woken.recv().await {
        // A closed channel means that the controller stops.
        match kind {
            OwnerKind::Backend => {
                let _ = backends.send(ObjectRef::new(&name).within(&namespace)).await;
            }
            OwnerKind::Gateway => {
                let _ = gateways.send(ObjectRef::new(&name).within(&namespace)).await;
            }
        }
    }
}

/// Both controllers, begun when every store is filled. One task waits for that and no other: a store wakes only the
/// newest of those who wait for it.
async fn control(
    ctx: Arc<Ctx>,
    backends: mpsc::Receiver<ObjectRef<WatchedBackend>>,
    gateways: mpsc::Receiver<ObjectRef<WatchedGateway>>,
    draining: CancellationToken,
) -> &'static str {
    tokio::select! {
        () = watches::filled(&ctx.stores) => {}
        () = draining.cancelled() => return "drained",
    }
    let backends = control_backends(Arc::clone(&ctx), backends, draining.clone());
    let gateways = control_gateways(ctx, gateways, draining);
    tokio::join!(backends, gateways);
    "controllers"
}

async fn control_backends(
    ctx: Arc<Ctx>,
    woken: mpsc::Receiver<ObjectRef<WatchedBackend>>,
    draining: CancellationToken,
) {
    let controller = controller(ctx.stores.backends.clone(), woken, draining);
    let reconcile = |object: Arc<WatchedBackend>, ctx: Arc<Ctx>| async move {
        timed(
            OwnerKind::Backend,
            &ctx,
            &*object,
            model_backend::reconcile(Arc::clone(&object), Arc::clone(&ctx)),
        )
        .await
    };
    let retry = |object: Arc<WatchedBackend>, error: &Error, ctx: Arc<Ctx>| {
        retry(OwnerKind::Backend, &*object, error, &ctx)
    };
    consume(controller.run(reconcile, retry, ctx)).await;
}

async fn control_gateways(
    ctx: Arc<Ctx>,
    woken: mpsc::Receiver<ObjectRef<WatchedGateway>>,
    draining: CancellationToken,
) {
    let controller = controller(ctx.stores.gateways.clone(), woken, draining);
    let reconcile = |object: Arc<WatchedGateway>, ctx: Arc<Ctx>| async move {
        timed(
            OwnerKind::Gateway,
            &ctx,
            &*object,
            model_gateway::reconcile(Arc::clone(&object), Arc::clone(&ctx)),
        )
        .await
    };
    let retry = |object: Arc<WatchedGateway>, error: &Error, ctx: Arc<Ctx>| {
        retry(OwnerKind::Gateway, &*object, error, &ctx)
    };
    consume(controller.run(reconcile, retry, ctx)).await;
}

/// A controller whose only trigger is `woken`: the watches are shared, see [`watches`].
fn controller<K>(
    store: Store<K>,
    woken: mpsc::Receiver<ObjectRef<K>>,
    draining: CancellationToken,
) -> Controller<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let woken =
        stream::unfold(woken, |mut woken| async move { woken.recv().await.map(|object| (object, woken)) });
    Controller::for_stream(stream::pending::<Result<K, watcher::Error>>(), store)
        .with_config(controller::Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .reconcile_on(woken)
        .graceful_shutdown_on(async move { draining.cancelled().await })
}

async fn timed<K: Resource + Sync>(
    kind: OwnerKind,
    ctx: &Ctx,
    object: &K,
    reconcile: impl Future<Output = Result<Action, Error>>,
) -> Result<Action, Error> {
    let begun = tokio::time::Instant::now();
    let outcome = reconcile.await;
    let result = outcome.as_ref().map(|_| ()).map_err(Error::kind);
    ctx.metrics.reconciled(kind, result, begun.elapsed().as_secs_f64());
    if outcome.is_ok() {
        ctx.failures.clear(kind, object.meta().namespace.as_deref().unwrap_or_default(), &object.name_any());
    }
    outcome
}

fn retry<K: Resource>(kind: OwnerKind, object: &K, error: &Error, ctx: &Ctx) -> Action {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let wait = ctx.failures.note(kind, &namespace, &name, error.kind());
    tracing::warn!(%error, kind = kind.as_str(), namespace, name, again_in = ?wait, "reconcile");
    Action::requeue(wait)
}

/// Drives a controller. Failed reconciles were logged where they failed.
async fn consume<T, E: std::fmt::Display>(results: impl Stream<Item = Result<T, E>>) {
    results
        .for_each(|result| {
            if let Err(error) = result {
                tracing::debug!(%error, "controller");
            }
            std::future::ready(())
        })
        .await;
}

fn spawn(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) {
    tasks.spawn(async move { (task.await, name).1 });
}

fn unexpected(ended: Option<Result<&'static str, tokio::task::JoinError>>) -> anyhow::Error {
    match ended {
        Some(Ok(task)) => anyhow::anyhow!("task \"{task}\" ended before its time"),
        Some(Err(error)) => anyhow::Error::new(error).context("a task failed"),
        None => anyhow::anyhow!("no task is left"),
    }
}

/// Cancelled by SIGTERM and SIGINT.
fn stop_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).context("watch for signals")?;
        let stop = stop.clone();
        // Lives as long as the process; a second signal is answered by the runtime's end.
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                stop.cancel();
            }
        });
    }
    if stop.is_cancelled() {
        bail!("stopped before it began");
    }
    Ok(stop)
}

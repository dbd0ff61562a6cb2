//! Puts the parts together: listen first, load the model beside it, serve, and stop in order.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::{
    runtime::Runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Semaphore, mpsc, oneshot},
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{LogFormat, ServeArgs},
    http::{
        server::{self, BindError, Listener},
        state::{Ready, State},
    },
    infer::{
        model::{LoadError, Model},
        scheduler::{self, Limits, Message},
        session::{Session, SessionError, SessionOptions},
    },
    metrics::Metrics,
};

/// Time for the last bytes of stopped requests to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the server did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The model cannot be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The memory for the context is not there.
    #[error(
        "no memory for {parallel} × {context_length} tokens of context ({source}); lower --context-length or --parallel"
    )]
    Memory {
        /// `--parallel`
        parallel: u16,
        /// `--context-length`
        context_length: u32,
        /// The library's word.
        source: SessionError,
    },
    /// The address cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused something else.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
    /// Two metric families have one name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The thread that computes ended by itself.
    #[error("the computing thread has ended unexpectedly; the log above says why")]
    Computing,
}

impl AppError {
    /// 2 for a model that cannot be served, 1 for all else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Load(_) | Self::Memory { .. } => 2,
            _ => 1,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// See [`AppError`]; everything is stopped when it returns.
pub fn serve(args: &ServeArgs) -> Result<(), AppError> {
    start_log(args.log_format);
    let runtime = Runtime::new().map_err(|error| AppError::System("threads", error))?;
    runtime.block_on(run(args))
}

/// Starts the log on standard error.
pub(crate) fn start_log(format: LogFormat) {
    // The library's own lines are many; whoever needs them names them.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,llama-cpp-2=off"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let already_started = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    drop(already_started);
}

async fn run(args: &ServeArgs) -> Result<(), AppError> {
    let mut signals = Signals::new().map_err(|error| AppError::System("signals", error))?;
    let mut names = vec![args.served_name()];
    names.extend(args.aliases.iter().filter(|alias| !alias.is_empty()).cloned());
    let metrics = Arc::new(Metrics::new(&args.served_name())?);
    let state = Arc::new(State::new(metrics, names));
    let listener = Listener::bind(args).await?;
    tracing::info!(address = listener.address(), model = state.name(), "listening");
    let (loaded, mut computing) = Computing::start(args, &state)?;
    let graceful = GracefulShutdown::new();
    let ended = tokio::select! {
        never = server::accept(&listener, &state, &graceful) => match never {},
        error = watch(loaded, &mut computing.ended) => Err(error),
        () = signals.next() => Ok(()),
    };
    state.stop();
    drop(listener);
    if ended.is_ok() {
        tracing::info!(seconds = args.drain_timeout.as_secs(), "stopping: running requests may finish");
    }
    let limit = if ended.is_ok() { args.drain_timeout } else { Duration::ZERO };
    let mut drained = std::pin::pin!(graceful.shutdown());
    let all_gone = tokio::select! {
        () = &mut drained => true,
        () = tokio::time::sleep(limit) => false,
        () = signals.next() => false,
    };
    if !all_gone {
        tracing::warn!("open requests are cut");
    }
    computing.stop().await;
    if !all_gone {
        let _best_effort = tokio::time::timeout(LAST_WORDS, drained).await;
    }
    ended
}

/// Returns only when something is wrong: the model did not load, or the computing thread ended.
async fn watch(
    loaded: oneshot::Receiver<Result<(), AppError>>,
    ended: &mut oneshot::Receiver<()>,
) -> AppError {
    match loaded.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error,
        Err(_) => return AppError::Computing,
    }
    let _closed = ended.await;
    AppError::Computing
}

/// The thread that loads the model and then computes with it.
struct Computing {
    messages: mpsc::Sender<Message>,
    ended: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Computing {
    /// Starts the thread; the receiver tells when the model is ready or why it is not.
    fn start(
        args: &ServeArgs,
        state: &Arc<State>,
    ) -> Result<(oneshot::Receiver<Result<(), AppError>>, Self), AppError> {
        let capacity = usize::from(args.parallel) + usize::from(args.queue);
        let (messages, inbox) = mpsc::channel(capacity + 1);
        let (loaded_tx, loaded) = oneshot::channel();
        let (ended_tx, ended) = oneshot::channel();
        let (args, state, sender) = (args.clone(), Arc::clone(state), messages.clone());
        let compute = move || {
            load_and_compute(&args, &state, sender, inbox, loaded_tx);
            let _main_gone = ended_tx.send(());
        };
        let thread = std::thread::Builder::new()
            .name("compute".into())
            .spawn(compute)
            .map_err(|error| AppError::System("the computing thread", error))?;
        Ok((loaded, Self { messages, ended, thread }))
    }

    /// Ends what still runs and waits for the thread, so that the library is not torn down while it computes.
    async fn stop(self) {
        let _already_ended = self.messages.send(Message::Stop).await;
        let _panicked = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

fn load_and_compute(
    args: &ServeArgs,
    state: &Arc<State>,
    messages: mpsc::Sender<Message>,
    inbox: mpsc::Receiver<Message>,
    loaded: oneshot::Sender<Result<(), AppError>>,
) {
    let began = Instant::now();
    let stopping = Arc::clone(state);
    let model = match Model::load(&args.model, move || !stopping.stopping()) {
        Ok(model) => Arc::new(model),
        Err(error) => return drop(loaded.send(Err(error.into()))),
    };
    let context_length = model.context_length(args.context_length);
    if context_length > model.trained_context() {
        let trained = model.trained_context();
        tracing::warn!(context_length, trained, "--context-length is longer than the model was trained for");
    }
    let threads = args.threads.unwrap_or_else(default_threads);
    let options = SessionOptions { context_length, sequences: args.parallel, threads };
    let session = match Session::new(&model, &options) {
        Ok(session) => session,
        Err(source) => {
            let error = AppError::Memory { parallel: args.parallel, context_length, source };
            return drop(loaded.send(Err(error)));
        }
    };
    let capacity = usize::from(args.parallel) + usize::from(args.queue);
    let ready = Ready {
        model: Arc::clone(&model),
        context_length: usize::try_from(context_length).unwrap_or(usize::MAX),
        messages,
        places: Arc::new(Semaphore::new(capacity)),
        capacity,
    };
    state.metrics.loaded(began.elapsed(), context_length, args.parallel);
    tracing::info!(seconds = began.elapsed().as_secs_f64(), context_length, threads, "model loaded");
    if state.ready.set(ready).is_ok() && loaded.send(Ok(())).is_ok() {
        scheduler::run(&model, session, Limits { sequences: args.parallel, context_length }, inbox);
    }
}

/// Half of the processors this process may use. The library's threads wait for each other in busy loops after every
/// operation, so one that is not running, because another program has its processor, stops all of them.
fn default_threads() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(processors / 2).unwrap_or(u16::MAX).clamp(1, 512)
}

/// The two signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

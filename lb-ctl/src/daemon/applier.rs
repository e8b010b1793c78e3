//! Checks a configuration, keeps it, and has it put into force, one at a time.

use std::io;

use lb_common::abi::ABI_VERSION;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::Error;
use super::store::Store;
use crate::api::server::{Control, Refusal};
use crate::api::types::{self, Applied, Apply, Nat, Status, Version};
use crate::config::{self, Config, Errors};
use crate::reconcile::{self, ApplyError};

/// What the API reaches.
pub(super) struct Applier {
    instance: String,
    reconciler: reconcile::Handle,
    ledger: Ledger,
}

impl Applier {
    pub(super) fn new(instance: &str, reconciler: reconcile::Handle, store: Store) -> Self {
        Self { instance: instance.to_owned(), reconciler, ledger: Ledger::new(store) }
    }

    /// Puts the first configuration into force. One that was being applied when the daemon was
    /// killed, and that cannot be, gives way to the one before.
    pub(super) async fn begin_with(&self, wanted: Wanted) -> Result<(), Error> {
        let (sources, before) = match wanted {
            Wanted::Nothing => {
                tracing::warn!("no configuration yet; give it one: lbctl apply -f lb.yaml");
                return Ok(());
            }
            Wanted::Given(sources) => (sources, None),
            Wanted::Kept { sources, before } => (sources, before),
        };
        let Err(refusal) = self.put(sources).await else { return Ok(()) };
        let Some(before) = before else { return Err(refusal.into()) };
        let why = &refusal.failure().message;
        tracing::warn!(
            "the last apply was cut short and cannot be finished; going on with what was before: {why}"
        );
        if before.is_empty() {
            return Ok(());
        }
        self.put(before).await.map(|_| ()).map_err(Error::from)
    }

    async fn put(&self, sources: Vec<types::Source>) -> Result<Applied, Refusal> {
        self.ledger.apply(Apply { sources }, async |config| self.reconciler.apply(config).await).await
    }

    /// Waits for the apply that is under way, and lets none begin after it.
    pub(super) async fn finish(&self) {
        self.ledger.close().await;
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let failure = refusal.failure();
        let message = format!("the configuration is not in force: {}\n  {CURE}", failure.message);
        match failure.kind.as_str() {
            "invalid" => Self::Input(message),
            _ => Self::Failed(message),
        }
    }
}

const CURE: &str = "nothing was changed; mend that, or start with another file: lbctl serve --config lb.yaml";

impl Control for Applier {
    fn version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            abi: ABI_VERSION,
            instance: self.instance.clone(),
            pid: std::process::id(),
        }
    }

    async fn status(&self) -> Result<Status, Refusal> {
        self.reconciler.status().await.map_err(|error| refusal(&error))
    }

    async fn nat(&self) -> Result<Nat, Refusal> {
        self.reconciler.nat().await.map_err(|error| refusal(&error))
    }

    async fn apply(&self, apply: Apply) -> Result<Applied, Refusal> {
        let outcome = self.put(apply.sources).await;
        if let Err(refusal) = &outcome {
            tracing::warn!("not applied: {}", refusal.failure().message);
        }
        outcome
    }
}

fn refusal(error: &ApplyError) -> Refusal {
    match error {
        ApplyError::Refused(why) => Refusal::invalid(why),
        ApplyError::Failed(why) => Refusal::failed(why),
        ApplyError::Stopping => {
            Refusal::failed("the daemon is stopping; start lbctl serve again, then retry")
        }
    }
}

/// What a daemon that starts is to put into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// Named on the command line.
    Given(Vec<types::Source>),
    /// Applied last; `before` if that apply was cut short.
    Kept {
        sources: Vec<types::Source>,
        before: Option<Vec<types::Source>>,
    },
}

/// Decides what to begin with, and refuses what is not valid before anything is touched.
pub(super) fn wanted(given: Option<&[config::Source]>, store: &Store) -> Result<Wanted, Error> {
    if let Some(given) = given {
        config::load(given)?;
        let source = |s: &config::Source| types::Source { name: s.name.clone(), text: s.text.clone() };
        return Ok(Wanted::Given(given.iter().map(source).collect()));
    }
    let unreadable = |error: io::Error| {
        Error::Input(format!(
            "cannot read what was applied last: {error}\n  start with a configuration: lbctl serve --config lb.yaml"
        ))
    };
    let Some(sources) = store.applied().map_err(unreadable)? else { return Ok(Wanted::Nothing) };
    config::load(&parsed(&sources)).map_err(|errors| {
        Error::Input(format!(
            "what was applied last is not valid for this version of lbctl:\n{errors}\n  \
             start with a configuration: lbctl serve --config lb.yaml"
        ))
    })?;
    Ok(Wanted::Kept { sources, before: store.cut_short().map_err(unreadable)? })
}

fn parsed(sources: &[types::Source]) -> Vec<config::Source> {
    let source = |s: &types::Source| config::Source { name: s.name.clone(), text: s.text.clone() };
    sources.iter().map(source).collect()
}

/// The kept configuration. Its lock makes applies follow one another.
struct Ledger {
    /// `None` once the daemon is ending.
    store: Mutex<Option<Store>>,
}

impl Ledger {
    fn new(store: Store) -> Self {
        Self { store: Mutex::new(Some(store)) }
    }

    async fn close(&self) {
        *self.store.lock().await = None;
    }

    /// Keeps the new configuration first, so that a daemon that is killed from here on rolls
    /// forward; `put` has it put into force; if that fails, what was kept before is kept again.
    async fn apply(
        &self,
        apply: Apply,
        put: impl AsyncFnOnce(Config) -> Result<Applied, ApplyError>,
    ) -> Result<Applied, Refusal> {
        let (apply, config) = validate(apply).await?;
        let guard = self.store.lock().await;
        let Some(store) = &*guard else { return Err(refusal(&ApplyError::Stopping)) };
        on_disk(store, move |store| store.begin(&apply.sources)).await.map_err(|error| not_kept(&error))?;
        match put(config).await {
            Ok(mut applied) => {
                if let Err(error) = on_disk(store, Store::commit).await {
                    applied
                        .warnings
                        .push(format!("it is in force, but the state directory has trouble: {error}"));
                }
                Ok(applied)
            }
            Err(error) => {
                let refusal = refusal(&error);
                match on_disk(store, Store::roll_back).await {
                    Ok(()) => Err(refusal),
                    Err(also) => Err(Refusal::failed(format!(
                        "{}\n  besides, the state directory has trouble ({also}): mend it before the daemon starts again, \
                         or start it with --config",
                        refusal.failure().message
                    ))),
                }
            }
        }
    }
}

/// A large file takes its time; other requests go on.
async fn validate(apply: Apply) -> Result<(Apply, Config), Refusal> {
    let work = spawn_blocking(move || {
        let config = config::load(&parsed(&apply.sources))?;
        Ok::<_, Errors>((apply, config))
    });
    match work.await {
        Ok(loaded) => loaded.map_err(|errors| Refusal::invalid(errors.to_string())),
        Err(error) => {
            Err(Refusal::failed(format!("checking the configuration failed: {error}; please report it")))
        }
    }
}

async fn on_disk(
    store: &Store,
    work: impl FnOnce(&Store) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let store = store.clone();
    spawn_blocking(move || work(&store)).await.map_err(io::Error::other)?
}

fn not_kept(error: &io::Error) -> Refusal {
    Refusal::failed(format!(
        "cannot keep the configuration: {error}\n  \
         make room or make the state directory writable, then apply again; nothing was applied"
    ))
}

#[cfg(test)]
#[path = "applier_tests.rs"]
mod tests;

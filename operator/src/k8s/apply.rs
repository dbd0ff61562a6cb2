//! Bringing children to the API server: server-side apply, and deletion of those not wanted any more. [I/O]

use std::collections::BTreeSet;
use std::time::Duration;

use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::{DynamicObject, TypeMeta};
use serde_json::Value;

use super::child::{Applied, Child, ChildKind, MANAGER, Owner, Prepared};
use super::{managed, satisfied};
use crate::context::Ctx;
use crate::error::Error;
use crate::metrics::ApplyResult;

/// Longest wait for one answer of the API server.
pub const ANSWER: Duration = Duration::from_secs(15);

/// Applies and deletes the children of one owner.
pub struct Applier<'a> {
    ctx: &'a Ctx,
    owner: &'a Owner,
}

impl<'a> Applier<'a> {
    /// An applier for `owner`.
    ///
    /// # Errors
    /// [`Error::LeaseLost`]: a batch of writes may not begin.
    pub fn begin(ctx: &'a Ctx, owner: &'a Owner) -> Result<Self, Error> {
        ctx.leadership.ensure()?;
        Ok(Self { ctx, owner })
    }

    /// Makes the live object as wanted, writing only where it is not.
    ///
    /// # Errors
    /// When the API server refuses, or the name is taken by an object of somebody else.
    pub async fn apply(&self, child: Child<Prepared>) -> Result<Child<Applied>, Error> {
        let kind = child.kind;
        let outcome = self.apply_counted(child).await;
        let result = outcome.as_ref().map_or(ApplyResult::Failed, |(_, result)| *result);
        self.ctx.metrics.applied(kind, result);
        outcome.map(|(child, _)| child)
    }

    /// As [`apply`](Self::apply), for a kind whose API may not be served: `None` then.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn apply_optional(
        &self,
        child: Option<Child<Prepared>>,
    ) -> Result<Option<Child<Applied>>, Error> {
        let Some(child) = child else { return Ok(None) };
        if !self.ctx.serves(child.kind) {
            return Ok(None);
        }
        let kind = child.kind;
        match self.apply(child).await {
            Err(Error::Api { source, .. }) if !kind.always_served() && is_code(&source, 404) => {
                // The API went away; the next look of the watch says so for good.
                self.ctx.served.note(kind, false);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    async fn apply_counted(&self, child: Child<Prepared>) -> Result<(Child<Applied>, ApplyResult), Error> {
        let live = self.live(&child).await?;
        let mut result = ApplyResult::Applied;
        if let Some(live) = live {
            if satisfied::is_satisfied(&child.body, &live, MANAGER) {
                return Ok((child.applied(live), ApplyResult::Unchanged));
            }
            let edited = satisfied::differences(&child.body, &live);
            let others = managed::others(&live, &edited, MANAGER);
            if !others.is_empty() {
                result = ApplyResult::Restored;
                let (kind, name) = (child.kind.as_str(), &child.name);
                let note = format!("{kind} {name}: fields set by {} are set back", others.join(", "));
                self.ctx.events.warn(self.owner, "FieldsRestored", note).await;
            }
        }
        let action = format!("apply {} {}/{}", child.kind.as_str(), self.owner.namespace, child.name);
        let params = PatchParams::apply(MANAGER).force().validation_strict();
        let api = self.api(child.kind);
        let patch = Patch::Apply(&child.body);
        let applying = api.patch(&child.name, &params, &patch);
        let live = within(&action, applying).await?;
        tracing::info!(owner = self.owner.name, action, "written");
        let live =
            serde_json::to_value(live).map_err(|error| Error::api(action, kube::Error::SerdeError(error)))?;
        Ok((child.applied(live), result))
    }

    /// The live object as the watch last saw it. One that the watch does not know is asked for by name, so that an
    /// object of somebody else is never taken over.
    async fn live(&self, child: &Child<Prepared>) -> Result<Option<Value>, Error> {
        let live = match self.ctx.stores.child(child.kind, &self.owner.namespace, &child.name) {
            Some(live) => Some((*live).clone()),
            None => {
                let action = format!("get {} {}/{}", child.kind.as_str(), self.owner.namespace, child.name);
                let api = self.api(child.kind);
                within(&action, api.get_opt(&child.name)).await?
            }
        };
        let Some(mut live) = live else { return Ok(None) };
        // Items of a list come without apiVersion and kind.
        let resource = child.kind.resource();
        live.types = Some(TypeMeta { api_version: resource.api_version, kind: resource.kind });
        if live.metadata.deletion_timestamp.is_none() && !self.owns(&live) {
            return Err(Error::Taken { kind: child.kind.as_str(), name: child.name.clone() });
        }
        let action = || format!("read {} {}", child.kind.as_str(), child.name);
        serde_json::to_value(live)
            .map(Some)
            .map_err(|error| Error::api(action(), kube::Error::SerdeError(error)))
    }

    /// Deletes children of the owner that are not in `keep`. Each deletion names the object's UID and resourceVersion,
    /// so that an object made anew or changed meanwhile stays.
    ///
    /// # Errors
    /// When the API server refuses for another reason than that the object is gone or changed.
    pub async fn prune(&self, keep: &BTreeSet<(ChildKind, String)>) -> Result<(), Error> {
        for (kind, store) in &self.ctx.stores.children {
            let orphans = store.state_filter(|object| {
                object.metadata.namespace.as_deref() == Some(&*self.owner.namespace)
                    && object.metadata.deletion_timestamp.is_none()
                    && self.owns(object)
                    && !keep.contains(&(*kind, object.metadata.name.clone().unwrap_or_default()))
            });
            for orphan in orphans.iter().filter(|_| self.ctx.serves(*kind)) {
                self.delete(*kind, orphan).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, kind: ChildKind, orphan: &DynamicObject) -> Result<(), Error> {
        let name = orphan.metadata.name.clone().unwrap_or_default();
        let preconditions = Preconditions {
            uid: orphan.metadata.uid.clone(),
            resource_version: orphan.metadata.resource_version.clone(),
        };
        let params = DeleteParams::background().preconditions(preconditions);
        let action = format!("delete {} {}/{name}", kind.as_str(), self.owner.namespace);
        let api = self.api(kind);
        match within(&action, api.delete(&name, &params)).await {
            Ok(_) => {
                self.ctx.metrics.applied(kind, ApplyResult::Deleted);
                tracing::info!(owner = self.owner.name, action, "deleted");
                Ok(())
            }
            // Gone already.
            Err(Error::Api { source, .. }) if is_code(&source, 404) => Ok(()),
            Err(error) => {
                self.ctx.metrics.applied(kind, ApplyResult::Failed);
                Err(error)
            }
        }
    }

    fn owns(&self, object: &DynamicObject) -> bool {
        object
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.controller == Some(true) && owner.uid == self.owner.uid)
    }

    fn api(&self, kind: ChildKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.ctx.client.clone(), &self.owner.namespace, &kind.resource())
    }
}

/// Waits for the API server no longer than [`ANSWER`].
pub(crate) async fn within<T>(
    action: &str,
    pending: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER, pending).await {
        Ok(outcome) => outcome.map_err(|error| Error::api(action, error)),
        Err(elapsed) => Err(Error::api(action, kube::Error::Service(elapsed.into()))),
    }
}

fn is_code(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

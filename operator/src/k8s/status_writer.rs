//! Writing a status: only when it changed, only as the leader, and only onto the object it is about. [I/O]

use kube::api::{Api, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};

use super::apply::within;
use super::child::{Owner, OwnerKind};
use crate::context::Ctx;
use crate::error::Error;

/// Field manager of status.
pub const STATUS_MANAGER: &str = "modelgate-operator/status";

/// Lists that are left out when they are empty; a merge patch must say so.
const LISTS: [&str; 4] = ["addresses", "routes", "servedModels", "pendingChanges"];

/// Writes `wanted` unless it is what the object has. Timestamps of conditions whose status did not change were carried
/// over when `wanted` was made, so plain equality is the question.
///
/// # Errors
/// When the API server refuses; an object that is gone is no error.
pub async fn write<S: Serialize + PartialEq + Sync>(
    ctx: &Ctx,
    owner: &Owner,
    current: Option<&S>,
    wanted: &S,
) -> Result<(), Error> {
    if current == Some(wanted) {
        return Ok(());
    }
    ctx.leadership.ensure()?;
    let plural = match owner.kind {
        OwnerKind::Backend => "modelbackends",
        OwnerKind::Gateway => "modelgateways",
    };
    let resource = ApiResource {
        group: modelgate_api::GROUP.into(),
        version: modelgate_api::VERSION.into(),
        api_version: modelgate_api::API_VERSION.into(),
        kind: owner.kind.as_str().into(),
        plural: plural.into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &owner.namespace, &resource);
    let action = format!("write the status of {} {}/{}", owner.kind.as_str(), owner.namespace, owner.name);
    let patch =
        patch(wanted, &owner.uid).map_err(|error| Error::api(&*action, kube::Error::SerdeError(error)))?;
    let params = PatchParams { field_manager: Some(STATUS_MANAGER.into()), ..PatchParams::default() };
    let outcome = within(&action, api.patch_status(&owner.name, &params, &Patch::Merge(patch))).await;
    ctx.metrics.status_written(owner.kind, outcome.is_ok());
    match outcome {
        Ok(_) => Ok(()),
        // Deleted meanwhile.
        Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// The UID makes the API server refuse a status meant for an object of the same name that was deleted.
fn patch<S: Serialize>(wanted: &S, uid: &str) -> serde_json::Result<Value> {
    let mut status = serde_json::to_value(wanted)?;
    if let Some(status) = status.as_object_mut() {
        for list in LISTS {
            status.entry(list).or_insert(Value::Null);
        }
    }
    Ok(json!({"metadata": {"uid": uid}, "status": status}))
}

#[cfg(test)]
mod tests {
    use modelgate_api::v1alpha1::ModelGatewayStatus;

    use super::*;

    #[test]
    fn what_is_empty_now_is_removed_by_the_patch() {
        let patch = patch(&ModelGatewayStatus::default(), "u").unwrap();
        for field in ["addresses", "routes", "pendingRollout", "summary"] {
            assert_eq!(patch["status"].get(field), Some(&Value::Null), "{field}");
        }
        assert_eq!(patch["metadata"]["uid"], "u");
    }
}

//! What the operator was granted and did not use in the whole run, by the API server's audit log: nothing. Stands last, after
//! the product is gone; a run of single tests, in which the product was not removed, checks the other half alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::world::{OPERATOR_NAMESPACE, RELEASE, bare, root};

type Rights = BTreeSet<(String, String)>;

/// Asked for by the admission plugin OwnerReferencesPermissionEnforcement, where a cluster has it; no request shows that.
const NO_REQUEST: [&str; 2] = ["modelbackends/finalizers", "modelgateways/finalizers"];

/// `resource` (with group, with subresource) and verb of everything that the chart's roles grant the operator.
fn granted() -> Rights {
    let text = std::fs::read_to_string(root().join("manifests/base/modelgate.yaml")).unwrap();
    let documents = text.split("\n---\n").filter(|document| document.contains("kind:"));
    let roles =
        documents.map(|document| serde_saphyr::from_str::<Value>(document).unwrap()).filter(|object| {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let kind = object["kind"].as_str().unwrap_or_default();
            matches!(kind, "ClusterRole" | "Role") && !name.ends_with("-edit") && !name.ends_with("-view")
        });
    let list = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let mut granted = Rights::new();
    for rule in roles.flat_map(|role| role["rules"].as_array().unwrap().clone()) {
        for group in list(&rule["apiGroups"]) {
            for resource in list(&rule["resources"]).into_iter().filter(|name| !NO_REQUEST.contains(&&**name))
            {
                granted.extend(
                    list(&rule["verbs"]).into_iter().map(|verb| (format!("{group}/{resource}"), verb)),
                );
            }
        }
    }
    granted
}

#[test]
#[ignore = "finds rights that no end-to-end test uses yet, those of caches, routes and deletions"]
fn every_right_of_the_operator_was_used_and_none_that_it_lacks_was_asked_for() {
    let log = std::fs::File::open(bare().layout().audit_log()).unwrap();
    let operator = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{RELEASE}-operator");
    let (mut used, mut forbidden, mut whole) = (Rights::new(), BTreeMap::new(), false);
    for line in BufReader::new(log).lines() {
        let Ok(event) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (verb, resource) = (text("/verb"), text("/objectRef/resource"));
        let own_role = matches!(resource, "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings")
            && text("/objectRef/name").starts_with(&format!("{RELEASE}-operator"));
        if verb == "delete" && own_role {
            // The product is being removed: from here on nothing is granted.
            whole = true;
            break;
        }
        // Impersonated by a test of what is refused.
        if text("/user/username") != operator
            || event.get("impersonatedUser").is_some()
            || resource.is_empty()
        {
            continue;
        }
        let subresource = text("/objectRef/subresource");
        let resource =
            if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
        let right = (format!("{}/{resource}", text("/objectRef/apiGroup")), verb.to_owned());
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64).unwrap_or_default();
        let terminating = text("/responseStatus/message").contains("being terminated");
        if code == 403 && !terminating {
            *forbidden.entry(right).or_insert(0) += 1;
        } else {
            // Server-side apply of an object that was not there is a patch that needs, and uses, the right to create.
            if verb == "patch" && code == 201 {
                used.insert((right.0.clone(), "create".to_owned()));
            }
            used.insert(right);
        }
    }
    assert!(forbidden.is_empty(), "asked for without the right to: {forbidden:?}");
    let granted = granted();
    let more: Vec<_> = used.difference(&granted).collect();
    assert!(more.is_empty(), "used and not granted by the chart: {more:?}");
    if whole {
        let idle: Vec<_> = granted.difference(&used).collect();
        assert!(idle.is_empty(), "granted and never used: {idle:?}");
    }
}

//! The table of routes → an OpenAPI 3.1 document. Only routes that this gateway serves now are in it.

use modelgate_api::v1alpha1::Protocol;
use serde_json::{Map, Value, json};

use super::table::{Access, Described, describe, schemas};
use crate::config::snapshot::Snapshot;
use crate::pipeline::paths;
use crate::series::{HANDLERS, Handler};

/// The document.
pub(super) fn document(snapshot: &Snapshot) -> Value {
    let served =
        HANDLERS.into_iter().filter(|handler| paths::handler(handler.as_str(), snapshot) == *handler);
    let model =
        snapshot.routes.iter().flat_map(|route| route.matcher.models()).find(|model| !model.ends_with('*'));
    let mut paths = Map::new();
    for handler in served {
        let Some(described) = describe(handler, model.map_or("model", String::as_str)) else { continue };
        let method = handler.method().as_str().to_ascii_lowercase();
        let mut operation = operation(handler, &described);
        if handler == Handler::Completions && snapshot.serves(Protocol::Tabby) {
            // One path, and two bodies that are told apart.
            let schemas = ["TextCompletion", "TabbyCompletion"];
            let either = schemas.map(|schema| json!({"$ref": format!("#/components/schemas/{schema}")}));
            let schema = operation.pointer_mut("/requestBody/content/application~1json/schema");
            if let Some(schema) = schema {
                *schema = json!({"anyOf": either});
            }
        }
        paths.insert(handler.as_str().into(), json!({method: operation}));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Modelgate API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "gitlab": {
                    "type": "apiKey", "in": "header", "name": "X-Gitlab-Authentication-Type",
                    "description": "oidc",
                },
            },
        },
    })
}

fn operation(handler: Handler, described: &Described) -> Value {
    let security = match described.access {
        Access::Open => json!([]),
        Access::Bearer => json!([{"bearer": []}]),
        Access::GitLab => json!([{"bearer": [], "gitlab": []}]),
    };
    let id = handler.as_str().trim_start_matches('/').replace('/', "_").replace(['{', '}'], "");
    let done = if handler == Handler::TabbyEvents { "204" } else { "200" };
    let mut responses = json!({done: {"description": "Done", "content": {"application/json": {"schema": {"type": "object"}}}}});
    let refused = |what: &str| json!({"description": what, "content": {"application/json": {"schema": {"type": "object"}}}});
    if described.access != Access::Open {
        put(&mut responses, "401", refused("The caller was not let in"));
    }
    let mut operation = json!({"operationId": id, "summary": described.summary, "tags": [described.tag], "security": security});
    if handler == Handler::Model {
        let name = json!({"name": "model", "in": "path", "required": true, "schema": {"type": "string"}});
        put(&mut operation, "parameters", json!([name]));
    }
    if let Some((schema, example)) = &described.body {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        let content = json!({"application/json": {"schema": schema, "example": example}});
        put(&mut operation, "requestBody", json!({"required": true, "content": content}));
        let wrong = if described.access == Access::GitLab { "422" } else { "400" };
        put(&mut responses, wrong, refused("The request is wrong"));
    }
    put(&mut operation, "responses", responses);
    operation
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.into(), value);
    }
}

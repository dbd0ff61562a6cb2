//! YAML text → resources, as a user writes them, for a gateway without Kubernetes and for tests. What the API server
//! refuses by its schema is refused here by name: an unknown kind, a field nobody declared, a wrong type.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::contract::Input;
use crate::v1alpha1::{ModelBackendSpec, ModelGatewaySpec};
use crate::{API_VERSION, GROUP};

/// Namespace of a manifest that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A resource of ours: its identity and spec, without what only a cluster knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S> {
    /// Name of the object.
    pub name: String,
    /// Namespace of the object.
    pub namespace: String,
    /// UID; empty when it came from a file.
    pub uid: String,
    /// Generation; 0 when it came from a file.
    pub generation: i64,
    /// What the user wrote.
    pub spec: S,
}

impl<S> Object<S> {
    /// The object as an input of a rendered configuration.
    #[must_use]
    pub fn input(&self, kind: &str) -> Input {
        Input {
            kind: kind.into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            generation: self.generation,
        }
    }
}

/// All resources of ours in some text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifests {
    /// Gateways, in the order written.
    pub gateways: Vec<Object<ModelGatewaySpec>>,
    /// Backends, in the order written.
    pub backends: Vec<Object<ModelBackendSpec>>,
}

/// One fault of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ManifestError {
    /// File and document, such as `gateway.yaml document 2`.
    pub origin: String,
    /// What is wrong, naming the field.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct Body<S> {
    spec: S,
}

/// Reads every document of `text`. Documents of other groups (a Namespace, a Secret) are passed over, so the same file
/// can be applied to a cluster.
///
/// # Errors
/// All faults of all documents, not the first alone.
pub fn parse(origin: &str, text: &str) -> Result<Manifests, Vec<ManifestError>> {
    let mut found = Manifests::default();
    let mut errors = Vec::new();
    let documents: Vec<serde_json::Value> = match serde_saphyr::from_multiple(text) {
        Ok(documents) => documents,
        Err(error) => return Err(vec![ManifestError { origin: origin.into(), message: error.to_string() }]),
    };
    for (index, document) in documents.into_iter().enumerate().filter(|(_, document)| !document.is_null()) {
        let origin = format!("{origin} document {}", index + 1);
        if let Err(faults) = read_document(document, &mut found) {
            errors
                .extend(faults.into_iter().map(|message| ManifestError { origin: origin.clone(), message }));
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// Untyped first, as kubectl reads it: `n`, `yes` and `off` without quotes are booleans, and refused where text is due.
fn read_document(document: serde_json::Value, found: &mut Manifests) -> Result<(), Vec<String>> {
    let head: Head = serde_json::from_value(document.clone()).map_err(|error| vec![error.to_string()])?;
    let api_version = head.api_version.unwrap_or_default();
    if !api_version.starts_with(&format!("{GROUP}/")) {
        return if api_version.is_empty() { Err(vec!["apiVersion is missing".into()]) } else { Ok(()) };
    }
    if api_version != API_VERSION {
        return Err(vec![format!("apiVersion \"{api_version}\" is not known; write {API_VERSION}")]);
    }
    if head.metadata.name.is_empty() {
        return Err(vec!["metadata.name is missing".into()]);
    }
    let kind = head.kind.unwrap_or_default();
    match kind.as_str() {
        "ModelGateway" => found.gateways.push(object(&head.metadata, document)?),
        "ModelBackend" => found.backends.push(object(&head.metadata, document)?),
        other => {
            return Err(vec![format!("kind \"{other}\" is not known; write ModelGateway or ModelBackend")]);
        }
    }
    Ok(())
}

fn object<S: DeserializeOwned>(
    metadata: &Metadata,
    document: serde_json::Value,
) -> Result<Object<S>, Vec<String>> {
    let mut unknown = Vec::new();
    let mut note_unknown = |path: serde_ignored::Path<'_>| {
        let path = path.to_string();
        // Fields beside `spec` (metadata, status) are the cluster's business; `?` marks an Option on the way.
        if path.starts_with("spec") {
            unknown.push(format!("{}: unknown field; correct its name or remove it", path.replace(".?", "")));
        }
    };
    let body: Result<Body<S>, _> =
        serde_path_to_error::deserialize(serde_ignored::Deserializer::new(document, &mut note_unknown));
    match body {
        Ok(body) if unknown.is_empty() => Ok(Object {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
            uid: String::new(),
            generation: 0,
            spec: body.spec,
        }),
        Ok(_) => Err(unknown),
        Err(error) => {
            unknown.push(error.to_string());
            Err(unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKEND: &str = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: b}\nspec:\n  model: {name: m}\n  fake: {}\n";

    #[test]
    fn documents_of_other_groups_are_passed_over() {
        let text = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n---\n{BACKEND}");
        let found = parse("x.yaml", &text).expect("valid");
        assert_eq!(found.backends.len(), 1);
        assert_eq!(found.backends[0].namespace, "default");
    }

    #[test]
    fn every_fault_names_its_document_and_field() {
        let text = format!(
            "{BACKEND}---\n{}---\n{}---\napiVersion: modelgate.dev/v1alpha1\nkind: Modelbackend\nmetadata: {{name: c}}\n",
            BACKEND.replace("fake: {}", "fake: {txt: hello}"),
            BACKEND.replace("v1alpha1", "v9"),
        );
        let errors = parse("x.yaml", &text).expect_err("three faults");
        let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        assert!(
            messages[0].starts_with("x.yaml document 2: spec.fake.txt: unknown field"),
            "{}",
            messages[0]
        );
        assert!(messages[1].contains("v9"), "{}", messages[1]);
        assert!(messages[2].contains("\"Modelbackend\" is not known"), "{}", messages[2]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_every_error_names_its_origin(text in "[a-zA-Z0-9:{}\\[\\], \\n\\-'\"&*!|>%@#.~/]{0,200}") {
            let texts = [text.clone(), format!("{BACKEND}{text}"), format!("{text}---\n{BACKEND}")];
            for text in texts {
                if let Err(errors) = parse("x.yaml", &text) {
                    assert!(!errors.is_empty() && errors.iter().all(|error| error.to_string().starts_with("x.yaml")));
                }
            }
        }
    }
}

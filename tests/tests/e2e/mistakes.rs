//! A user's mistakes: each is one clear condition that says what to do, and the last good state keeps serving.

use crate::traffic::{ask, completion, gateway};
use crate::world::{apply_in, await_condition, condition, fake_gateway, installed, model_claim, namespace};

const NAMESPACE: &str = "e2e-mistakes";

#[test]
fn an_unknown_backend_is_named_and_the_last_good_configuration_keeps_serving() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let way = gateway(cluster, NAMESPACE, "code");
    let patch = r#"{"spec":{"routes":[{"name":"code","backends":[{"name":"fake"},{"name":"typo"}]}]}}"#;
    cluster
        .kubectl(&["patch", "mgw/code", "--namespace", NAMESPACE, "--type=merge", "--patch", patch])
        .unwrap();
    let stalled = await_condition(cluster, NAMESPACE, "modelgateway/code", "Stalled", "True");
    let (status, reason, message) = condition(&stalled, "Accepted");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "BackendNotFound"), "{:#}", stalled["status"]);
    assert!(message.contains("spec.routes[0].backends[1].name") && message.contains("\"typo\""), "{message}");
    assert_eq!(
        ask(way.address(), &completion("fake-model", "nonce-1")).status,
        200,
        "the last good state serves"
    );

    // The backend appears: nobody has to touch the gateway.
    let typo = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: typo}\nspec: {model: {name: other}, fake: {text: here}}\n";
    apply_in(cluster, NAMESPACE, typo);
    await_condition(cluster, NAMESPACE, "modelgateway/code", "Ready", "True");
}

#[test]
fn a_gateway_that_nobody_could_use_says_so() {
    let cluster = installed();
    fake_gateway(cluster, NAMESPACE, "");
    let closed = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelGateway\nmetadata: {name: closed}\nspec:\n  routes: [{name: code, backends: [{name: fake}]}]\n";
    apply_in(cluster, NAMESPACE, closed);
    let stalled = await_condition(cluster, NAMESPACE, "modelgateway/closed", "Stalled", "True");
    let (_, reason, message) = condition(&stalled, "Accepted");
    assert_eq!(reason, "AuthMissing");
    assert!(message.contains("spec.auth"), "{message}");
}

#[test]
fn an_unreadable_model_file_is_told_by_the_backend_s_status() {
    let cluster = installed();
    let namespace_name = "e2e-unreadable";
    namespace(cluster, namespace_name);
    model_claim(cluster, namespace_name);
    let backend = "apiVersion: modelgate.dev/v1alpha1\nkind: ModelBackend\nmetadata: {name: broken}\nspec:\n  model: {name: broken, source: {pvc: {claim: models, path: not-a-model.gguf}}}\n  server: {engine: Embedded}\n";
    apply_in(cluster, namespace_name, backend);
    testkit::command::wait_until(crate::world::PATIENCE, "the reason in status", || {
        let object = crate::world::get(cluster, namespace_name, "modelbackend/broken")?;
        let said = object["status"].to_string();
        anyhow::ensure!(condition(&object, "Ready").0 == "False", "{said}");
        anyhow::ensure!(said.contains("not-a-model.gguf"), "the file is not named: {said}");
        Ok(())
    })
    .unwrap();
    cluster.kubectl(&["delete", "namespace", namespace_name, "--wait=false"]).unwrap();
}

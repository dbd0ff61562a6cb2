//! Every family that docs/metrics-gateway.md names is there from the start, and no other of ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use support::{Gateway, fake};

#[tokio::test]
async fn the_page_and_the_scrape_name_the_same_families() {
    let limits = "  limits: [{name: few, by: Subject, requestsPerMinute: 3}]\n";
    let gateway = Gateway::start(&(fake("x", "") + limits)).await;
    let scrape = gateway.metrics().await;
    let served: BTreeSet<&str> =
        scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let page = include_str!("../../docs/metrics-gateway.md");
    // Names stand between backticks in the first cell of a row.
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let documented: BTreeSet<&str> =
        first_cells.flat_map(|cell| cell.split('`').step_by(2)).filter(|name| !name.is_empty()).collect();
    assert_eq!(served, documented);
}

#[tokio::test]
async fn a_client_cannot_make_series() {
    let gateway = Gateway::start(&fake("x", "")).await;
    // Whatever shape a request can have has been seen once; after that nothing new may appear.
    let traffic = async |turn: usize| {
        for path in ["/v1/completions", "/v2/completions", "/nope"] {
            let body = format!("{{\"model\":\"m{turn}\"}}");
            gateway.post(&format!("{path}?{turn}"), &body).await;
            gateway.post(&format!("{path}/{turn}"), &body).await;
            gateway.send(format!("M{turn}").parse().unwrap(), path, &[("host", "x")], &body).await;
        }
    };
    let series = async || gateway.metrics().await.lines().filter(|line| !line.starts_with('#')).count();
    traffic(0).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let before = series().await;
    for turn in 1..20 {
        traffic(turn).await;
    }
    assert_eq!(series().await, before);
}

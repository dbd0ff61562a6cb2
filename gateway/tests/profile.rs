//! Profiles of processor time on the debug listener, in the form that pprof reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use support::{Answer, Gateway, fake, send};

/// The fields of a message: number and content, which is a number or bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        number
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let number = varint(&mut bytes);
        let content = if key & 7 == 2 {
            let (content, rest) = bytes.split_at(usize::try_from(number).unwrap());
            bytes = rest;
            content
        } else {
            assert_eq!(key & 7, 0, "a number");
            &[]
        };
        found.push((key >> 3, number, content));
    }
    found
}

/// Something to be seen at.
#[inline(never)]
fn burn_until(stop: &AtomicBool) -> u64 {
    let mut sum = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for number in 0..10_000_u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(number));
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_names_the_functions_that_the_time_goes_to_and_only_when_asked_for() {
    let off = Gateway::start(&fake("x", "")).await;
    let refused = Answer::read(send(off.at.debug, Method::GET, "/debug/pprof/profile", &[], "").await).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.text.contains("--debug-profile"), "{}", refused.text);

    let gateway = Gateway::start_with(&fake("x", ""), &["--debug-profile"]).await.unwrap();
    let get = |path: &'static str| send(gateway.at.debug, Method::GET, path, &[], "");
    let wrong = Answer::read(get("/debug/pprof/profile?seconds=0").await).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    let stop = Arc::new(AtomicBool::new(false));
    let burning = std::thread::Builder::new().name("burner".into()).spawn({
        let stop = Arc::clone(&stop);
        move || burn_until(&stop)
    });
    let (first, second) = tokio::join!(get("/debug/pprof/profile?seconds=3"), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        get("/debug/pprof/profile?seconds=1").await
    });
    stop.store(true, Ordering::Relaxed);
    burning.unwrap().join().unwrap();
    assert_eq!(second.status(), StatusCode::CONFLICT, "one at a time");
    assert_eq!(first.status(), StatusCode::OK);
    let packed = first.into_body().collect().await.unwrap().to_bytes();
    let mut profile = Vec::new();
    GzDecoder::new(packed.as_ref()).read_to_end(&mut profile).unwrap();
    let fields = fields(&profile);
    let of = |number: u64| fields.iter().filter(move |(field, ..)| *field == number);
    let texts: Vec<&str> = of(6).map(|(.., text)| std::str::from_utf8(text).unwrap()).collect();
    assert_eq!(texts[..5], ["", "samples", "count", "cpu", "nanoseconds"]);
    assert!(of(2).count() > 0 && of(4).count() > 0 && of(5).count() > 0, "samples, places and functions");
    assert!(texts.iter().any(|text| text.contains("burn_until")), "{texts:?}");
    assert!(texts.contains(&"burner"), "the thread by its name: {texts:?}");
}

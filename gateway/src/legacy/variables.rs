//! Every environment variable of the gateway of 2023, and what becomes of it here.

use std::collections::BTreeSet;

/// Variables that make a configuration when `--config` does not: the field that each becomes.
const CONFIGURING: [(&str, &str); 15] = [
    ("USE_FAKE_MODELS", "ModelBackend spec.fake"),
    ("PALM_TEXT_PROJECT", "ModelBackend spec.external.vertex.project"),
    ("PALM_TEXT_MODEL_NAME", "ModelBackend spec.model.name"),
    ("PALM_TEXT_LOCATION", "ModelBackend spec.external.vertex.location"),
    ("VERTEX_API_ENDPOINT", "ModelBackend spec.external.url"),
    ("MODEL_ENGINE_CONCURRENCY_LIMITS", "ModelBackend spec.admission.maxConcurrent"),
    ("AUTH_BYPASS_EXTERNAL", "ModelGateway spec.auth.anonymous"),
    ("GITLAB_URL", "ModelGateway spec.auth.gitlab.url"),
    ("CUSTOMER_PORTAL_BASE_URL", "ModelGateway spec.auth.gitlab.customersUrl"),
    ("MODELGATE_GITLAB_INSTANCE_IDS", "ModelGateway spec.auth.gitlab.instanceIds"),
    ("MODELGATE_GITLAB_NAMESPACE_IDS", "ModelGateway spec.auth.gitlab.namespaceIds"),
    ("MODELGATE_GITLAB_SUBJECTS", "ModelGateway spec.auth.gitlab.subjects"),
    ("F_IS_THIRD_PARTY_AI_DEFAULT", "ModelGateway spec.routes"),
    ("F_THIRD_PARTY_ROLLOUT_PERCENTAGE", "ModelGateway spec.routes[].match.percent"),
    ("F_THIRD_PARTY_AI_LIMITED_ACCESS", "ModelGateway spec.routes[].match.projects"),
];

/// Variables that set flags.
const FLAGS: [&str; 12] = [
    "FASTAPI_API_HOST",
    "FASTAPI_API_PORT",
    "FASTAPI_METRICS_HOST",
    "FASTAPI_METRICS_PORT",
    "FASTAPI_API_METRICS_HOST",
    "FASTAPI_API_METRICS_PORT",
    "LOG_LEVEL",
    "LOG_FORMAT_JSON",
    "LOG_TO_FILE",
    "FASTAPI_DOCS_URL",
    "FASTAPI_OPENAPI_URL",
    "FASTAPI_REDOC_URL",
];

/// Variables that have nothing to do here, and why.
const NOT_APPLICABLE: [(&str, &str); 12] = [
    ("API_EXTERNAL_PORT", "it is the compose file's"),
    ("METRICS_EXTERNAL_PORT", "it is the compose file's"),
    (
        "GITLAB_API_URL",
        "the gateway asks GitLab for nothing but the keys that it signs with, under GITLAB_URL",
    ),
    (
        "USE_LOCAL_CACHE",
        "what is cached is in memory always; a configuration given by --config can share counts",
    ),
    ("SNOWPLOW_ENABLED", "no events are sent to Snowplow; metrics and usage records tell the same"),
    ("SNOWPLOW_ENDPOINT", "no events are sent to Snowplow; metrics and usage records tell the same"),
    ("SNOWPLOW_BATCH_SIZE", "no events are sent to Snowplow; metrics and usage records tell the same"),
    ("SNOWPLOW_THREAD_COUNT", "no events are sent to Snowplow; metrics and usage records tell the same"),
    ("F_CODE_SUGGESTIONS_EXCL_POST_PROC", "post-processing is a configuration's to say, given by --config"),
    ("GOOGLE_CLOUD_PROFILER", "no profile is sent to Google Cloud"),
    ("GOOGLE_CLOUD_PROFILER_VERBOSE", "no profile is sent to Google Cloud"),
    ("GOOGLE_CLOUD_PROFILER_PERIOD_MS", "no profile is sent to Google Cloud"),
];

/// Beginnings of names that only that gateway's variables have.
const FAMILIES: [&str; 10] = [
    "FASTAPI_",
    "PALM_",
    "F_",
    "SNOWPLOW_",
    "VERTEX_",
    "AUTH_",
    "GITLAB_",
    "CUSTOMER_",
    "GOOGLE_CLOUD_PROFILER",
    "AIGW_",
];

/// The variables given that make a configuration: field, name and value.
pub fn configured(env: &dyn Fn(&str) -> Option<String>) -> Vec<(&'static str, &'static str, String)> {
    let given = |(name, field): &(&'static str, &'static str)| Some((*field, *name, env(name)?));
    CONFIGURING.iter().filter_map(given).collect()
}

/// Tells of variables that are given and have nothing to do here.
pub fn not_applicable(env: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) {
    for (name, why) in NOT_APPLICABLE {
        let Some(value) = env(name) else { continue };
        let off = name == "USE_LOCAL_CACHE" && super::truth(&value) == Some(true);
        if !off {
            warnings.push(format!("{name} has no effect: {why}"));
        }
    }
}

/// One sentence about the names of those families that no gateway knows, when there are any.
pub fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let known = |name: &str| {
        CONFIGURING.iter().any(|(known, _)| *known == name)
            || FLAGS.contains(&name)
            || NOT_APPLICABLE.iter().any(|(known, _)| *known == name)
    };
    let family = |name: &str| FAMILIES.iter().any(|family| name.starts_with(family));
    let found: BTreeSet<&str> = names.filter(|name| family(name) && !known(name)).collect();
    let list = found.iter().take(32).copied().collect::<Vec<_>>().join(", ");
    (!found.is_empty()).then(|| format!("these environment names are not known and are ignored: {list}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_family_that_nobody_knows_are_listed_once() {
        let names = [
            "PATH",
            "FASTAPI_API_PORT",
            "FASTAPI_RELOAD",
            "F_NEW",
            "GITLAB_URL",
            "SNOWPLOW_ENABLED",
            "GITLAB_CI",
        ];
        let told = unknown(names.into_iter()).unwrap();
        assert!(told.ends_with(": FASTAPI_RELOAD, F_NEW, GITLAB_CI"), "{told}");
        assert_eq!(unknown(["HOME", "LOG_LEVEL"].into_iter()), None);
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let mut warnings = Vec::new();
        let env = |name: &str| match name {
            "SNOWPLOW_ENDPOINT" => Some("https://collector.example".to_owned()),
            "USE_LOCAL_CACHE" => Some("True".to_owned()),
            "GITLAB_API_URL" => Some("https://gitlab.com/api/v4/".to_owned()),
            _ => None,
        };
        not_applicable(&env, &mut warnings);
        let names: Vec<&str> = warnings.iter().filter_map(|warning| warning.split(' ').next()).collect();
        assert_eq!(names, ["GITLAB_API_URL", "SNOWPLOW_ENDPOINT"]);
    }
}

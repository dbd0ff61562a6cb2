//! Which requests a route takes: those that meet every condition it has.

use http::{HeaderMap, HeaderName};
use modelgate_api::contract::{MatchConfig, ProjectsConfig, RouteConfig};

use super::projects::Projects;
use super::sticky;

/// What a route can ask about a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Path of its target.
    pub path: &'a str,
    /// Model that it names, where it names one.
    pub model: Option<&'a str>,
    /// Language of the completion by GitLab's names, where known.
    pub language: Option<&'a str>,
    /// Id of the project it comes from.
    pub project_id: Option<&'a str>,
    /// Full path of the project it comes from.
    pub project_path: Option<&'a str>,
    /// Stands for the project where the protocol has none: the caller.
    pub caller: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
}

/// Conditions of one route, ready for use.
pub struct Matcher {
    models: Vec<String>,
    paths: Vec<String>,
    languages: Vec<String>,
    projects: Option<Projects>,
    headers: Vec<(HeaderName, Option<String>)>,
    millipercent: Option<u32>,
}

impl Matcher {
    /// Of a route; `projects` finds the file of a Secret's or ConfigMap's key.
    #[must_use]
    pub fn new(route: &RouteConfig, projects: impl Fn(&ProjectsConfig) -> Projects) -> Self {
        let MatchConfig { paths, languages, projects: listed, headers, millipercent } = &route.matches;
        let headers = headers.iter().filter_map(|header| {
            Some((HeaderName::from_bytes(header.name.as_bytes()).ok()?, header.value.clone()))
        });
        Self {
            models: route.models.clone(),
            paths: paths.clone(),
            languages: languages.clone(),
            projects: listed.as_ref().map(projects),
            headers: headers.collect(),
            millipercent: *millipercent,
        }
    }

    /// Model names; a trailing `*` stands for any ending.
    #[must_use]
    pub fn models(&self) -> &[String] {
        &self.models
    }

    /// Whether the route takes the request. A request that names no model meets any condition on the model.
    #[must_use]
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        facts.model.is_none_or(|model| any(&self.models, model)) && self.takes_but_for_model(facts)
    }

    /// The same, whatever model is named.
    #[must_use]
    pub fn takes_but_for_model(&self, facts: &Facts<'_>) -> bool {
        let language = || {
            facts
                .language
                .is_some_and(|spoken| self.languages.iter().any(|known| known.eq_ignore_ascii_case(spoken)))
        };
        (self.paths.is_empty() || any(&self.paths, facts.path))
            && (self.languages.is_empty() || language())
            && self.headers.iter().all(|(name, value)| carries(facts.headers, name, value.as_deref()))
            && self
                .projects
                .as_ref()
                .is_none_or(|projects| projects.holds(facts.project_id, facts.project_path))
            && self.millipercent.is_none_or(|share| sticky::takes(share, facts.project_id.or(facts.caller)))
    }
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| is_like(pattern, text))
}

fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}

fn carries(headers: &HeaderMap, name: &HeaderName, wanted: Option<&str>) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|value| wanted.is_none_or(|wanted| value.to_str().is_ok_and(|value| is_like(wanted, value))))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use modelgate_api::contract::{HeaderConfig, RetriesConfig, TimeoutConfig};
    use modelgate_api::v1alpha1::DataBoundary;

    use super::*;

    fn matcher(models: &[&str], matches: MatchConfig) -> Matcher {
        let route = RouteConfig {
            name: "r".into(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            matches,
            data_boundary: DataBoundary::Cluster,
            backends: Vec::new(),
            timeout: TimeoutConfig::default(),
            retries: RetriesConfig::default(),
            hedging: None,
        };
        Matcher::new(&route, |config| match config {
            ProjectsConfig::List(items) => Projects::fixed(items),
            _ => Projects::fixed(&[]),
        })
    }

    #[test]
    fn every_condition_must_hold() {
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-team"), HeaderValue::from_static("core-7")),
            (HeaderName::from_static("x-flag"), HeaderValue::from_static("")),
        ]);
        let facts = Facts {
            path: "/v2/code/completions",
            model: Some("small-1"),
            language: Some("python"),
            project_id: Some("42"),
            project_path: Some("a/b"),
            caller: None,
            headers: &headers,
        };
        let strings = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let header = |name: &str, value: Option<&str>| {
            let headers = vec![HeaderConfig { name: name.into(), value: value.map(Into::into) }];
            MatchConfig { headers, ..MatchConfig::default() }
        };
        let none = MatchConfig::default;
        let projects = |items: &[&str]| Some(ProjectsConfig::List(strings(items)));
        let cases: Vec<(&str, &[&str], MatchConfig, bool)> = vec![
            ("nothing asked", &["*"], none(), true),
            ("model", &["small-1"], none(), true),
            ("model by beginning", &["small*"], none(), true),
            ("another model", &["large"], none(), false),
            ("path", &["*"], MatchConfig { paths: strings(&["/v1/*", "/v2/*"]), ..none() }, true),
            ("another path", &["*"], MatchConfig { paths: strings(&["/v2/code"]), ..none() }, false),
            ("language", &["*"], MatchConfig { languages: strings(&["go", "Python"]), ..none() }, true),
            ("another language", &["*"], MatchConfig { languages: strings(&["go"]), ..none() }, false),
            ("header", &["*"], header("x-team", Some("core-7")), true),
            ("header by beginning", &["*"], header("x-team", Some("core*")), true),
            ("another value", &["*"], header("x-team", Some("edge")), false),
            ("header with any value", &["*"], header("x-flag", None), true),
            ("absent header", &["*"], header("x-none", None), false),
            ("project by id", &["*"], MatchConfig { projects: projects(&["42"]), ..none() }, true),
            ("project by path", &["*"], MatchConfig { projects: projects(&["9,a/b"]), ..none() }, true),
            ("another project", &["*"], MatchConfig { projects: projects(&["43"]), ..none() }, false),
            ("share of nothing", &["*"], MatchConfig { millipercent: Some(0), ..none() }, false),
            ("share of all", &["*"], MatchConfig { millipercent: Some(100_000), ..none() }, true),
            (
                "one of two does not hold",
                &["small-1"],
                MatchConfig { paths: strings(&["/v2/*"]), languages: strings(&["go"]), ..none() },
                false,
            ),
        ];
        for (case, models, matches, expected) in cases {
            assert_eq!(matcher(models, matches).takes(&facts), expected, "{case}");
        }
    }

    #[test]
    fn a_request_without_a_model_or_language_meets_no_language_and_any_model() {
        let headers = HeaderMap::new();
        let facts = Facts {
            path: "/",
            model: None,
            language: None,
            project_id: None,
            project_path: None,
            caller: None,
            headers: &headers,
        };
        assert!(matcher(&["large"], MatchConfig::default()).takes(&facts));
        let languages = MatchConfig { languages: vec!["go".into()], ..MatchConfig::default() };
        assert!(!matcher(&["large"], languages).takes(&facts));
    }
}

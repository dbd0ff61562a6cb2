//! What a token of GitLab must satisfy once its signature, issuer, audience and dates are found right: that it is of those
//! whom `auth.gitlab` lists, that the headers beside it do not say otherwise, and that its scopes are for what is asked.

use http::HeaderMap;
use modelgate_api::contract::GitlabConfig;

use super::auth::AuthError;
use super::direct;
use crate::caller::{Caller, Proof};
use crate::error::GatewayError;

const INSTANCE: &str = "x-gitlab-instance-id";
const REALM: &str = "x-gitlab-realm";
const USER: &str = "x-gitlab-global-user-id";
/// Scope of the tokens of 2023, which stands for all that there was.
const EVERYTHING: &str = "code_suggestions";

/// Holds the token to `auth.gitlab`. The Customers Portal signs for every customer and gitlab.com for every user, so the
/// token's own claims decide; headers, which anybody can send, never do.
///
/// # Errors
/// [`AuthError::NotBound`].
pub fn bind(config: &GitlabConfig, caller: &Caller) -> Result<(), AuthError> {
    let own = caller.issuer == direct::ISSUER;
    if !own && !config.issuers.contains(&caller.issuer) {
        return Ok(());
    }
    let listed = |list: &[String], claims: &[&String]| {
        list.is_empty() || claims.iter().any(|claim| list.contains(claim))
    };
    // Of a token of ours the subject is a user, and the instance is what was copied.
    let instances: Vec<&String> =
        caller.instance_uid.iter().chain((!own).then_some(&caller.subject)).collect();
    let instance = listed(&config.instance_ids, &instances);
    let namespace = listed(&config.namespace_ids, &caller.namespaces.iter().collect::<Vec<_>>());
    // Ours was given to somebody who passed this.
    let subject = own || listed(&config.subjects, &[&caller.subject]);
    if instance && namespace && subject { Ok(()) } else { Err(AuthError::NotBound) }
}

/// Compares the headers that GitLab sends beside a token with its claims. A header that is absent, or a claim that the
/// token has not, says nothing.
///
/// # Errors
/// [`AuthError::Mismatch`] with the header's name, as GitLab's own gateway answers.
pub fn agree(headers: &HeaderMap, caller: &Caller) -> Result<(), AuthError> {
    if caller.proof != Proof::Token {
        return Ok(());
    }
    let differs = |name: &str, claims: &[Option<&str>]| {
        let known: Vec<&str> = claims.iter().flatten().copied().filter(|claim| !claim.is_empty()).collect();
        let given = headers.get_all(name);
        !known.is_empty() && given.iter().any(|value| !known.iter().any(|claim| value == *claim))
    };
    let own = caller.issuer == direct::ISSUER;
    let instance = caller.instance_uid.as_deref();
    let subject = Some(caller.subject.as_str());
    if differs(REALM, &[caller.realm.as_deref()]) {
        return Err(AuthError::Mismatch("X-Gitlab-Realm"));
    }
    // Tokens of gitlab.com are not an instance's; those of a portal name it in one of two claims.
    let of_instance = caller.realm.as_deref() == Some("self-managed");
    if (own && differs(INSTANCE, &[instance]))
        || (!own && of_instance && differs(INSTANCE, &[subject, instance]))
    {
        return Err(AuthError::Mismatch("X-Gitlab-Instance-Id"));
    }
    if own && differs(USER, &[subject]) {
        return Err(AuthError::Mismatch("X-Gitlab-Global-User-Id"));
    }
    Ok(())
}

/// What a scope allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Completions at the cursor.
    Complete,
    /// Whole pieces of code from a comment.
    Generate,
    /// One of the two.
    Suggest,
    /// A token for direct access.
    IssueToken,
}

/// Whether the token's scopes allow it. A token without scopes is one of 2023, when there were none.
///
/// # Errors
/// [`GatewayError::NotEntitled`], in the words of GitLab's gateway.
pub fn entitle(caller: &Caller, unit: Unit) -> Result<(), GatewayError> {
    let (scopes, words): (&[&str], _) = match unit {
        Unit::Complete => (&["complete_code"], "access code completions"),
        Unit::Generate => (&["generate_code"], "access code generations"),
        Unit::Suggest => (&["complete_code", "generate_code"], "access code suggestions"),
        Unit::IssueToken => (&["complete_code"], "create user access token"),
    };
    // Only an instance's token is good for another: one that we issued, a key or nobody's is not.
    let may_ask =
        unit != Unit::IssueToken || (caller.proof == Proof::Token && caller.issuer != direct::ISSUER);
    let allows = |scope: &String| scope == EVERYTHING || scopes.contains(&scope.as_str());
    if may_ask && (caller.scopes.is_empty() || caller.scopes.iter().any(allows)) {
        Ok(())
    } else {
        Err(GatewayError::NotEntitled(words))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn caller(issuer: &str, subject: &str) -> Caller {
        Caller {
            proof: Proof::Token,
            issuer: issuer.into(),
            subject: subject.into(),
            realm: Some("self-managed".into()),
            ..Caller::anonymous()
        }
    }

    fn config(instances: &[&str], namespaces: &[&str], subjects: &[&str]) -> GitlabConfig {
        let list = |values: &[&str]| values.iter().map(ToString::to_string).collect();
        GitlabConfig {
            issuers: vec!["https://portal".into()],
            instance_ids: list(instances),
            namespace_ids: list(namespaces),
            subjects: list(subjects),
            ..GitlabConfig::default()
        }
    }

    #[test]
    fn each_list_that_is_given_must_name_the_token() {
        let with = |uid: Option<&str>, namespaces: &[&str], subject: &str| Caller {
            instance_uid: uid.map(Into::into),
            namespaces: namespaces.iter().map(ToString::to_string).collect(),
            ..caller("https://portal", subject)
        };
        for (config, caller, expected) in [
            (config(&[], &[], &[]), with(None, &[], "x"), true),
            (config(&["i"], &[], &[]), with(Some("i"), &[], "x"), true),
            (config(&["i"], &[], &[]), with(None, &[], "i"), true),
            (config(&["i"], &[], &[]), with(Some("j"), &[], "x"), false),
            (config(&["i"], &["7"], &[]), with(Some("i"), &["8"], "x"), false),
            (config(&["i"], &["7"], &[]), with(Some("i"), &["8", "7"], "x"), true),
            (config(&[], &[], &["s"]), with(Some("s"), &["s"], "x"), false),
            (config(&[], &[], &["s"]), with(None, &[], "s"), true),
        ] {
            assert_eq!(bind(&config, &caller).is_ok(), expected, "{config:?} {caller:?}");
        }
        assert_eq!(bind(&config(&["i"], &[], &[]), &caller("https://other", "x")), Ok(()), "not GitLab's");
        let own = Caller { instance_uid: Some("i".into()), ..caller(direct::ISSUER, "user") };
        assert_eq!(bind(&config(&["i"], &[], &["s"]), &own), Ok(()));
        let foreign = Caller { instance_uid: Some("j".into()), ..caller(direct::ISSUER, "i") };
        assert_eq!(bind(&config(&["i"], &[], &[]), &foreign), Err(AuthError::NotBound));
    }

    #[test]
    fn a_header_that_contradicts_the_token_is_named() {
        let own = Caller { instance_uid: Some("i".into()), ..caller(direct::ISSUER, "u") };
        let saas = Caller { realm: Some("saas".into()), ..caller("https://gitlab", "s") };
        let plain = Caller { realm: None, ..caller("https://gitlab", "s") };
        for (caller, header, value, expected) in [
            (caller("https://portal", "s"), REALM, "saas", Some("X-Gitlab-Realm")),
            (caller("https://portal", "s"), REALM, "self-managed", None),
            (caller("https://portal", "s"), INSTANCE, "other", Some("X-Gitlab-Instance-Id")),
            (caller("https://portal", "s"), INSTANCE, "s", None),
            (caller("https://portal", "s"), USER, "whoever", None),
            (saas, INSTANCE, "other", None),
            (plain, REALM, "self-managed", None),
            (own.clone(), INSTANCE, "u", Some("X-Gitlab-Instance-Id")),
            (own.clone(), USER, "other", Some("X-Gitlab-Global-User-Id")),
            (own, USER, "u", None),
            (Caller::anonymous(), REALM, "anything", None),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(header),
                HeaderValue::from_static(value),
            )]);
            let expected = expected.map_or(Ok(()), |name| Err(AuthError::Mismatch(name)));
            assert_eq!(agree(&headers, &caller), expected, "{header}: {value} {caller:?}");
        }
        assert_eq!(
            AuthError::Mismatch("X-Gitlab-Realm").body(),
            r#"{"error":"Header mismatch 'X-Gitlab-Realm'"}"#
        );
    }

    #[test]
    fn scopes_allow_what_they_name_and_a_token_of_ours_is_never_good_for_another() {
        let scoped = |scopes: &[&str]| Caller {
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ..caller("https://gitlab", "s")
        };
        for (scopes, complete, generate, suggest, issue) in [
            (&[][..], true, true, true, true),
            (&["code_suggestions"], true, true, true, true),
            (&["complete_code"], true, false, true, true),
            (&["generate_code"], false, true, true, false),
            (&["documentation_search"], false, false, false, false),
        ] {
            let caller = scoped(scopes);
            let units = [Unit::Complete, Unit::Generate, Unit::Suggest, Unit::IssueToken];
            let allowed = units.map(|unit| entitle(&caller, unit).is_ok());
            assert_eq!(allowed, [complete, generate, suggest, issue], "{scopes:?}");
        }
        let own = Caller { scopes: vec!["complete_code".into()], ..caller(direct::ISSUER, "u") };
        for asking in [own, Caller::anonymous(), Caller { proof: Proof::Key, ..Caller::anonymous() }] {
            let refused = entitle(&asking, Unit::IssueToken).unwrap_err();
            assert_eq!(refused.to_string(), "Unauthorized to create user access token");
        }
    }
}

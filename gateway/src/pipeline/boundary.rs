//! How far source code may go: the one place that says whether a request may be sent to a backend. What the configuration
//! shows was refused when it was read; here counts what only the process and the request know: a proxy on the way, and what
//! the caller's own token allows.

use modelgate_api::v1alpha1::{Boundary, DataBoundary};

use crate::backend::Backend;
use crate::caller::Caller;
use crate::config::snapshot::Route;
use crate::error::GatewayError;

/// Why code stays here when the route says so.
const ROUTE: &str = "its backend is outside (a proxy leads there) and the route's dataBoundary is Cluster";
/// Why code stays here when the caller says so.
const CALLER: &str = "its backend is outside and the caller's token does not allow third parties (third_party_ai_features_enabled)";

/// Whether code of this caller may go to the backend by this route.
///
/// # Errors
/// [`GatewayError::NoBackend`] with the reason.
pub fn check(route: &Route, backend: &Backend, caller: Option<&Caller>) -> Result<(), GatewayError> {
    let third_party = caller.and_then(|caller| caller.third_party_ai);
    match refusal(route.data_boundary, backend.boundary(), third_party) {
        None => Ok(()),
        Some(why) => Err(GatewayError::NoBackend(why)),
    }
}

/// Why not; `third_party` is the claim of GitLab's token, absent where the caller has none.
fn refusal(route: DataBoundary, backend: Boundary, third_party: Option<bool>) -> Option<&'static str> {
    match (backend, route, third_party) {
        (Boundary::Inside, _, _) | (Boundary::Outside, DataBoundary::External, None | Some(true)) => None,
        (Boundary::Outside, DataBoundary::Cluster, _) => Some(ROUTE),
        (Boundary::Outside, DataBoundary::External, Some(false)) => Some(CALLER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_goes_outside_only_where_route_and_token_both_allow_it() {
        for third_party in [None, Some(false), Some(true)] {
            for route in [DataBoundary::Cluster, DataBoundary::External] {
                assert_eq!(refusal(route, Boundary::Inside, third_party), None);
            }
            assert_eq!(refusal(DataBoundary::Cluster, Boundary::Outside, third_party), Some(ROUTE));
        }
        assert_eq!(refusal(DataBoundary::External, Boundary::Outside, None), None);
        assert_eq!(refusal(DataBoundary::External, Boundary::Outside, Some(true)), None);
        assert_eq!(refusal(DataBoundary::External, Boundary::Outside, Some(false)), Some(CALLER));
    }
}

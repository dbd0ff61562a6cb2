//! JSON web tokens of OpenID Connect issuers: discovery, keys, strict verification.

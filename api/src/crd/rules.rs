//! Cross-field rules in the API server's language (CEL), one line each with a message that names the field and the fix.
//! `compile::check` holds the same rules for manifests that never meet an API server; each rule has an accepted and a
//! refused example in `tests/data/crd/`, tried on a real API server.

/// A rule at one node of the schema.
#[derive(Debug)]
pub struct Rule {
    /// Node whose value is `self`, such as `spec.routes[]`.
    pub path: &'static str,
    /// What must hold.
    pub rule: &'static str,
    /// What a user reads when it does not.
    pub message: &'static str,
}

/// A list whose items are told apart by one field, so that appliers merge them and repetitions are refused.
#[derive(Debug)]
pub struct ListKey {
    /// The list.
    pub path: &'static str,
    /// The field.
    pub key: &'static str,
}

/// Keyed lists of ModelBackend.
pub const BACKEND_LISTS: &[ListKey] = &[
    ListKey { path: "spec.server.env", key: "name" },
    ListKey { path: "status.conditions", key: "type" },
    ListKey { path: "status.dialect.findings", key: "name" },
    ListKey { path: "spec.imagePullSecrets", key: "name" },
    ListKey { path: "status.pendingChanges", key: "path" },
];

/// Keyed lists of ModelGateway.
pub const GATEWAY_LISTS: &[ListKey] = &[
    ListKey { path: "spec.routes", key: "name" },
    ListKey { path: "spec.limits", key: "name" },
    ListKey { path: "spec.auth.oidc[].claims", key: "name" },
    ListKey { path: "spec.routes[].backends", key: "name" },
    ListKey { path: "spec.completion.experiments", key: "name" },
    ListKey { path: "status.conditions", key: "type" },
    ListKey { path: "status.routes", key: "name" },
    ListKey { path: "spec.imagePullSecrets", key: "name" },
];

/// Rules of ModelBackend.
pub const BACKEND_RULES: &[Rule] = &[
    Rule {
        path: "spec",
        rule: "[has(self.server), has(self.external), has(self.fake)].filter(x, x).size() == 1",
        message: "spec: give exactly one of server, external and fake",
    },
    Rule {
        path: "spec",
        rule: "!has(self.server) || has(self.model.source) || self.server.engine == 'Custom'",
        message: "spec.model.source: is required with spec.server; say where the model's files are",
    },
    Rule {
        path: "spec",
        rule: "has(self.server) || !has(self.model.source)",
        message: "spec.model.source: is for spec.server alone; remove it",
    },
    Rule {
        path: "spec",
        rule: "has(self.server) || !(has(self.accelerator) || has(self.replicas) || has(self.placement) || has(self.monitoring))",
        message: "spec.accelerator, spec.replicas, spec.placement and spec.monitoring are for spec.server alone; remove them",
    },
    Rule {
        path: "spec",
        rule: "has(self.server) || !has(self.network)",
        message: "spec.network: is for spec.server alone; remove it",
    },
    Rule {
        path: "spec",
        rule: "has(self.server) || !(has(self.rollout) || has(self.imagePullSecrets) || has(self.podOverrides))",
        message: "spec.rollout, spec.imagePullSecrets and spec.podOverrides are for spec.server alone; remove them",
    },
    Rule {
        path: "spec.rollout",
        rule: "!has(self.drainTimeout) || duration(self.drainTimeout) <= duration('1h')",
        message: "spec.rollout.drainTimeout: must be at most 1h",
    },
    Rule {
        path: "spec.rollout",
        rule: "!has(self.progressDeadline) || (duration(self.progressDeadline) >= duration('10s') && duration(self.progressDeadline) <= duration('24h'))",
        message: "spec.rollout.progressDeadline: must be from 10s to 24h",
    },
    Rule {
        path: "spec",
        rule: "!(has(self.server) && self.server.engine == 'Embedded' && has(self.accelerator))",
        message: "spec.accelerator: the Embedded engine runs on the CPU; remove it, or choose another spec.server.engine",
    },
    Rule {
        path: "spec",
        rule: "!(has(self.server) && has(self.model.source) && has(self.model.source.hf)) || self.server.engine in ['VLLM', 'SGLang', 'TGI', 'LlamaCpp']",
        message: "spec.model.source.hf: is for spec.server.engine VLLM, SGLang, TGI and LlamaCpp, which fetch it themselves; give pvc or http",
    },
    Rule {
        path: "spec",
        rule: "!(has(self.server) && self.server.engine == 'LlamaCpp' && has(self.model.source) && has(self.model.source.hf) && has(self.model.source.hf.revision))",
        message: "spec.model.source.hf.revision: LlamaCpp fetches no revision; give http with sha256, or pvc, to pin the file",
    },
    Rule {
        path: "spec",
        rule: "!(has(self.server) && has(self.model.source) && has(self.model.source.http)) || self.server.engine in ['Embedded', 'LlamaCpp', 'Custom']",
        message: "spec.model.source.http: is one file, for spec.server.engine Embedded, LlamaCpp and Custom; give hf or pvc",
    },
    Rule {
        path: "spec.server",
        rule: "self.engine != 'Custom' || has(self.image)",
        message: "spec.server.image: is required with spec.server.engine: Custom; name the image that serves the model",
    },
    Rule {
        path: "spec.accelerator",
        rule: "!(has(self.mig) && has(self.resourceName))",
        message: "spec.accelerator: mig says which resource is asked for; remove resourceName or mig",
    },
    Rule {
        path: "spec.accelerator",
        rule: "!has(self.mig) || !has(self.count) || self.count == 1",
        message: "spec.accelerator.count: no engine splits a model over MIG slices; set 1 and choose a larger spec.accelerator.mig.profile",
    },
    Rule {
        path: "spec.accelerator",
        rule: "!has(self.parallel) || !has(self.parallel.pipeline) || !has(self.count) || self.count % self.parallel.pipeline == 0",
        message: "spec.accelerator.parallel.pipeline: spec.accelerator.count must be a multiple of it",
    },
    Rule {
        path: "spec.accelerator",
        rule: "!has(self.parallel) || !has(self.count) || !has(self.parallel.tensor) || type(self.parallel.tensor) != int || int(self.parallel.tensor) * (has(self.parallel.pipeline) ? self.parallel.pipeline : 1) == self.count",
        message: "spec.accelerator.parallel.tensor: tensor times pipeline must be spec.accelerator.count; write Auto to have it reckoned",
    },
    Rule {
        path: "spec.accelerator",
        rule: "!has(self.parallel) || has(self.count)",
        message: "spec.accelerator.parallel: needs spec.accelerator.count; remove it to have both reckoned",
    },
    Rule {
        path: "spec.model",
        rule: "!(has(self.preset) && has(self.size))",
        message: "spec.model.size: spec.model.preset says the size; remove one of the two",
    },
    Rule {
        path: "spec.accelerator.parallel",
        rule: "!has(self.tensor) || (type(self.tensor) == string ? self.tensor == 'Auto' : int(self.tensor) >= 1 && int(self.tensor) <= 64)",
        message: "spec.accelerator.parallel.tensor: write Auto or a number from 1 to 64",
    },
    Rule {
        path: "spec.model.source",
        rule: "[has(self.pvc), has(self.http), has(self.hf), has(self.oci)].filter(x, x).size() == 1",
        message: "spec.model.source: give exactly one of pvc, http, hf and oci",
    },
    Rule {
        path: "spec.model.source.pvc",
        rule: "!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..' || p == '.' || p == '')",
        message: "spec.model.source.pvc.path: must be relative to the volume and hold no `..`",
    },
    Rule {
        path: "spec.model.source.oci",
        rule: "!self.path.startsWith('/') && !self.path.split('/').exists(p, p == '..' || p == '.' || p == '')",
        message: "spec.model.source.oci.path: must be relative to the image and hold no `..`",
    },
    Rule {
        path: "spec",
        rule: "has(self.server) || !has(self.cache)",
        message: "spec.cache: is for spec.server alone; remove it",
    },
    Rule {
        path: "spec.cache",
        rule: "has(self.mode) && self.mode == 'Shared' ? has(self.size) != has(self.existingClaim) : !(has(self.size) || has(self.existingClaim))",
        message: "spec.cache: with mode Shared give size or existingClaim, with mode None neither",
    },
    Rule {
        path: "spec.cache",
        rule: "has(self.size) || !(has(self.storageClass) || has(self.accessMode))",
        message: "spec.cache: storageClass and accessMode are of the claim that size asks for; remove them",
    },
    Rule {
        path: "spec.model.source.http",
        rule: "isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && !self.url.contains('@')",
        message: "spec.model.source.http.url: must be an http:// or https:// address without a credential",
    },
    Rule {
        path: "spec.external",
        rule: "!has(self.url) || (isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && !self.url.contains('@') && !self.url.contains('?') && !self.url.contains('#'))",
        message: "spec.external.url: must be an http:// or https:// base address without credential, ? or #; put a credential in a Secret and name it by spec.external.authSecretRef",
    },
    Rule {
        path: "spec.external",
        rule: "has(self.url) || self.protocol == 'VertexAI'",
        message: "spec.external.url: is required; only VertexAI knows its own address",
    },
    Rule {
        path: "spec.external",
        rule: "has(self.vertex) == (self.protocol == 'VertexAI')",
        message: "spec.external.vertex: is required with spec.external.protocol: VertexAI, and for it alone",
    },
    Rule {
        path: "spec.external",
        rule: "!(has(self.h2c) && self.h2c) || (has(self.url) && self.url.startsWith('http://'))",
        message: "spec.external.h2c: is for an http:// address; remove it, over https:// the version is negotiated",
    },
    Rule {
        path: "spec.admission",
        rule: "!has(self.queueTimeout) || (duration(self.queueTimeout) > duration('0s') && duration(self.queueTimeout) <= duration('60s'))",
        message: "spec.admission.queueTimeout: must be longer than 0 and at most 1m",
    },
    Rule {
        path: "spec.server.env[]",
        rule: "!(has(self.value) && has(self.valueFrom))",
        message: "spec.server.env: give value or valueFrom, not both",
    },
    Rule {
        path: "spec.server.env[].valueFrom",
        rule: "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
        message: "spec.server.env.valueFrom: give exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    },
    Rule {
        path: "spec.allowedGateways",
        rule: "(has(self.from) && self.from == 'Selector') == (has(self.namespaces) && size(self.namespaces) > 0)",
        message: "spec.allowedGateways.namespaces: is required with from: Selector, and for it alone",
    },
];

/// Rules of ModelGateway.
pub const GATEWAY_RULES: &[Rule] = &[
    Rule {
        path: "spec",
        rule: "!(has(self.auth) && has(self.auth.anonymous) && self.auth.anonymous && has(self.expose) && self.expose.type != 'None') || (has(self.auth.anonymousExposed) && self.auth.anonymousExposed)",
        message: "spec.auth.anonymous: with spec.expose everybody who reaches the gateway could use it; set spec.auth.anonymousExposed: true if that is meant, or list an issuer under spec.auth.oidc",
    },
    Rule {
        path: "spec.listeners",
        rule: "(has(self.http) && has(self.http.port) ? self.http.port : 5000) != (has(self.metrics) && has(self.metrics.port) ? self.metrics.port : 8082)",
        message: "spec.listeners: http and metrics have the same port; give one another",
    },
    Rule {
        path: "spec.listeners",
        rule: "!((has(self.http) && has(self.http.port) ? self.http.port : 5000) in [8083, 8084]) && !((has(self.metrics) && has(self.metrics.port) ? self.metrics.port : 8082) in [8083, 8084])",
        message: "spec.listeners: ports 8083 and 8084 are taken by the gateway itself; choose another",
    },
    Rule {
        path: "spec.protocols",
        rule: "self.all(p, self.exists_one(q, q == p))",
        message: "spec.protocols: a protocol is named twice; name each once",
    },
    Rule {
        path: "spec.auth.oidc[]",
        rule: "isURL(self.issuer) && url(self.issuer).getScheme() in ['http', 'https'] && !self.issuer.contains('@') && !self.issuer.contains('?') && !self.issuer.contains('#')",
        message: "spec.auth.oidc.issuer: must be an http:// or https:// address as the tokens spell it",
    },
    Rule {
        path: "spec.auth.oidc[]",
        rule: "!isURL(self.issuer) || !(url(self.issuer).getHostname() in ['gitlab.com', 'customers.gitlab.com']) || !self.audiences.exists(a, a in ['gitlab-code-suggestions', 'gitlab-ai-gateway'])",
        message: "spec.auth.oidc.issuer: signs code suggestions for everybody; use spec.auth.gitlab, which says whose tokens count",
    },
    Rule {
        path: "spec.auth.gitlab",
        rule: "isURL(self.url) && url(self.url).getScheme() in ['http', 'https'] && !self.url.contains('@') && !self.url.contains('?') && !self.url.contains('#')",
        message: "spec.auth.gitlab.url: must be an http:// or https:// address without credential, ? or #",
    },
    Rule {
        path: "spec.auth.gitlab",
        rule: "!has(self.customersUrl) || (isURL(self.customersUrl) && url(self.customersUrl).getScheme() in ['http', 'https'] && !self.customersUrl.contains('@') && !self.customersUrl.contains('?') && !self.customersUrl.contains('#'))",
        message: "spec.auth.gitlab.customersUrl: must be an http:// or https:// address without credential, ? or #",
    },
    Rule {
        path: "spec.auth.gitlab",
        rule: "!has(self.customersUrl) || (has(self.instanceIds) && size(self.instanceIds) > 0) || (has(self.namespaceIds) && size(self.namespaceIds) > 0) || (has(self.subjects) && size(self.subjects) > 0)",
        message: "spec.auth.gitlab.customersUrl: the Customers Portal signs for every customer of GitLab; say whose tokens count by spec.auth.gitlab.instanceIds, namespaceIds or subjects",
    },
    Rule {
        path: "spec.auth.gitlab",
        rule: "!isURL(self.url) || url(self.url).getHostname() != 'gitlab.com' || (has(self.namespaceIds) && size(self.namespaceIds) > 0) || (has(self.subjects) && size(self.subjects) > 0)",
        message: "spec.auth.gitlab.url: gitlab.com signs for every user of it; say whose tokens count by spec.auth.gitlab.namespaceIds or subjects",
    },
    Rule {
        path: "spec.auth.gitlab",
        rule: "!has(self.validationKeySecretRef) || has(self.signingKeySecretRef)",
        message: "spec.auth.gitlab.validationKeySecretRef: is for the rotation of spec.auth.gitlab.signingKeySecretRef; name that too",
    },
    Rule {
        path: "spec.auth.oidc[]",
        rule: "!has(self.jwksCache) || duration(self.jwksCache) >= duration('1m')",
        message: "spec.auth.oidc.jwksCache: must be at least 1m",
    },
    Rule {
        path: "spec.listeners.http",
        rule: "!has(self.trustedProxies) || self.trustedProxies.all(p, isIP(p) || isCIDR(p))",
        message: "spec.listeners.http.trustedProxies: must be IP addresses or networks such as 10.0.0.0/8",
    },
    Rule {
        path: "spec.limits[]",
        rule: "has(self.requestsPerMinute) || has(self.tokensPerMinute) || has(self.concurrent)",
        message: "spec.limits: give at least one of requestsPerMinute, tokensPerMinute and concurrent",
    },
    Rule {
        path: "spec",
        rule: "!has(self.limits) || !self.limits.exists(l, l.by == 'Key') || (has(self.auth) && has(self.auth.apiKeys))",
        message: "spec.limits.by: Key needs spec.auth.apiKeys; use by: Subject for callers with tokens",
    },
    Rule {
        path: "spec.cache",
        rule: "(has(self.store) && self.store == 'Redis') == has(self.redis)",
        message: "spec.cache: store: Redis needs cache.redis.secretRef, and store: Local has none",
    },
    Rule {
        path: "spec.routes[]",
        rule: "self.backends.exists(b, b.role == 'Primary' && (!has(b.weight) || b.weight > 0))",
        message: "spec.routes.backends: no Primary has a weight; give one backend the role Primary and a weight above 0",
    },
    Rule {
        path: "spec.routes[].backends[]",
        rule: "self.role != 'Shadow' || !has(self.weight) || self.weight <= 100",
        message: "spec.routes.backends.weight: a Shadow's weight is the share of requests that are copied, 0 to 100",
    },
    Rule {
        path: "spec.routes[].match.projects",
        rule: "[has(self.list), has(self.secretRef), has(self.configMapRef)].filter(x, x).size() == 1",
        message: "spec.routes.match.projects: give exactly one of list, secretRef and configMapRef",
    },
    Rule {
        path: "spec.routes[].match",
        rule: "!has(self.paths) || self.paths.all(p, p.startsWith('/'))",
        message: "spec.routes.match.paths: a path begins with /",
    },
    Rule {
        path: "spec.completion",
        rule: "!has(self.deadline) || (duration(self.deadline) > duration('0s') && duration(self.deadline) <= duration('60s'))",
        message: "spec.completion.deadline: must be longer than 0 and at most 1m",
    },
    Rule {
        path: "spec.completion.postProcess",
        rule: "!has(self.skip) || !self.skip.exists(s, s == 'Filter') || !(has(self.minLength) || has(self.commentOnly))",
        message: "spec.completion.postProcess: minLength and commentOnly are for the step Filter; do not skip it, or remove them",
    },
    Rule {
        path: "spec.completion.experiments[]",
        rule: "self.variants.exists(v, v.weight > 0)",
        message: "spec.completion.experiments.variants: every weight is 0; give one variant a weight",
    },
    Rule {
        path: "spec.expose",
        rule: "self.type in ['Ingress', 'HTTPRoute'] || !has(self.host)",
        message: "spec.expose.host: is for spec.expose.type: Ingress and HTTPRoute; set the type or remove it",
    },
    Rule {
        path: "spec.expose",
        rule: "self.type == 'Ingress' || !has(self.className)",
        message: "spec.expose.className: is for spec.expose.type: Ingress; set the type or remove it",
    },
    Rule {
        path: "spec.expose",
        rule: "self.type != 'None' || !has(self.annotations)",
        message: "spec.expose.annotations: nothing is made that could carry them; set spec.expose.type or remove them",
    },
    Rule {
        path: "spec.expose",
        rule: "(self.type == 'HTTPRoute') == (has(self.parentRefs) && size(self.parentRefs) > 0)",
        message: "spec.expose.parentRefs: is required with spec.expose.type: HTTPRoute, and for it alone",
    },
    Rule {
        path: "spec.expose",
        rule: "self.type == 'Ingress' || !has(self.tls)",
        message: "spec.expose.tls: is for spec.expose.type: Ingress; an HTTPRoute has its Gateway's certificate, for other types set spec.listeners.tls",
    },
    Rule {
        path: "spec.expose",
        rule: "!has(self.tls) || has(self.host)",
        message: "spec.expose.host: is required with spec.expose.tls; a certificate is for a name",
    },
    Rule {
        path: "spec.expose.tls",
        rule: "has(self.issuerRef) != has(self.secretRef)",
        message: "spec.expose.tls: give exactly one of issuerRef and secretRef",
    },
];

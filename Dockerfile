# syntax=docker/dockerfile:1
# The product's images, one target each: operator, gateway, engine, gpu. `make images` builds all of them.
# Built on the Debian release whose libraries the last stage holds; Rust's version is the one in rust-toolchain.toml.
FROM rust:1.95.0-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake=3.25.* libclang-dev=1:14.* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --locked --release \
    --package modelgate-operator --package modelgate-gateway --package modelgate-engine --package modelgate-gpu

# No shell and no package manager, the C and C++ libraries and certificates; the user is 65532 (nonroot).
FROM gcr.io/distroless/cc-debian12:nonroot AS base
USER 65532:65532
WORKDIR /

FROM base AS operator
COPY --from=build /src/target/release/modelgate-operator /usr/local/bin/modelgate-operator
ENTRYPOINT ["/usr/local/bin/modelgate-operator"]

FROM base AS gateway
COPY --from=build /src/target/release/modelgate-gateway /usr/local/bin/modelgate-gateway
EXPOSE 5000 8082 8083
ENTRYPOINT ["/usr/local/bin/modelgate-gateway"]

FROM base AS engine
COPY --from=build /src/target/release/modelgate-engine /usr/local/bin/modelgate-engine
ENTRYPOINT ["/usr/local/bin/modelgate-engine"]

FROM base AS gpu
COPY --from=build /src/target/release/modelgate-gpu /usr/local/bin/modelgate-gpu
ENTRYPOINT ["/usr/local/bin/modelgate-gpu"]

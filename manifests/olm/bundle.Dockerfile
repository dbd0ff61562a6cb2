# The image of the bundle for the Operator Lifecycle Manager: docker build -f manifests/olm/bundle.Dockerfile .
FROM scratch
LABEL operators.operatorframework.io.bundle.mediatype.v1=registry+v1
LABEL operators.operatorframework.io.bundle.manifests.v1=manifests/
LABEL operators.operatorframework.io.bundle.metadata.v1=metadata/
LABEL operators.operatorframework.io.bundle.package.v1=modelgate
LABEL operators.operatorframework.io.bundle.channels.v1=alpha
LABEL operators.operatorframework.io.bundle.channel.default.v1=alpha
COPY manifests/olm/manifests /manifests/
COPY crds/modelbackends.yaml crds/modelgateways.yaml /manifests/
COPY manifests/olm/metadata /metadata/

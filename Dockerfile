FROM python:3.13-slim AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Any version of strip will do: it removes debugging symbols, a fifth of what is installed.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
# Extras of the package, by name: --build-arg EXTRAS=otel
ARG EXTRAS=""
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Only the dependencies, so that this layer outlives a change of the source. What the service never loads goes: pip, tests,
# stubs, headers, the first Pydantic, and the parts of uvicorn[standard] that reload, speak WebSocket and read YAML. The rest
# is kept as bytecode, NumPy's without docstrings. Bytecode is not checked against a source's time, which a registry may rewrite.
RUN python -m venv /opt/venv \
    && python -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *[d for e in '$EXTRAS'.split() for d in p['optional-dependencies'][e]], sep='\n')" > requirements.txt \
    && /opt/venv/bin/pip install --no-cache-dir --no-compile --only-binary :all: -c constraints.txt -r requirements.txt \
    && /opt/venv/bin/pip uninstall --yes watchfiles websockets PyYAML pip \
    && find /opt/venv/lib -type d \( -name tests -o -name f2py -o -path '*/numpy/_core/include' -o -path '*/pydantic/v1' \) -prune -exec rm -rf {} + \
    && find /opt/venv/lib -type f \( -name '*.pyi' -o -name '*.px[di]' -o -name '*.pyx' -o -name '*.a' -o -path '*/simdjson/*.cpp' -o -path '*/simdjson/*.h' -o -name '*_tests.*.so' -o -name '_simd.*.so' \) -delete \
    && find /opt/venv/lib -type f -name '*.so*' -exec strip --strip-unneeded {} + \
    && python -m compileall -q -b -o 2 --invalidation-mode unchecked-hash /opt/venv/lib/python3.13/site-packages/numpy \
    && find /opt/venv/lib/python3.13/site-packages/numpy -name '*.py' -delete \
    && python -m compileall -q -b --invalidation-mode unchecked-hash /opt/venv/lib \
    && find /opt/venv/lib -name '*.py' -delete
WORKDIR /srv
COPY engine engine
COPY schemas schemas
COPY app app
RUN python -m compileall -q --invalidation-mode unchecked-hash .

FROM python:3.13-slim
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Chainrule" \
      org.opencontainers.image.description="Backpropagation over HTTP: every gradient of a network, exact and explained." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
ENV PATH="/opt/venv/bin:$PATH" \
    HOST=0.0.0.0 \
    PORT=8000 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /srv /srv
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=4)"]
CMD ["python", "-m", "app"]

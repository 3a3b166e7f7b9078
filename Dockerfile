# The xApp's image: CPU only, non-root, nothing to write but /tmp. Built from the repository's root:
#   docker build -t registry.example.org/stackmac:0.1.0 .
# runs the shipped bundles, and any other that the compiled engine does. With torch, for text models and the rest:
#   docker build --target full -t registry.example.org/stackmac:0.1.0-full .
# docs/install.md says what of this file has been tried, and how.

ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

# librmr: OSC's released package, unpacked (its install script has nothing to do here).
FROM ${PYTHON_IMAGE} AS librmr
ARG RMR_VERSION=4.9.4
ADD https://packagecloud.io/o-ran-sc/release/packages/debian/stretch/rmr_${RMR_VERSION}_amd64.deb/download.deb /tmp/rmr.deb
RUN dpkg-deb --extract /tmp/rmr.deb /tmp/rmr \
    && install -D -m 0755 "/tmp/rmr/usr/local/lib/librmr_si.so.${RMR_VERSION}" /out/librmr_si.so

# Everything of Python in one virtual environment; nothing has to be compiled.
FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /src
RUN python -m venv /opt/stackmac
COPY constraints.txt requirements-run.txt ./
COPY tools/cut_pycrate.py tools/
# The platform's libraries pin a hiredis that does not build on this Python; without their pins they work.
RUN /opt/stackmac/bin/pip install --no-compile --constraint constraints.txt pip setuptools wheel \
    && /opt/stackmac/bin/pip install --no-compile --constraint constraints.txt --build-constraint constraints.txt \
        --requirement requirements-run.txt \
    && /opt/stackmac/bin/pip install --no-compile --no-deps ricsdl==3.1.3 ricxappframe==3.2.2 \
    && /opt/stackmac/bin/python tools/cut_pycrate.py
COPY setup.py pyproject.toml README.md LICENSE ./
COPY policy policy/
COPY training training/
COPY xapp xapp/
# The decision's and the report reader's machine code is made for any x86-64-v3 processor; beside the installed package,
# not the sources here.
RUN /opt/stackmac/bin/pip install --no-compile --no-deps --no-build-isolation . \
    && /opt/stackmac/bin/python -m compileall -q /opt/stackmac/lib \
    && cd / && /opt/stackmac/bin/python -m policy.engine && /opt/stackmac/bin/python -m xapp.control.columns
# What is in it, as CycloneDX, by a tool that is not: Python's packages; Debian's and librmr are for a scanner of images.
RUN python -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --no-compile --constraint constraints.txt cyclonedx-bom \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/stackmac/sbom.cdx.json /opt/stackmac/bin/python

# With what loads every bundle, tuned pretrained language models too. The CPU build of torch comes alone from its own
# index; what it needs comes with the rest, by the versions we test with.
FROM build AS build-full
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/stackmac/bin/pip install --no-compile --no-deps --index-url "${TORCH_INDEX}" torch==2.13.0 \
    && /opt/stackmac/bin/pip install --no-compile --constraint constraints.txt torch transformers peft \
    && /opt/stackmac/bin/python -m compileall -q /opt/stackmac/lib \
    && /opt/sbom/bin/cyclonedx-py environment --output-reproducible --output-file /opt/stackmac/sbom.cdx.json /opt/stackmac/bin/python

FROM ${PYTHON_IMAGE} AS base
COPY --from=librmr /out/librmr_si.so /usr/local/lib/librmr_si.so
# The platform's library opens librmr_si.so by its name.
ENV LD_LIBRARY_PATH=/usr/local/lib
ENV PATH=/opt/stackmac/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
EXPOSE 8080 4560 4561
ENTRYPOINT ["stackmac"]
CMD ["run", "--config", "/opt/ric/config/config-file.json"]

FROM base AS full
COPY --from=build-full /opt/stackmac /opt/stackmac
USER 65532:65532

FROM base AS runtime
COPY --from=build /opt/stackmac /opt/stackmac
USER 65532:65532

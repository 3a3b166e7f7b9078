# The xApp's image: CPU only, non-root, nothing to write but /tmp. Built from the repository's root:
#   docker build -t registry.example.org/stackmac:0.1.0 .
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
COPY constraints.txt ./
# The CPU build of torch, alone from its own index; what it needs comes with the rest, by the versions we test with.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN /opt/stackmac/bin/pip install --constraint constraints.txt pip setuptools wheel \
    && /opt/stackmac/bin/pip install --no-deps --index-url "${TORCH_INDEX}" torch==2.13.0
COPY setup.py pyproject.toml README.md LICENSE ./
COPY command_line command_line/
COPY policy policy/
COPY training training/
COPY xapp xapp/
# With what loading a tuned pretrained language model needs. The platform's libraries pin a hiredis that does not build on
# this Python; without their pins they work.
RUN /opt/stackmac/bin/pip install --constraint constraints.txt --build-constraint constraints.txt ".[text]" \
    && /opt/stackmac/bin/pip install --no-deps ricsdl==3.1.3 ricxappframe==3.2.2
# The decision's machine code, for any x86-64-v3 processor; beside the installed package, not beside the sources here.
RUN cd / && /opt/stackmac/bin/python -m policy.engine

FROM ${PYTHON_IMAGE} AS runtime
COPY --from=librmr /out/librmr_si.so /usr/local/lib/librmr_si.so
COPY --from=build /opt/stackmac /opt/stackmac
# The platform's library opens librmr_si.so by its name.
ENV LD_LIBRARY_PATH=/usr/local/lib
ENV PATH=/opt/stackmac/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080 4560 4561
ENTRYPOINT ["stackmac"]
CMD ["run", "--config", "/opt/ric/config/config-file.json"]

# One image for every service; they differ by command. Built in two stages: what pip needs stays in the first.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
# strip takes the debug symbols out of compiled packages: 32 MB
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
RUN python -m venv --without-pip /opt/muster
# `--build-arg EXTRAS=semantic`: with what SEMANTIC needs, about 185 MB more; docker-compose.semantic.yml says so.
ARG EXTRAS=""
COPY requirements.txt requirements-semantic.txt /tmp/
# A layer of its own: it is built again only when a dependency changes.
RUN python -m pip --python /opt/muster/bin/python install --no-compile --require-hashes \
        -r /tmp/requirements${EXTRAS:+-$EXTRAS}.txt \
    && find /opt/muster \( -name tests -o -name test \) -type d -path '*site-packages*' -prune -exec rm -rf {} + \
    # docutils reads here, in English markup, and writes nothing: 3 MB
    && cd /opt/muster/lib/python3.13/site-packages/docutils && find writers -mindepth 1 -type d -exec rm -rf {} + \
    && find writers -type f ! -name __init__.py ! -name null.py -delete && rm -rf parsers/rst/include \
    && find . -path '*languages/*' -name '*.py' ! -name en.py ! -name __init__.py -delete \
    && find /opt/muster -name '*.so' -exec strip --strip-unneeded {} + \
    && find /opt/muster \( -name '*.pyi' -o -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete \
    # bytecode is worth its 30 MB: a service starts in half the time, and the file system is read-only later
    && python -m compileall -q -j 0 /opt/muster \
    # and of the large libraries that only protocols and models import it is all that is kept: 33 MB
    && cd /opt/muster/lib/python3.13/site-packages && for package in pygments google mcp \
        a2a docutils snowballstemmer pyasn1_modules; do \
        find $package -name __pycache__ -prune -exec rm -rf {} + \
        && python -m compileall -q -b -j 0 $package && find $package -name '*.py' -delete; done

FROM python:3.13-slim
RUN groupadd --system --gid 10001 muster \
    && useradd --system --uid 10001 --gid muster --home-dir /data --shell /usr/sbin/nologin muster \
    && install -d -o muster -g muster /data /knowledge /backups /uploads
COPY --from=build /opt/muster /opt/muster
WORKDIR /app
COPY coordinator/ coordinator/
COPY shared/ shared/
COPY workers/ workers/
COPY docs/ docs/
ENV PATH=/opt/muster/bin:$PATH PYTHONUNBUFFERED=1 PYTHONPATH=/app
# The base comes without bytecode: what is imported of Python's own modules is compiled here, 5 MB, once and not at
# every start of a read-only container, where it is half of a start (1.3 s of processor time instead of 2.3).
RUN python -m compileall -q coordinator shared workers \
    && python -c "import coordinator.app, coordinator.cli.commands, coordinator.cli.client, \
coordinator.cli.doctor.inspect, coordinator.journal.upkeep.backup, workers.researcher, workers.analyzer, workers.reporter, \
uvicorn.loops.uvloop, uvicorn.protocols.http.httptools_impl, uvicorn.lifespan.on"
# `docker compose exec coordinator muster …`
RUN printf '#!/bin/sh\nMUSTER_NAME=muster exec python -m coordinator.cli "$@"\n' > /usr/local/bin/muster \
    && chmod 755 /usr/local/bin/muster
# Last, because every commit has another revision: `make image` gives it, and /health says it.
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Muster" \
      org.opencontainers.image.description="A multi-agent backend for small teams" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV MUSTER_REVISION=${REVISION}
ENV STATE_DIR=/data DATABASE_URL=sqlite:////data/muster.db KNOWLEDGE_DIR=/app/docs PORT=8000 PROBE_LOOKS=36
USER muster
EXPOSE 8000
STOPSIGNAL SIGTERM
# A process stays for 36 looks, 5 s apart, of up to 3 s each: what a look costs is to start the process.
HEALTHCHECK --interval=5s --timeout=300s --start-period=30s --retries=3 CMD ["bash", "/app/shared/probe.sh"]
CMD ["python", "-m", "coordinator", "--host", "0.0.0.0", "--port", "8000"]

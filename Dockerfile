# winnow for `docker run`, and for the driver, scheduler and workers of a cluster (docs/cluster.md).
#
#     docker build -t winnow .
#     docker run --rm --user "$(id -u)" -v "$PWD/runs:/data" winnow demo --out /data
#
# BASE may be another Debian or Ubuntu with Python 3.11 or 3.12. MORE are further packages that your
# jobs need (a plugin; s3fs for s3://). Without a GPU, give pip the index of torch's CPU builds,
# PIP_EXTRA_INDEX_URL: the image then has 2.7 GB.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ARG EXTRAS=train
ARG MORE
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
# First what changes seldom: the packages are installed again only if these files change.
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN mkdir pipeline train \
    && touch pipeline/__init__.py train/__init__.py \
    && python3 -m venv /opt/winnow \
    && /opt/winnow/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" \
    && rm -r build pipeline train
RUN test -z "${MORE}" || /opt/winnow/bin/pip install --no-cache-dir ${MORE}
COPY pipeline pipeline
COPY train train
RUN /opt/winnow/bin/pip install --no-cache-dir --no-deps --force-reinstall .

FROM ${BASE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --home-dir /srv/winnow winnow \
    && install --directory --mode 1777 /srv/winnow
COPY --from=build /opt/winnow /opt/winnow
ENV HOME=/srv/winnow PATH=/opt/winnow/bin:$PATH
# Any user id will do (`docker run --user`); this one is for those who give none.
USER 1000
WORKDIR /srv/winnow
# As Ctrl-C: a run ends in one line, and the same command goes on from there.
STOPSIGNAL SIGINT
ENTRYPOINT ["winnow"]
CMD ["--help"]

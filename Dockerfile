# The build needs pip and the lock; the image that runs has neither a compiler nor a database of its own. Of the embedded
# PostgreSQL it uses the client programs alone, for backup, restore and shell.
FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv /opt/pantheon
COPY requirements.lock ./
RUN /opt/pantheon/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN /opt/pantheon/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# An id above those of the system, so that it means nobody else on the host either.
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pantheon \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/pantheon/files
COPY --from=build /opt/pantheon /opt/pantheon
# docker build --build-arg PANTHEON_COMMIT=$(git rev-parse HEAD) .
ARG PANTHEON_COMMIT=
ENV PATH=/opt/pantheon/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PANTHEON_COMMIT=$PANTHEON_COMMIT
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/api/v1/ready', timeout=4)"]
# Without a shell in between, so that SIGTERM reaches it and running requests finish.
ENTRYPOINT ["pantheon"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]

# The worker alone: PostgreSQL is yours to bring, by DATABASE_URL.
#   docker build -t uipath-audit-export --build-arg VERSION=0.2.0 --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --env-file .env -p 127.0.0.1:8080:8080 uipath-audit-export            # start
#   docker run --rm --env-file .env uipath-audit-export backfill                     # one-off

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json bundle.js ./
COPY src src
ARG REVISION=unknown
RUN npm run build

# Not the image of Node.js, which brings npm, corepack and yarn: removing them there would not make the image smaller.
FROM debian:bookworm-slim
RUN groupadd --gid 1000 node && useradd --uid 1000 --gid node --create-home node
COPY --from=build /usr/local/bin/node /usr/local/bin/node
# One arena of malloc for all threads: some 9 MB less at the peak (docs/performance.md).
ENV NODE_ENV=production STATUS_HOST=0.0.0.0 MALLOC_ARENA_MAX=1
WORKDIR /app
# The bundle needs no node_modules. The embedded PostgreSQL is left out: a container has DATABASE_URL.
COPY --from=build /app/dist/main.js /app/dist/healthcheck.js dist/
COPY --from=build /app/dist/chunks dist/chunks
COPY package.json ./
COPY migrations migrations
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="uipath-audit-export" \
  org.opencontainers.image.description="Copies UiPath's audit log into PostgreSQL, on a schedule and completely" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
# Unhealthy while the database is away or every run fails; nothing restarts the container for that.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
  CMD ["node", "dist/healthcheck.js"]
# Node itself is process 1 and handles the signals; nothing stands between.
# The -- keeps Node from reading --env-file itself. The option is that of the first line of src/main.ts.
ENTRYPOINT ["node", "--max-semi-space-size=4", "--", "dist/main.js"]
CMD ["start"]

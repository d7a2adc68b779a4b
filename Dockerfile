# The worker alone: PostgreSQL is yours to bring, by DATABASE_URL.
#   docker build -t uipath-audit-export .
#   docker run --env-file .env -p 127.0.0.1:8080:8080 uipath-audit-export            # start
#   docker run --rm --env-file .env uipath-audit-export backfill                     # one-off

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json bundle.js ./
COPY src src
RUN npm run build

# Optional dependencies hold the embedded PostgreSQL, which a container does not need.
FROM node:24-bookworm-slim AS production
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --omit=dev --omit=optional

FROM node:24-bookworm-slim
ENV NODE_ENV=production STATUS_HOST=0.0.0.0
WORKDIR /app
COPY --from=production /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY migrations migrations
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
  CMD ["node", "dist/healthcheck.js"]
# Node itself is process 1 and handles the signals; nothing stands between.
# The -- keeps Node from reading --env-file itself. The option is that of the first line of src/main.ts.
ENTRYPOINT ["node", "--max-semi-space-size=8", "--", "dist/main.js"]
CMD ["start"]

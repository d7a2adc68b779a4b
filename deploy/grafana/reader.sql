-- The login of dashboards: reads the views of schema bi, and nothing else. May be run again, to change the password:
--   psql "$OWNER_URL" -v password=… -f deploy/grafana/reader.sql
\set ON_ERROR_STOP on
select format('create role grafana login password %L in role audit_reader', :'password')
where not exists (select from pg_roles where rolname = 'grafana') \gexec
select format('alter role grafana password %L', :'password') \gexec

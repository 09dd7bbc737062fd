-- Roles with the least that each needs, and the two databases: run by a superuser with psql, as often as one likes.
--   psql --dbname postgres --file deploy/postgres/roles.sql
-- Names of databases: --variable warehouse=NAME --variable dagster=NAME. Passwords are set afterwards (\password ROLE).
--   defiyield_owner    owns the warehouse: migrations, restores
--   defiyield_writer   runs: rows of all tables, temporary tables, no other DDL
--   defiyield_reader   readers and metrics: SELECT, for a minute at most
--   defiyield_console  the console: SELECT, and INSERT of versions of the policy and of its audit alone
--   defiyield_dagster  owns Dagster's own database, and sees no other
\set ON_ERROR_STOP on
\if :{?warehouse}
\else
  \set warehouse warehouse
\endif
\if :{?dagster}
\else
  \set dagster dagster
\endif

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name)
FROM unnest(ARRAY[
  'defiyield_owner', 'defiyield_writer', 'defiyield_reader', 'defiyield_console', 'defiyield_dagster'
]) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec
ALTER ROLE defiyield_reader SET default_transaction_read_only = on;
ALTER ROLE defiyield_reader SET statement_timeout = '60s';
ALTER ROLE defiyield_reader SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE defiyield_reader CONNECTION LIMIT 20;
ALTER ROLE defiyield_console SET statement_timeout = '60s';
ALTER ROLE defiyield_console SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE defiyield_console CONNECTION LIMIT 20;

SELECT format('CREATE DATABASE %I TEMPLATE template0 ENCODING ''UTF8''', name)
FROM unnest(ARRAY[:'warehouse', :'dagster']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name)
\gexec
ALTER DATABASE :"warehouse" OWNER TO defiyield_owner;
ALTER DATABASE :"dagster" OWNER TO defiyield_dagster;
REVOKE ALL ON DATABASE :"warehouse", :"dagster" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"warehouse" TO defiyield_writer;
GRANT CONNECT ON DATABASE :"warehouse" TO defiyield_reader, defiyield_console;

\connect :"warehouse"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO defiyield_owner;
GRANT USAGE ON SCHEMA public TO defiyield_writer, defiyield_reader, defiyield_console;
-- Tables that somebody else made before there were roles.
SELECT format('ALTER TABLE public.%I OWNER TO defiyield_owner', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tableowner <> 'defiyield_owner'
\gexec
-- Alembic's table, which `migrate` makes where it is not there: made here, so that the last line can keep the writer off.
CREATE TABLE IF NOT EXISTS public.defiyield_schema_version (
  version_num varchar(32) CONSTRAINT defiyield_schema_version_pkc PRIMARY KEY
);
ALTER TABLE public.defiyield_schema_version OWNER TO defiyield_owner;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO defiyield_writer;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO defiyield_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO defiyield_reader, defiyield_console;
-- The same for tables of later revisions.
ALTER DEFAULT PRIVILEGES FOR ROLE defiyield_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO defiyield_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE defiyield_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO defiyield_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE defiyield_owner IN SCHEMA public
  GRANT SELECT ON TABLES TO defiyield_reader, defiyield_console;
-- The migration that makes these tables grants the same where the role is there before them. A restore makes all tables
-- anew: after one, run this file again, for these grants and for the revocation below.
SELECT format('GRANT INSERT ON public.%I TO defiyield_console', tablename)
FROM pg_tables WHERE schemaname = 'public' AND tablename IN ('policy_versions', 'console_audit')
\gexec
REVOKE INSERT, UPDATE, DELETE ON public.defiyield_schema_version FROM defiyield_writer;

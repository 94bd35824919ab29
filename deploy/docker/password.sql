-- The password of the exporter's role, which ../lakefs/postgres.sql makes.
\set password `cat /run/secrets/postgres_password`
ALTER ROLE lakefs_import_exporter PASSWORD :'password';

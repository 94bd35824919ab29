-- Lets lakefs_import_exporter, a monitoring agent, see which imports a lakeFS has.
--
-- lakeFS keeps everything it knows in one table, kv: repositories, branches, users'
-- access keys, paths of uncommitted objects. This script adds beside it
--
--   * a schema, lakefs_import_exporter;
--   * a view in it, imports, of two columns: the name of a repository and the ID of an
--     import into it. lakeFS deletes an import's row a day after the import's last update;
--   * a role, lakefs_import_exporter, that may read this view and nothing else: not kv,
--     no other row of it, and no value at all.
--
-- It changes nothing of lakeFS's own, takes no lock on kv that lakeFS would wait for, and may
-- be run again at any time. Run it as the database user of lakeFS, in the database of
-- lakeFS: both are in database.postgres.connection_string of lakeFS's configuration.
--
--   psql -v ON_ERROR_STOP=1 -f postgres.sql "$CONNECTION_STRING"
--
-- Then set the role's password, from psql, so that it is in no history and no log:
--
--   \password lakefs_import_exporter
--
-- Each refresh (every 30 seconds by default) is one connection and one read-only statement,
-- by index: one range of kv for the repositories, and one for each repository.
--
-- To take all of it back; the last line alone stops the role from logging in:
--
--   DROP SCHEMA lakefs_import_exporter CASCADE;
--   DROP ROLE lakefs_import_exporter;            -- or: ALTER ROLE lakefs_import_exporter NOLOGIN;

BEGIN;

CREATE SCHEMA IF NOT EXISTS lakefs_import_exporter;

-- The view reads kv with the rights of its owner. Conditions of a reader are applied after
-- its own (security_barrier), so that they see no other row.
--
-- A repository's row has the key repos/NAME in the partition graveler. Its value is a protobuf
-- message whose field 6, the instance's UID, is the byte 2 (0x32: field 6, text), the
-- byte 0x14 (its length, 20) and 20 characters of 0-9 and a-v. In front of it is field 5, bytes ( and
-- 0x01, if the repository is being deleted: it is left out. The rows of its imports have keys
-- imports/ID in the partition NAME-UID.
--
-- encode(..., 'escape') rather than convert_from: it fails on no byte, so that a key that is not
-- UTF-8 cannot end the query. OFFSET 0 keeps the planner from any other plan than one range of
-- the primary key for the repositories and one for each of them: kv is never read from end to end.
CREATE OR REPLACE VIEW lakefs_import_exporter.imports (repository, import_id)
WITH (security_barrier) AS
SELECT r.repository, i.import_id
FROM (
    SELECT
        encode(substring(key FROM length('repos/') + 1), 'escape') AS repository,
        substring(encode(value, 'escape') FROM '(?<!\(\u0001)2\u0014([0-9a-v]{20})') AS uid
    FROM kv
    WHERE partition_key = 'graveler' AND key >= 'repos/' AND key < 'repos0' -- 0 follows /
    OFFSET 0
) AS r
CROSS JOIN LATERAL (
    SELECT encode(substring(key FROM length('imports/') + 1), 'escape') AS import_id
    FROM kv
    WHERE partition_key = convert_to(r.repository || '-' || r.uid, 'UTF8')
        AND key >= 'imports/' AND key < 'imports0'
    OFFSET 0
) AS i;

COMMENT ON VIEW lakefs_import_exporter.imports IS
    'IDs of the imports that lakeFS knows, for lakefs_import_exporter';

-- A user of lakeFS that may not create roles: an administrator runs
-- CREATE ROLE lakefs_import_exporter LOGIN; then this script is run again.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'lakefs_import_exporter') THEN
        CREATE ROLE lakefs_import_exporter LOGIN;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA lakefs_import_exporter TO lakefs_import_exporter;
GRANT SELECT ON lakefs_import_exporter.imports TO lakefs_import_exporter;

COMMIT;

"""Statements that a read-only user must not get through, and those that it must.

PATH stands for a file that the server's process can read; | in an allowed statement for a line break.
"""

from __future__ import annotations

WRITES = """
INSERT INTO guarded VALUES (3, 'three')
INSERT INTO guarded SELECT 3, 'three'
INSERT INTO guarded FORMAT TSV
INSERT INTO FUNCTION file('out.tsv', 'TSV', 'a Int8') SELECT 1
INSERT INTO FUNCTION null('a Int8') SELECT 1
INSERT INTO TABLE FUNCTION url('http://127.0.0.1:1/', 'TSV', 'a Int8') SELECT 1
CREATE TABLE evil (a Int8) ENGINE = Memory
CREATE TABLE evil ENGINE = File(TSV, 'PATH')
CREATE TABLE evil ENGINE = URL('http://127.0.0.1:1/', TSV)
CREATE TEMPORARY TABLE evil (a Int8)
CREATE VIEW evil AS SELECT 1
CREATE MATERIALIZED VIEW evil ENGINE = Memory AS SELECT 1
CREATE DATABASE evil
CREATE FUNCTION evil AS x -> x
CREATE USER evil
CREATE ROLE evil
CREATE NAMED COLLECTION evil AS a = 1
CREATE DICTIONARY evil (a UInt64) PRIMARY KEY a SOURCE(HTTP(URL 'http://[::1]:1/' FORMAT TSV)) LAYOUT(FLAT())
DROP TABLE guarded
DROP DATABASE tocsin
TRUNCATE TABLE guarded
RENAME TABLE guarded TO evil
EXCHANGE TABLES guarded AND guarded
DETACH TABLE guarded
ATTACH TABLE evil FROM '/var' (a Int8) ENGINE = Memory
UNDROP TABLE guarded
ALTER TABLE guarded DELETE WHERE 1
ALTER TABLE guarded ADD COLUMN evil Int8
ALTER TABLE guarded UPDATE name = 'x' WHERE 1
ALTER TABLE guarded FREEZE
ALTER TABLE guarded MODIFY TTL now()
DELETE FROM guarded WHERE 1
UPDATE guarded SET name = 'x' WHERE 1
OPTIMIZE TABLE guarded FINAL
GRANT ALL ON *.* TO reader
REVOKE ALL ON *.* FROM tocsin
SET readonly = 0
SET max_threads = 1
SET ROLE DEFAULT
USE default
KILL QUERY WHERE 1
KILL MUTATION WHERE 1
SYSTEM FLUSH LOGS
SYSTEM SHUTDOWN
SYSTEM STOP MERGES
SYSTEM DROP MARK CACHE
BACKUP TABLE guarded TO File('PATH.zip')
RESTORE TABLE guarded FROM File('PATH.zip')
BEGIN TRANSACTION
EXECUTE AS tocsin SELECT 1
CHECK TABLE guarded
MOVE USER evil TO local_directory
""".strip().splitlines()

FILES_AND_NETWORK = """
SELECT * FROM file('PATH', 'LineAsString')
SELECT * FROM File('PATH', 'LineAsString')
SELECT * FROM `file`('PATH', 'LineAsString')
SELECT * FROM "file"('PATH', 'LineAsString')
SELECT * FROM “file”('PATH', 'LineAsString')
SELECT * FROM `\\x66ile`('PATH', 'LineAsString')
SELECT * FROM file /* hidden */ ('PATH', 'LineAsString')
SELECT * FROM file -- hidden
SELECT/**/*/**/FROM/**/file('PATH','LineAsString')
SELECT * FROM fileCluster('default', 'PATH', 'LineAsString')
SELECT * FROM filesystem('PATH')
SELECT file('PATH')
SELECT FILE('PATH')
SELECT `file`('PATH')
SELECT "file"('PATH')
SELECT “file”('PATH')
SELECT `\\x66ile`('PATH')
SELECT `fi\\le`('PATH')
SELECT * APPLY(file) FROM (SELECT 'PATH' AS a)
SELECT * APPLY(`\\x66ile`) FROM (SELECT 'PATH' AS a)
SELECT * APPLY(x -> file(x)) FROM (SELECT 'PATH' AS a)
SELECT COLUMNS('a') APPLY file FROM (SELECT 'PATH' AS a)
SELECT arrayMap(file, ['PATH'])
SELECT arrayMap(x -> file(x), ['PATH'])
SELECT * REPLACE(file('PATH') AS id) FROM guarded
WITH file('PATH') AS f SELECT f
WITH f AS (SELECT file('PATH') AS x) SELECT * FROM f
SELECT name FROM guarded WHERE name = file('PATH')
SELECT name FROM guarded PREWHERE file('PATH') != ''
SELECT name FROM guarded ORDER BY file('PATH')
SELECT name FROM guarded GROUP BY name, file('PATH')
SELECT name FROM guarded HAVING file('PATH') != ''
SELECT name FROM guarded QUALIFY file('PATH') != ''
SELECT 1 LIMIT length(file('PATH'))
SELECT id FROM guarded ORDER BY id WITH FILL INTERPOLATE (name AS file('PATH'))
SELECT count() OVER (PARTITION BY file('PATH'))
SELECT quantile(length(file('PATH')) / 100)(1)
SELECT name FROM guarded ARRAY JOIN [file('PATH')] AS f
SELECT 1 IN (SELECT length(line) FROM file('PATH', 'LineAsString', 'line String'))
SELECT (SELECT file('PATH'))
SELECT CASE WHEN file('PATH') = '' THEN 1 END
SELECT 1 UNION ALL SELECT length(file('PATH'))
SELECT 1 EXCEPT SELECT length(file('PATH'))
SELECT 1 INTERSECT SELECT length(file('PATH'))
(SELECT file('PATH'))
SELECT * FROM view(SELECT file('PATH'))
SELECT * FROM values('a String', (file('PATH')))
SELECT * FROM viewExplain('EXPLAIN', '', (SELECT file('PATH')))
DESCRIBE TABLE file('PATH', 'LineAsString')
DESCRIBE (SELECT file('PATH'))
EXPLAIN SELECT file('PATH')
EXPLAIN SYNTAX SELECT file('PATH')
EXPLAIN QUERY TREE SELECT file('PATH')
EXPLAIN AST SELECT file('PATH')
EXPLAIN PIPELINE SELECT * FROM file('PATH', 'LineAsString')
EXPLAIN TABLE OVERRIDE file('PATH', 'LineAsString') PARTITION BY 1
EXPLAIN INSERT INTO guarded SELECT 1, file('PATH')
SHOW TABLES WHERE file('PATH') != ''
SHOW TABLES WHERE name IN (SELECT * FROM file('PATH', 'LineAsString'))
SHOW COLUMNS FROM guarded WHERE file('PATH') != ''
SHOW DATABASES WHERE file('PATH') != ''
SHOW FUNCTIONS WHERE file('PATH') != ''
SHOW INDEX FROM guarded WHERE file('PATH') != ''
SELECT * FROM `PATH`
SELECT * FROM 'PATH'
SELECT * FROM default.`PATH`
SELECT 1 INTO OUTFILE 'PATH.out'
SELECT 1 INTO OUTFILE 'PATH.out' TRUNCATE FORMAT TSV
SELECT 1 into/**/outfile 'PATH.out'
EXPLAIN SELECT 1 INTO OUTFILE 'PATH.out'
SHOW TABLES INTO OUTFILE 'PATH.out'
DESCRIBE guarded INTO OUTFILE 'PATH.out'
INSERT INTO guarded FROM INFILE 'PATH' FORMAT TSV
SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')
SELECT * FROM urlCluster('default', 'http://127.0.0.1:1/', 'LineAsString')
SELECT * FROM url('file://PATH', 'LineAsString')
SELECT * FROM s3('http://127.0.0.1:1/bucket/key', 'LineAsString')
SELECT * FROM s3Cluster('default', 'http://127.0.0.1:1/bucket/key', 'LineAsString')
SELECT * FROM gcs('http://127.0.0.1:1/bucket/key', 'LineAsString')
SELECT * FROM oss('http://127.0.0.1:1/bucket/key', 'LineAsString')
SELECT * FROM cosn('http://127.0.0.1:1/bucket/key', 'LineAsString')
SELECT * FROM azureBlobStorage('http://127.0.0.1:1/', 'c', 'b', 'TSV')
SELECT * FROM hdfs('hdfs://127.0.0.1:1/x', 'TSV', 'a Int8')
SELECT * FROM remote('127.0.0.1:1', 'system.one')
SELECT * FROM remoteSecure('127.0.0.1:1', 'system.one')
SELECT * FROM remote('127.0.0.1', view(SELECT 1))
SELECT * FROM cluster('default', 'system.one')
SELECT * FROM clusterAllReplicas('default', 'system.one')
SELECT * FROM mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM postgresql('127.0.0.1:1', 'a', 'b', 'c', 'd')
SELECT * FROM mongodb('127.0.0.1:1', 'a', 'b', 'c', 'd', 'e Int8')
SELECT * FROM redis('127.0.0.1:1', 'k', 'k String')
SELECT * FROM sqlite('PATH', 'a')
SELECT * FROM odbc('DSN=a', 'b', 'c')
SELECT * FROM jdbc('a', 'b', 'c')
SELECT * FROM executable('id', 'TSV', 'a String')
SELECT * FROM python(httpx)
SELECT * FROM iceberg('http://127.0.0.1:1/bucket/key')
SELECT * FROM icebergLocal('/var')
SELECT * FROM icebergS3('http://127.0.0.1:1/bucket/key')
SELECT * FROM deltaLake('http://127.0.0.1:1/bucket/key')
SELECT * FROM deltaLakeLocal('/var')
SELECT * FROM hudi('http://127.0.0.1:1/bucket/key')
SELECT * FROM paimonLocal('/var')
SELECT * FROM ytsaurus('a', 'b', 'c', 'd Int8')
SELECT * FROM bigquery('a', 'b')
SELECT * FROM prometheusQuery('a', 'b')
SELECT * FROM arrowstream('PATH')
SELECT * FROM input('a Int8')
SELECT * FROM dictionary('evil')
SELECT * FROM merge('system', 'users|processes')
SELECT * FROM merge(REGEXP('system'), 'processes')
SELECT * FROM loop(system.processes) LIMIT 1
SELECT * FROM eval('SELECT 1')
SELECT * FROM fuzzQuery('SELECT 1') LIMIT 1
SELECT * FROM mergeTreeIndex('tocsin', 'guarded')
SELECT hasColumnInTable('127.0.0.1:1', 'system', 'one', 'dummy')
SELECT dictGet('evil', 'a', 1)
SELECT joinGet('tocsin.evil', 'a', 1)
SELECT aiGenerate('a')
SELECT AIEmbed('a')
SELECT catboostEvaluate('PATH', 1)
SELECT getServerSetting('path')
SELECT addressToLine(1)
SELECT showCertificate()
""".strip().splitlines()

SYSTEM_SECRETS = """
SELECT * FROM system.users
SELECT * FROM system.processes
SELECT * FROM SYSTEM.processes
SELECT * FROM `system`.`processes`
SELECT * FROM "system".processes
SELECT * FROM `system` . processes
SELECT * FROM system /* hidden */ . /* hidden */ processes
SELECT * FROM `sys\\x74em`.`processes`
SELECT * FROM {d:Identifier}.{t:Identifier}
SELECT * FROM system.{t:Identifier}
SELECT 1 IN system.processes
SELECT query FROM (SELECT * FROM system.processes)
WITH p AS (SELECT * FROM system.processes) SELECT * FROM p
SELECT * FROM guarded JOIN system.processes ON 1
DESCRIBE system.processes
SELECT * FROM system.stack_trace
SELECT * FROM system.server_settings
SELECT * FROM system.named_collections
SELECT * FROM system.grants
SELECT * FROM system.user_processes
SELECT * FROM system.disks
SELECT * FROM system.query_log
SELECT * FROM system.certificates
SELECT * FROM system.zookeeper WHERE path = '/'
SELECT * FROM system.remote_data_paths
SELECT * FROM system.handlers
SELECT * FROM system.errors
SHOW PROCESSLIST
SHOW GRANTS
SHOW ACCESS
SHOW USERS
SHOW CREATE USER default
""".strip().splitlines()

TRICKS = """
SELECT 1 SETTINGS readonly = 0
SELECT 1 SETTINGS max_execution_time = 0
SELECT 1 SETTINGS format_schema = 'PATH'
SELECT 1 SETTINGS additional_result_filter = 'file(''PATH'') = '''''
SELECT 1; DROP TABLE guarded
SELECT 1; SELECT 2
SELECT 1;; INSERT INTO guarded VALUES (3, 'three')
SELECT 1 /* ; */ ; DROP TABLE guarded -- ; SELECT 1
-- SELECT 1
/* SELECT 1 */ DROP TABLE guarded
EXPLAIN CREATE TABLE evil (a Int8) ENGINE = Memory
EXPLAIN DROP TABLE guarded
EXPLAIN CURRENT TRANSACTION
1 + 1
graph = 1 SELECT 1
SELECT * FROM arrayMap({f:Identifier}, ['PATH'])
SELECT arrayMap({f:Identifier}, ['PATH'])
SELECT arrayMap({g:Identifier}, ['PATH'])
""".strip().splitlines()

ALLOWED = """
SELECT 1
SELECT count() FROM guarded
SELECT * FROM tocsin.guarded FINAL ORDER BY id LIMIT 1
SELECT name, id FROM guarded WHERE name IN ('one', 'file', 'system.users')
WITH t AS (SELECT id FROM guarded) SELECT sum(id) FROM t
SELECT * FROM numbers(3)
SELECT * FROM generateSeries(1, 3)
SELECT * FROM values('a Int8', 1, 2)
SELECT * FROM view(SELECT 1)
SELECT timezone(), version(), displayName(), currentUser(), currentDatabase(), revision()
SELECT name, value, readonly FROM system.settings LIMIT 3
SELECT name FROM system.databases
SELECT name, database, table, type FROM system.columns WHERE database = 'tocsin'
SELECT database, name, engine FROM system.tables WHERE database = 'tocsin'
SELECT name FROM system.functions LIMIT 3
SELECT name FROM system.table_functions LIMIT 3
SELECT table, sum(rows) FROM system.parts WHERE active GROUP BY table
SELECT table_name FROM information_schema.tables LIMIT 1
SELECT table_name FROM INFORMATION_SCHEMA.TABLES LIMIT 1
SELECT dummy FROM system.{one:Identifier}
SELECT count() FROM {table:Identifier}
SELECT {any:String} AS x
SHOW TABLES
SHOW DATABASES
SHOW COLUMNS FROM guarded
SHOW CREATE TABLE guarded
SHOW FUNCTIONS LIKE 'sum'
DESCRIBE TABLE guarded
DESC guarded
EXISTS TABLE guarded
EXPLAIN SELECT * FROM guarded
EXPLAIN PIPELINE SELECT * FROM guarded
EXPLAIN SYNTAX SELECT * FROM guarded
EXPLAIN ESTIMATE SELECT * FROM guarded
SELECT toStartOfInterval(now(), INTERVAL 1 minute) AS time, count() FROM guarded GROUP BY time ORDER BY time
SELECT format('{}-{}', 'a', 'b'), arrayMap(x -> x + 1, [1, 2]), dateDiff('second', now(), now())
SELECT * APPLY(toString) FROM guarded
SELECT 1 FORMAT JSON
SELECT 1;
-- a comment|SELECT 1
""".strip().splitlines()

-- The partner whose account it was: what was shared with a partner can be told after its accounts have changed, too.
ALTER TABLE access_log ADD COLUMN IF NOT EXISTS partner LowCardinality(String) DEFAULT '';

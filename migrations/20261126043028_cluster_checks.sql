-- +goose Up
-- create index "cluster_next_check_at" to table: "clusters"
CREATE INDEX "cluster_next_check_at" ON "clusters" ("next_check_at") WHERE enabled;

-- +goose Down
-- reverse: create index "cluster_next_check_at" to table: "clusters"
DROP INDEX "cluster_next_check_at";

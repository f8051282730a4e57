-- +goose Up
-- modify "clusters" table
ALTER TABLE "clusters" ADD COLUMN "quarantine_report" jsonb NULL;

-- +goose Down
-- reverse: modify "clusters" table
ALTER TABLE "clusters" DROP COLUMN "quarantine_report";

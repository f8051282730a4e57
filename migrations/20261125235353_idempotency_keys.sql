-- +goose Up
-- create "idempotency_keys" table
CREATE TABLE "idempotency_keys" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "user_id" uuid NOT NULL, "key" character varying NOT NULL, "request_hash" bytea NOT NULL, "attempt" bigint NOT NULL DEFAULT 1, "attempt_at" timestamptz NOT NULL, "done" boolean NOT NULL DEFAULT false, "status" bigint NOT NULL DEFAULT 0, "location" character varying NOT NULL DEFAULT '', "answer" bytea NULL, PRIMARY KEY ("id"));
-- create index "idempotencykey_created_at" to table: "idempotency_keys"
CREATE INDEX "idempotencykey_created_at" ON "idempotency_keys" ("created_at");
-- create index "idempotencykey_user_id_key" to table: "idempotency_keys"
CREATE UNIQUE INDEX "idempotencykey_user_id_key" ON "idempotency_keys" ("user_id", "key");

-- +goose Down
-- reverse: create index "idempotencykey_user_id_key" to table: "idempotency_keys"
DROP INDEX "idempotencykey_user_id_key";
-- reverse: create index "idempotencykey_created_at" to table: "idempotency_keys"
DROP INDEX "idempotencykey_created_at";
-- reverse: create "idempotency_keys" table
DROP TABLE "idempotency_keys";

-- +goose Up
-- modify "role_bindings" table
ALTER TABLE "role_bindings" ADD COLUMN "expires_at" timestamptz NULL, ADD COLUMN "reason" character varying NULL;
-- modify "sessions" table
ALTER TABLE "sessions" ADD COLUMN "user_id" uuid NULL, ADD COLUMN "began_at" timestamptz NULL, ADD COLUMN "seen_at" timestamptz NULL, ADD COLUMN "method" character varying NULL, ADD COLUMN "ip_address" character varying NULL, ADD COLUMN "user_agent" character varying NULL, ADD COLUMN "ended_at" timestamptz NULL;
-- create index "session_user_id_seen_at" to table: "sessions"
CREATE INDEX "session_user_id_seen_at" ON "sessions" ("user_id", "seen_at");
-- create "identities" table
CREATE TABLE "identities" ("id" uuid NOT NULL, "created_at" timestamptz NOT NULL, "issuer" character varying NOT NULL, "subject" character varying NOT NULL, "name" character varying NULL, "last_used_at" timestamptz NULL, "user_id" uuid NOT NULL, PRIMARY KEY ("id"), CONSTRAINT "identities_users_identities" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON UPDATE NO ACTION ON DELETE CASCADE);
-- create index "identity_issuer_subject" to table: "identities"
CREATE UNIQUE INDEX "identity_issuer_subject" ON "identities" ("issuer", "subject");
-- create index "identity_user_id" to table: "identities"
CREATE INDEX "identity_user_id" ON "identities" ("user_id");

-- +goose Down
-- reverse: create index "identity_user_id" to table: "identities"
DROP INDEX "identity_user_id";
-- reverse: create index "identity_issuer_subject" to table: "identities"
DROP INDEX "identity_issuer_subject";
-- reverse: create "identities" table
DROP TABLE "identities";
-- reverse: create index "session_user_id_seen_at" to table: "sessions"
DROP INDEX "session_user_id_seen_at";
-- reverse: modify "sessions" table
ALTER TABLE "sessions" DROP COLUMN "ended_at", DROP COLUMN "user_agent", DROP COLUMN "ip_address", DROP COLUMN "method", DROP COLUMN "seen_at", DROP COLUMN "began_at", DROP COLUMN "user_id";
-- reverse: modify "role_bindings" table
ALTER TABLE "role_bindings" DROP COLUMN "reason", DROP COLUMN "expires_at";

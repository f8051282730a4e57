// Package migrations holds the versioned SQL that makes the database. Files
// only go forward. `make migration NAME=add_x` writes the next one from the
// ent schema.
package migrations

import "embed"

// FS holds the files.
//
//go:embed *.sql
var FS embed.FS

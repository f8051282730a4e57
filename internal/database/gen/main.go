// Command gen writes the next migration from the difference between the ent
// schema and the migrations so far, and refreshes the directory's checksums.
//
//	go run ./internal/database/gen -name add_x     (needs PostgreSQL's programs)
//	go run ./internal/database/gen -hash           (after a file was written by hand)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/sqltool"

	"kubevirt-shepherd.io/shepherd/internal/database"
)

func main() {
	name := flag.String("name", "change", "what the migration does, in snake_case")
	dir := flag.String("dir", "migrations", "directory of the migrations")
	hash := flag.Bool("hash", false, "only refresh atlas.sum")
	flag.Parse()
	if err := run(*name, *dir, *hash); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, path string, hash bool) error {
	ctx := context.Background()
	if hash {
		dir, err := sqltool.NewGooseDir(path)
		if err != nil {
			return err
		}
		sum, err := dir.Checksum()
		if err != nil {
			return err
		}
		return migrate.WriteSumFile(dir, sum)
	}
	tmp, err := os.MkdirTemp("", "shepherd-gen")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	pg, err := database.StartPrivate(ctx, tmp+"/pg")
	if err != nil {
		return err
	}
	defer pg.Stop()
	err = database.Diff(ctx, pg.URL, path, name)
	if errors.Is(err, migrate.ErrNoPlan) {
		fmt.Println("the migrations are up to date with the schema")
		return nil
	}
	return err
}

package migrations

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
)

// SchemaVersion returns what pgbell.schema_version() says once [Up] is done: the
// version of the facts, and how they are recorded. The tables have versions of their
// own, those of [FS].
func SchemaVersion() int { return schemaVersion }

var schemaVersion = func() int {
	text, err := files.ReadFile("functions/listener.sql")
	if err != nil {
		panic(err) // it is embedded
	}
	found := regexp.MustCompile(`(?s)function pgbell\.schema_version\(\).*?\nreturn (\d+);`).FindSubmatch(text)
	version, err := strconv.Atoi(string(found[1]))
	if err != nil {
		panic(err) // they are digits
	}
	return version
}()

// refuseNewer gives an error if a newer pgbell made the schema: to install the older
// functions would have servers misread what is recorded.
func refuseNewer(ctx context.Context, tx *sql.Tx, applied int64) error {
	var versions bool
	if err := tx.QueryRowContext(ctx, `select to_regprocedure('pgbell.schema_version()') is not null`).Scan(&versions); err != nil {
		return err
	}
	var schema int
	if versions {
		if err := tx.QueryRowContext(ctx, `select pgbell.schema_version()`).Scan(&schema); err != nil {
			return err
		}
	}
	if schema > schemaVersion {
		return fmt.Errorf("schema pgbell is of version %d, and this pgbell makes version %d: upgrade pgbell", schema, schemaVersion)
	}
	if last := sources[len(sources)-1].Version; applied > last {
		return fmt.Errorf("schema pgbell has migration %d, and this pgbell knows none after %d: upgrade pgbell", applied, last)
	}
	return nil
}

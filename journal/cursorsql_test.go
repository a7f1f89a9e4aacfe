package journal

import (
	"slices"
	"testing"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestLongCursorOfSQLIsReadable(t *testing.T) {
	url := pgtest.Migrated.Database(t)
	for range 70 { // more than fit into the text
		conn := connect(t, url)
		exec(t, conn, "begin; select pg_current_xact_id()")
	}
	conn := connect(t, url)
	exec(t, conn, "create table t ()")
	var text, exact string
	if err := conn.QueryRow(t.Context(), "select pgbell.cursor(), pg_current_snapshot()::text").Scan(&text, &exact); err != nil {
		t.Fatal(err)
	}
	short, err := ParseCursor(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	full, err := parseCursor(short.Incarnation + "-" + exact)
	if err != nil {
		t.Fatalf("%s: %v", exact, err)
	}
	n := len(short.Xip)
	if len(full.Xip) != 70 || n < 10 || n == 70 || short.Xmin != full.Xmin || short.Xmax != full.Xip[n] || !slices.Equal(short.Xip, full.Xip[:n]) {
		t.Errorf("%s is not %s as far as it fits", text, exact)
	}
}

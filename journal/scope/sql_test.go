package scope

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"pgregory.net/rapid"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// storable is text as Postgres can hold it.
func storable() *rapid.Generator[string] {
	return rapid.Map(anyText(), func(s string) string {
		return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
	})
}

func TestScopesAreTheSameInSQL(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	rapid.Check(t, func(rt *rapid.T) {
		text := storable().Draw(rt, "text")
		var canonical, value string
		var made *string
		err := conn.QueryRow(t.Context(), "select pgbell.canonical_scope($1), pgbell.percent_encode($1), pgbell.scope('v:', $1, '')", text).
			Scan(&canonical, &value, &made)
		if err != nil {
			rt.Fatal(err)
		}
		if got := Canonical(text); got != canonical {
			rt.Errorf("%q: canonical %q, in SQL %q", text, got, canonical)
		}
		// Of a value a percent sign is no more than that.
		want := Encode(text)
		if value != want || made == nil || *made != "v:"+want {
			rt.Errorf("%q: as a value %q, in SQL %q and %v", text, want, value, made)
		}
		if Canonical(value) != value {
			rt.Errorf("%q: the value %q is not canonical", text, value)
		}
	})
}

func TestEachByteIsTheSameInSQL(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	for b := rune(1); b < 0x180; b++ {
		var canonical string
		if err := conn.QueryRow(t.Context(), "select pgbell.canonical_scope($1)", string(b)).Scan(&canonical); err != nil {
			t.Fatal(err)
		}
		if got := Canonical(string(b)); got != canonical {
			t.Errorf("%U: got %q, in SQL %q", b, got, canonical)
		}
	}
}

type rows interface {
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// checkTemplate compares how text is read here and in SQL.
func checkTemplate(t rows, db *pgx.Conn, text string) {
	row, err := db.Query(context.Background(), "select literals, columns from pgbell.parse_template($1)", text)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var want Template
	if row.Next() {
		err = row.Scan(&want.literals, &want.columns)
	}
	row.Close()
	if err == nil {
		err = row.Err()
	}
	if pgErr := (*pgconn.PgError)(nil); err != nil && (!errors.As(err, &pgErr) || pgErr.Code != "22023") {
		t.Fatalf("%q: %v", text, err)
	}
	got, goErr := Parse(text)
	if (goErr == nil) != (err == nil) {
		t.Errorf("%q: error here %v, in SQL %v", text, goErr, err)
		return
	}
	if len(want.columns) == 0 {
		want.columns = nil
	}
	if err == nil && !cmp.Equal(got, want, cmp.AllowUnexported(Template{})) {
		t.Errorf("%q: %s", text, cmp.Diff(want, got, cmp.AllowUnexported(Template{})))
	}
}

func TestTemplatesAreTheSameInSQL(t *testing.T) {
	conn := connect(t, pgtest.Migrated.Database(t))
	rapid.Check(t, func(rt *rapid.T) {
		braces := rapid.StringMatching(`([{}]|a|%4|ü){0,9}`)
		checkTemplate(rt, conn, rapid.OneOf(braces, storable()).Draw(rt, "template"))
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "a:{b}", "{{{a}}}", "{{a}}", "{a{b}", "{}", "}", "{", "{a}}", "%4{a}1", "ü{ü}ü", "{a\n}\n", "{{}{}}"} {
		f.Add(text)
	}
	conn := connect(f, pgtest.Migrated.Database(f))
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
		checkTemplate(t, conn, text)
	})
}

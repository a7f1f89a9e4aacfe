package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

// printFlag is --print, or --print=FORMAT.
func printFlag() cli.Flag {
	return &cli.GenericFlag{
		Name: "print", Value: new(printFormat), Sources: fromEnv("print"), Local: true,
		Usage: "write a goose migration instead, or with `=sql` plain SQL, and the triggers that it makes, to read; needs no database, but asks it for the feed that the table has now, which Down brings back; without --scope it writes the proposal, with its reasons",
	}
}

// printFormat is goose, sql, or empty: don't print. It may be given without a
// value, as a bool flag may.
type printFormat string

func (p *printFormat) Set(s string) error {
	switch s {
	case "true", "goose":
		*p = "goose"
	case "sql":
		*p = "sql"
	case "false":
		*p = ""
	default:
		return errors.New("goose or sql")
	}
	return nil
}

func (p *printFormat) String() string   { return string(*p) }
func (p *printFormat) Get() any         { return string(*p) }
func (p *printFormat) IsBoolFlag() bool { return true }

// printFeed prints what attaches f, and what undoes it.
func printFeed(ctx context.Context, c *cli.Command, f triggers.Feed, format string) error {
	look, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := connect(look, c)
	if err != nil {
		return writeFeed(c, unasked, f, nil, format, "")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	former, asked := formerFeed(look, conn, f.Table)
	if !asked {
		return writeFeed(c, unasked, f, nil, format, "")
	}
	return writeFeed(c, "", f, former, format, preview(look, conn, f))
}

const unasked = "-- No database was there to say whether the table has a feed already: to undo this detaches it.\n"

// preview returns as a comment what attaching f would make here, or why it would fail.
func preview(ctx context.Context, conn *pgx.Conn, f triggers.Feed) string {
	statements, err := triggers.Preview(ctx, conn, f)
	if missing := (*triggers.MissingTableError)(nil); errors.As(err, &missing) {
		return "" // it is another database's
	}
	if err != nil {
		return commented("In this database it would fail: " + describe(err))
	}
	return commented("It makes these functions and triggers (docs/sql.md says more of them):\n\n" + strings.Join(statements, ";\n\n") + ";")
}

// commented returns text as a comment in SQL, which ends at a carriage return, too.
func commented(text string) string {
	return "\n-- " + strings.NewReplacer("\n", "\n-- ", "\r", `\r`).Replace(text) + "\n"
}

// writeFeed writes comment, what attaches f, and what brings back former; as plain SQL
// a preview, too.
func writeFeed(c *cli.Command, comment string, f triggers.Feed, former *triggers.Feed, format, preview string) error {
	do, undo, err := triggers.SQL(f, former)
	if err != nil {
		return &usageError{err}
	}
	var text string
	if format == "sql" {
		text = do + "\n" + commented("To undo it:\n"+undo) + preview
	} else if text, err = triggers.Migration(f, former); err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprint(c.Root().Writer, comment+text)
	return err
}

// formerFeed returns the feed that a table has now, and whether the database
// could say so.
func formerFeed(ctx context.Context, conn *pgx.Conn, table string) (*triggers.Feed, bool) {
	f, ok, err := triggers.Get(ctx, conn, table)
	var missing *triggers.MissingTableError
	switch {
	case errors.As(err, &missing):
		return nil, true
	case err != nil:
		return nil, false
	case !ok:
		return nil, true
	}
	return &f, true
}

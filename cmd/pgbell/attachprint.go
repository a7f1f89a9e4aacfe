package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

// printFlag is --print, or --print=FORMAT.
func printFlag() cli.Flag {
	return &cli.GenericFlag{
		Name: "print", Value: new(printFormat), Sources: fromEnv("print"), Local: true,
		Usage: "write a goose migration instead, or with `=sql` plain SQL; needs no database, but asks it for the feed that the table has now, which Down brings back; without --scope it writes the proposal, with its reasons",
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
	former, asked := formerFeed(ctx, c, f.Table)
	comment := ""
	if !asked {
		comment = "-- No database was there to say whether the table has a feed already: to undo this detaches it.\n"
	}
	return writeFeed(c, comment, f, former, format)
}

// writeFeed writes comment, what attaches f, and what brings back former.
func writeFeed(c *cli.Command, comment string, f triggers.Feed, former *triggers.Feed, format string) error {
	do, undo, err := triggers.SQL(f, former)
	if err != nil {
		return &usageError{err}
	}
	var text string
	if format == "sql" {
		text = do + "\n\n-- To undo it:\n-- " + strings.ReplaceAll(undo, "\n", "\n-- ") + "\n"
	} else if text, err = triggers.Migration(f, former); err != nil {
		return &usageError{err}
	}
	_, err = fmt.Fprint(c.Root().Writer, comment+text)
	return err
}

// formerFeed returns the feed that a table has now, and whether the database
// could say so.
func formerFeed(ctx context.Context, c *cli.Command, table string) (*triggers.Feed, bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	conn, err := connect(ctx, c)
	if err != nil {
		return nil, false
	}
	defer conn.Close(context.WithoutCancel(ctx))
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

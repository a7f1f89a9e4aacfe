package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

// proposeSchema prints a migration that attaches what is proposed for each table of a schema that
// has no feed.
func proposeSchema(ctx context.Context, c *cli.Command, schema, format string) error {
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tables, err := triggers.Attachable(ctx, conn, schema)
	if err != nil {
		return err
	}
	var up, down []string
	for _, table := range tables {
		p, err := propose(ctx, conn, triggers.Feed{Table: table})
		if err != nil {
			return err
		}
		if p.Former != nil {
			up = append(up, "-- "+printable(p.Feed.Table)+" has a feed.\n")
			continue
		}
		do, undo, err := triggers.SQL(p.Feed, nil)
		if err != nil {
			return &usageError{err}
		}
		comment := proposalComment(p)
		if format == "goose" {
			do, undo = "-- +goose StatementBegin\n"+do+"\n-- +goose StatementEnd", "-- +goose StatementBegin\n"+undo+"\n-- +goose StatementEnd"
		}
		up, down = append(up, comment+do+"\n"), append(down, undo)
	}
	if len(down) == 0 {
		return plainf(nil, "schema %s has no table that could be attached and isn't", printable(schema))
	}
	slices.Reverse(down)
	text := strings.Join(up, "\n")
	if format == "goose" {
		text = "-- +goose Up\n" + text + "\n-- +goose Down\n" + strings.Join(down, "\n") + "\n"
	} else {
		text += "\n" + commented("To undo it:\n"+strings.Join(down, "\n"))
	}
	_, err = fmt.Fprint(c.Root().Writer, text)
	return err
}

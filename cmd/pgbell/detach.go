package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

func detachCommand() *cli.Command {
	return &cli.Command{
		Name:          "detach",
		Usage:         "remove the feed of a table",
		ArgsUsage:     "TABLE",
		Flags:         []cli.Flag{jsonFlag()},
		Action:        detach,
		ShellComplete: completeTables(attached),
	}
}

func detach(ctx context.Context, c *cli.Command) error {
	table, err := tableArgument(c)
	if err != nil {
		return err
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	was, err := triggers.Detach(ctx, conn, table)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, struct {
			Table    string `json:"table_name"`
			Detached bool   `json:"detached"`
		}{table, was})
	}
	words := "detached %s\n"
	if !was {
		words = "%s was not attached\n"
	}
	_, err = fmt.Fprintf(c.Root().Writer, words, printable(table))
	return err
}

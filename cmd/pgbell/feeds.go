package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/triggers"
)

func feedsCommand() *cli.Command {
	return &cli.Command{
		Name:   "feeds",
		Usage:  "list the attached tables and the state of their feeds",
		Flags:  []cli.Flag{jsonFlag()},
		Action: feeds,
	}
}

func feeds(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	all, err := triggers.List(ctx, conn)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		list := make([]feedJSON, 0, len(all))
		for _, f := range all {
			list = append(list, feedToJSON(f))
		}
		return printJSON(c.Root().Writer, list)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.Root().ErrWriter, "no feeds yet: attach a table with: pgbell attach TABLE --scope NAME")
		return nil
	}
	w := tabwriter.NewWriter(c.Root().Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TABLE\tSCOPES\tAUDIENCE\tCOLUMNS\tPAYLOAD\tDURABLE\tREGROUP\tSTATE")
	for _, f := range all {
		if len(f.Scopes) == 0 { // there are triggers of no feed
			fmt.Fprintf(w, "%s\t\t\t\t\t\t\t%s\n", printable(f.Table), printable(f.State))
			continue
		}
		durable := "yes"
		if f.Volatile {
			durable = "no"
		}
		fmt.Fprintln(w, strings.Join([]string{
			printable(f.Table), listWords(f.Scopes, "", ""), listWords(f.Audience, "everyone", "nobody"), listWords(f.Columns, "any", "none"),
			listWords(f.Payload, "none", "none"), durable, printable(cmp.Or(f.Regroup, "none")), printable(f.State),
		}, "\t"))
	}
	return w.Flush()
}

// listWords joins a list; absent is what a null one means, empty what one
// without elements does.
func listWords(list []string, absent, empty string) string {
	switch {
	case list == nil:
		return absent
	case len(list) == 0:
		return empty
	}
	return printable(strings.Join(list, ", "))
}

// feedJSON has the columns of the view pgbell.feeds.
type feedJSON struct {
	Table    string   `json:"table_name"`
	Scopes   []string `json:"scopes"`
	Audience []string `json:"audience"`
	Columns  []string `json:"columns"`
	Payload  []string `json:"payload"`
	Durable  bool     `json:"durable"`
	State    string   `json:"state"`
	Regroup  *string  `json:"regroup"`
}

func feedToJSON(f triggers.Feed) feedJSON {
	return feedJSON{f.Table, f.Scopes, f.Audience, f.Columns, f.Payload, !f.Volatile, f.State, textOrNil(f.Regroup)}
}

// textOrNil is nil for an empty text.
func textOrNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

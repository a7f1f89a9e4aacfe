package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/triggers"
)

func attachCommand() *cli.Command {
	return &cli.Command{
		Name:      "attach",
		Usage:     "attach a feed to a table, or replace the one it has",
		ArgsUsage: "TABLE",
		Description: "A scope is what subscribers ask for: tasks, or by a template project:{project_id}.\n" +
			"The audience columns say who may hear of a row; without any, everyone may.\n" +
			"Without --scope it looks at the table, proposes what to attach it with, and asks.",
		Flags: []cli.Flag{
			listFlag("scope", "scope `TEMPLATE`, such as tasks or project:{project_id} (repeat it for more)"),
			columnsFlag("audience", "`COLUMN` with the id or ids of who may hear of the row, or a template of groups, such as team:{team_id}"),
			columnsFlag("columns", "`COLUMN` whose change makes an UPDATE count; default any"),
			columnsFlag("payload", "`COLUMN` whose value travels with the event; default none"),
			boolFlag("durable", true, "also record changes in the journal; with --durable=false they are lost while nobody listens"),
			stringFlag("regroup", "", "the table says who is in which group: the `COLUMN` with the id or ids of these users"),
			printFlag(),
			stringFlag("schema", "", "with --print: propose a feed for each table of this `SCHEMA`, in one migration"),
			jsonFlag(),
		},
		Action:        attach,
		ShellComplete: completeTables(attachable),
	}
}

func attach(ctx context.Context, c *cli.Command) error {
	if c.IsSet("schema") {
		format := c.Value("print").(string)
		others := slices.ContainsFunc([]string{"scope", "audience", "columns", "payload", "durable", "regroup", "json"}, c.IsSet)
		if c.Args().Present() || format == "" || others {
			return usagef("--schema goes with --print, and with no table or other option: pgbell attach --schema crm --print > 00042_feeds.sql")
		}
		return proposeSchema(ctx, c, c.String("schema"), format)
	}
	f, err := feedFromFlags(c)
	if err != nil {
		return err
	}
	format := c.Value("print").(string)
	if format != "" && c.Bool("json") {
		return usagef("--print writes SQL: leave out --json")
	}
	if len(f.Scopes) == 0 {
		return proposeFeed(ctx, c, f, format)
	}
	if err := f.Validate(); err != nil {
		return &usageError{err}
	}
	if format != "" {
		return printFeed(ctx, c, f, format)
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return attachFeed(ctx, c, conn, f)
}

func attachFeed(ctx context.Context, c *cli.Command, conn *pgx.Conn, f triggers.Feed) error {
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := triggers.Attach(ctx, tx, f); err != nil {
			return err
		}
		if now, ok, err := triggers.Get(ctx, tx, f.Table); err != nil {
			return err
		} else if ok {
			f = now
		}
		return nil
	})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, feedToJSON(f))
	}
	_, err = fmt.Fprintf(c.Root().Writer, "attached %s: scopes %s, %s\n",
		printable(f.Table), printable(strings.Join(f.Scopes, ", ")), printable(audienceWords(f)))
	return err
}

// feedFromFlags returns the feed that the flags describe, as yet unchecked.
func feedFromFlags(c *cli.Command) (triggers.Feed, error) {
	table, err := tableArgument(c)
	if err != nil {
		for _, format := range []string{"goose", "sql"} {
			if c.IsSet("print") && slices.Contains(c.Args().Slice(), format) { // it needs no value, so it takes none
				err = usagef("did you mean --print=%s?", format)
			}
		}
		return triggers.Feed{}, err
	}
	f := triggers.Feed{Table: table, Scopes: c.StringSlice("scope"), Volatile: !c.Bool("durable"), Regroup: c.String("regroup")}
	for name, list := range map[string]*[]string{"audience": &f.Audience, "columns": &f.Columns, "payload": &f.Payload} {
		if *list, err = columnList(c, name); err != nil {
			return triggers.Feed{}, err
		}
	}
	return f, nil
}

// exampleScope is the table's own name, if it is a plain one.
func exampleScope(table string) string {
	name := table[strings.LastIndex(table, ".")+1:]
	for _, r := range name {
		if (r < 'a' || r > 'z') && r != '_' {
			return "tasks"
		}
	}
	return name
}

func audienceWords(f triggers.Feed) string {
	switch {
	case f.Audience == nil:
		return "heard by everyone"
	case len(f.Audience) == 0:
		return "heard by nobody"
	}
	var users, groups []string
	for _, element := range f.Audience {
		if scope.IsGroup(element) {
			groups = append(groups, element)
		} else {
			users = append(users, element)
		}
	}
	var words []string
	if users != nil {
		words = append(words, "the users in "+strings.Join(users, ", "))
	}
	if groups != nil {
		words = append(words, "the groups "+strings.Join(groups, ", "))
	}
	return "heard by " + strings.Join(words, " and ")
}

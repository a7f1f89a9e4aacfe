package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"
)

// completionWait is how long a TAB may take. A user who waits longer types the name.
const completionWait = time.Second

// enableCompletion lets pgbell write the scripts by which shells complete its
// command line.
func enableCompletion(app *cli.Command) {
	app.EnableShellCompletion = true
	app.ConfigureShellCompletionCommand = func(c *cli.Command) {
		c.Hidden = false
		c.Usage = "print a script that completes pgbell's command line: bash, zsh, fish or pwsh"
		c.Action = func(_ context.Context, c *cli.Command) error {
			return usagef("completion is for bash, zsh, fish or pwsh: see pgbell completion --help")
		}
		bash := c.Command("bash")
		script := bash.Action
		bash.Action = func(ctx context.Context, c *cli.Command) error {
			if err := script(ctx, c); err != nil {
				return err
			}
			_, err := fmt.Fprint(c.Root().Writer, withoutBashCompletion)
			return err
		}
	}
}

// withoutBashCompletion stands in for what the script asks of the package
// bash-completion, which a server may not have.
const withoutBashCompletion = `
if ! declare -F _comp_initialize >/dev/null && ! declare -F _get_comp_words_by_ref >/dev/null; then
  __pgbell_init_completion() {
    COMPREPLY=()
    cur="${COMP_WORDS[COMP_CWORD]}"
  }
fi
`

// Queries for the tables that can be attached, and for those that are, in the form in
// which a user writes them. They leave out names that need quotes: shells would split
// them. Which tables are written without their schema is up to the user's path of names,
// so that this is not pinned: the queries name the schemas of what they call.
const (
	attachable = `
		select case when pg_catalog.pg_table_is_visible(c.oid) then c.relname::pg_catalog.text else pg_catalog.concat(n.nspname, '.', c.relname) end
		from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) c.relnamespace
		where c.relkind operator(pg_catalog.=) any ('{r,p}') and not c.relispartition
			and n.nspname operator(pg_catalog.<>) all ('{information_schema,pgbell}') and n.nspname operator(pg_catalog.!~) '^pg_'
			and c.relname operator(pg_catalog.~) '^[a-z_][a-z0-9_]*$' and n.nspname operator(pg_catalog.~) '^[a-z_][a-z0-9_]*$'
		order by 1 limit 1000`
	attached = `
		select case when pg_catalog.pg_table_is_visible(pg_catalog.to_regclass(table_name)) then pg_catalog.split_part(table_name, '.', 2) else table_name end
		from pgbell.feeds
		where table_name operator(pg_catalog.~) '^[a-z_][a-z0-9_]*[.][a-z_][a-z0-9_]*$'
		order by 1 limit 1000`
)

// columnsOf are the columns of a table.
const columnsOf = `
	select a.attname::pg_catalog.text from pg_catalog.pg_attribute a
	where a.attrelid operator(pg_catalog.=) pg_catalog.to_regclass($1) and a.attnum operator(pg_catalog.>) 0 and not a.attisdropped
		and a.attname operator(pg_catalog.~) '^[a-z_][a-z0-9_]*$'
	order by a.attnum`

// flagValues are the values of flags that have few.
var flagValues = map[string][]string{
	"auth": {"none", "header", "jwt"}, "wake": {"auto", "poll"}, "log-level": {"debug", "info", "warn", "error"},
}

// columnFlags are flags of attach whose values are columns of its table.
var columnFlags = []string{"audience", "columns", "payload", "regroup"}

// completeValues completes the value of a flag that is the last word so far, and all else by
// the command's own.
func completeValues(own cli.ShellCompleteFunc) cli.ShellCompleteFunc {
	return func(ctx context.Context, c *cli.Command) {
		word := ""
		if n := len(os.Args); n > 2 { // the last says to complete
			word = os.Args[n-2]
		}
		name, isFlag := strings.CutPrefix(word, "--")
		isFlag = isFlag && slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		switch {
		case isFlag && flagValues[name] != nil:
			fmt.Fprintln(c.Root().Writer, strings.Join(flagValues[name], "\n"))
		case isFlag && slices.Contains(columnFlags, name):
			complete(ctx, c, columnsOf, c.Args().First())
		case own != nil:
			own(ctx, c)
		default:
			cli.DefaultCompleteWithFlags(ctx, c)
		}
	}
}

// completeTables completes a first argument by what a query gives.
func completeTables(query string) cli.ShellCompleteFunc {
	return func(ctx context.Context, c *cli.Command) {
		if args := c.Args(); args.Present() {
			if strings.HasPrefix(args.Get(args.Len()-1), "-") {
				cli.DefaultCompleteWithFlags(ctx, c)
			}
			return
		}
		complete(ctx, c, query)
	}
}

// complete prints what a query gives. Without a database that answers at once there is nothing
// to complete by, and nothing is said.
func complete(ctx context.Context, c *cli.Command, query string, args ...any) {
	ctx, cancel := context.WithTimeout(ctx, completionWait)
	defer cancel()
	conf, err := databaseConfig(c)
	if err != nil {
		return
	}
	conf.OnNotice = nil
	conn, err := pgx.ConnectConfig(ctx, unprepared(conf))
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return
	}
	fmt.Fprintln(c.Root().Writer, strings.Join(names, "\n"))
}

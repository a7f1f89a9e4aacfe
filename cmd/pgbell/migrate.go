package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/migrations"
	"github.com/pgbell/pgbell/triggers"
)

func migrateCommand() *cli.Command {
	return &cli.Command{
		Name:      "migrate",
		Usage:     "install schema pgbell, or bring it up to date",
		ArgsUsage: "[up|down|status]",
		Description: "up applies what is missing, down takes back the last migration (with the first of them,\n" +
			"all of pgbell goes, feeds included), status lists them.",
		Flags:  []cli.Flag{jsonFlag(), boolFlag("yes", false, "down: don't ask before feeds go")},
		Action: migrate,
	}
}

// migration is one line of what migrate prints.
type migration struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name"`
	State     string     `json:"state"` // applied or pending: now
	AppliedAt *time.Time `json:"applied_at,omitempty"`
}

func migrate(ctx context.Context, c *cli.Command) error {
	step := c.Args().First()
	if step == "" {
		step = "up"
	}
	if c.Args().Len() > 1 || step != "up" && step != "down" && step != "status" {
		return usagef("migrate takes one of up, down, status")
	}
	conf, err := databaseConfig(c)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*unprepared(conf))
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	var done []migration
	switch step {
	case "up":
		done, err = results(migrations.Up(ctx, db))
	case "down":
		if err := agreed(ctx, c, db); err != nil {
			return err
		}
		done, err = rollback(ctx, db)
	case "status":
		done, err = statuses(ctx, db)
	}
	if err != nil {
		return migrateProblem(&conf.Config, err)
	}
	if c.Bool("json") {
		return printJSON(c.Root().Writer, done)
	}
	if len(done) == 0 {
		none := map[string]string{"up": "nothing to do: schema pgbell is up to date", "down": "nothing to take back: pgbell is not installed"}
		_, err = fmt.Fprintln(c.Root().Writer, none[step])
		return err
	}
	w := tabwriter.NewWriter(c.Root().Writer, 0, 0, 2, ' ', 0)
	for _, m := range done {
		line := m.State
		if step == "down" {
			line = "taken back"
		}
		line += "\t" + m.Name
		if m.AppliedAt != nil {
			line += "\t" + m.AppliedAt.Format(time.RFC3339)
		}
		fmt.Fprintln(w, line)
	}
	return w.Flush()
}

func results(all []*goose.MigrationResult, err error) ([]migration, error) {
	done := []migration{}
	for _, r := range all {
		state := goose.StateApplied
		if r.Direction == "down" {
			state = goose.StatePending
		}
		done = append(done, migration{Version: r.Source.Version, Name: path.Base(r.Source.Path), State: string(state)})
	}
	return done, err
}

// errKept makes migrate exit with 1 after somebody said no.
var errKept = errors.New("nothing was taken back")

// agreed asks before feeds go, as all do with the first migration. What is wrong otherwise
// is for the migration to say.
func agreed(ctx context.Context, c *cli.Command, db *sql.DB) error {
	if c.Bool("yes") {
		return nil
	}
	all, err := statuses(ctx, db)
	if err != nil || len(slices.DeleteFunc(all, func(m migration) bool { return m.State != string(goose.StateApplied) })) != 1 {
		return nil
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	feeds, err := triggers.List(ctx, conn)
	if err != nil || len(feeds) == 0 {
		return nil
	}
	names := make([]string, len(feeds))
	for i, f := range feeds {
		names[i] = printable(f.Table)
	}
	going := fmt.Sprintf("all of pgbell, with the feeds of %s", strings.Join(names, ", "))
	if c.Bool("json") || !isTerminal(os.Stdin) || !isTerminal(c.Root().Writer) {
		return usagef("migrate down takes away %s: to have it so, add --yes", going)
	}
	yes, err := askYesNo(ctx, c, "Take away "+going+"? [y/N] ")
	if err == nil && !yes {
		err = plainf(errKept, "nothing was taken back")
	}
	return err
}

func rollback(ctx context.Context, db *sql.DB) ([]migration, error) {
	r, err := migrations.Down(ctx, db)
	switch {
	case errors.Is(err, goose.ErrNoNextVersion):
		return results(nil, nil)
	case err != nil:
		return nil, err
	}
	return results([]*goose.MigrationResult{r}, nil)
}

func statuses(ctx context.Context, db *sql.DB) ([]migration, error) {
	all, err := migrations.Status(ctx, db)
	done := []migration{}
	for _, s := range all {
		m := migration{Version: s.Source.Version, Name: path.Base(s.Source.Path), State: string(s.State)}
		if !s.AppliedAt.IsZero() {
			m.AppliedAt = &s.AppliedAt
		}
		done = append(done, m)
	}
	return done, err
}

// migrateProblem says which right a role lacks; anything else keeps the server's
// words, without the statement that goose puts around them.
func migrateProblem(conf *pgconn.Config, err error) error {
	var pgErr *pgconn.PgError
	switch {
	case !errors.As(err, &pgErr):
		return fmt.Errorf("migrate: %w", err)
	case pgErr.Code == "42501" && pgErr.Hint == "": // insufficient_privilege
		return plainf(err, "migrate: %s: run it as the role that owns schema pgbell, or, the first time, let the database's owner say: grant create on database %s to %s",
			pgErr.Message, quoteIdentifier(conf.Database), quoteIdentifier(conf.User))
	case pgErr.Code == "55P03" && pgErr.Hint == "": // lock_not_available
		return plainf(err, "migrate: another migration is under way: try again once it is over, or with a longer lock_timeout")
	}
	return plainf(err, "migrate: %s", serverWords(pgErr))
}

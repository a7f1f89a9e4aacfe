package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/urfave/cli/v3"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "find out what keeps pgbell from its work, or will",
		Description: "Looks at the connection, the role, the feeds, the journal and the notification queue, and says what to do.\n" +
			"Run it with the connection that serve has. Exits with 1 if there is a problem.",
		Flags: []cli.Flag{
			stringFlag("auth", "none", "how serve knows who is asking: none, header or jwt, as its own flag"),
			groupsFlag("ask this SQL `FUNCTION`, as serve --groups-sql does, which groups a user is in"),
			stringFlag("as", "", "the `USER` to ask it about, else one that there is not"),
			jsonFlag(),
		},
		Action: doctor,
	}
}

// level says how bad a finding is.
type level string

const (
	fine    level = "ok"
	note    level = "note"    // to know
	warning level = "warning" // will or may become a problem
	problem level = "problem" // changes are not heard, or writes are in danger
)

// finding is what a check found.
type finding struct {
	Level  level  `json:"level"`
	About  string `json:"about"`
	Words  string `json:"words"`
	Remedy string `json:"remedy,omitempty"` // SQL or a command to paste, or else what to do
}

// check looks at one thing. An error means that it could not.
type check func(ctx context.Context, conn *pgx.Conn) ([]finding, error)

// checks are made in this order; without the first ones the others make no sense.
var checks = []struct {
	about    string
	required bool
	check
}{
	{"server", true, pinnedCheck(checkServer)},
	{"schema", true, pinnedCheck(checkSchema)},
	{"schema", false, pinnedCheck(checkOwners)},
	{"role", false, pinnedCheck(checkRole)},
	{"notifications", false, checkNotifications},
	{"feeds", false, pinnedCheck(checkFeeds)},
	{"live queries", false, pinnedCheck(checkLives)},
	{"queue", false, pinnedCheck(checkQueue)},
	{"journal", false, pinnedCheck(checkJournal)},
	{"listeners", false, pinnedCheck(checkListeners)},
	{"clock", false, pinnedCheck(checkClock)},
}

// pinnedCheck is a check that only reads, by statements in which names are the system's
// or have their schema.
func pinnedCheck(look func(ctx context.Context, tx pgx.Tx) ([]finding, error)) check {
	return func(ctx context.Context, conn *pgx.Conn) (found []finding, err error) {
		err = pinned(ctx, conn, func(tx pgx.Tx) error {
			found, err = look(ctx, tx)
			return err
		})
		return found, err
	}
}

// errProblems makes doctor exit with 1 after all was printed.
var errProblems = errors.New("there are problems")

func doctor(ctx context.Context, c *cli.Command) error {
	if err := noArguments(c); err != nil {
		return err
	}
	if err := groupsFromFlags(c); err != nil {
		return err
	}
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	all := append(examine(ctx, conn), checkGroups(ctx, c, conn)...)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, all)
	} else {
		err = printFindings(c.Root().Writer, all)
	}
	if err != nil {
		return err
	}
	bad := 0
	for _, f := range all {
		if f.Level == problem {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%w: %d", errProblems, bad)
	}
	return nil
}

// examine makes all checks that make sense.
func examine(ctx context.Context, conn *pgx.Conn) []finding {
	var all []finding
	for _, c := range checks {
		found, err := c.check(ctx, conn)
		if err != nil {
			f := finding{Level: problem, About: c.about, Words: "can't be looked at: " + describe(err)}
			if denied(err) {
				f.Level, f.Words, f.Remedy = warning, "can't be looked at: "+bare(err), remedyForDenied(ctx, conn)
			}
			found = append(found, f)
		}
		all = append(all, found...)
		for _, f := range found {
			if c.required && f.Level == problem {
				return all
			}
		}
	}
	return all
}

// denied says whether err is for want of a right.
func denied(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "42501"
}

// bare is the server's own message, without the steps that led to it and what to do.
func bare(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Message
	}
	return describe(err)
}

// remedyForDenied grants what a listener needs and the role lacks.
func remedyForDenied(ctx context.Context, conn *pgx.Conn) string {
	remedy := "run doctor as the owner of schema pgbell to see it"
	_ = pinned(ctx, conn, func(tx pgx.Tx) error { // then that is the remedy
		var role string
		if err := tx.QueryRow(ctx, `select current_user::text`).Scan(&role); err != nil {
			return err
		}
		missing, without, err := missingRights(ctx, tx, role)
		if err == nil && (missing || without != "") {
			remedy = grantListener(role)
		}
		return err
	})
	return remedy
}

func printFindings(w io.Writer, all []finding) error {
	paint := newPainter(w)
	colours := map[level]colour{fine: green, note: cyan, warning: yellow, problem: red}
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s: %s\n", paint(colours[f.Level], fmt.Sprintf("%-8s", f.Level)), paint(bold, printable(f.About)), printable(f.Words))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "%-8s -> %s\n", "", printable(f.Remedy))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

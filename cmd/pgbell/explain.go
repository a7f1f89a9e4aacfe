package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/triggers"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "say who would hear of a change of one row, and why somebody would not",
		ArgsUsage: "TABLE KEY",
		Description: "KEY is the primary key's value, or a=1,b=2, or JSON as events carry it. The row is only read, with the rights\n" +
			"of the role that asks. Exits with 1 if USER, or without --as anybody, would not hear of a change.",
		Flags: append([]cli.Flag{
			stringFlag("as", "", "would `USER` hear of it?"),
			stringFlag("server", "http://127.0.0.1:8080", "the pgbell serve at this `URL` says who is subscribed now"),
			stringFlag("auth-header", "X-Forwarded-User", "the `HEADER` that serve --auth header takes the user from"),
			stringFlag("token-file", "", "with serve --auth jwt, ask with the token in `FILE`; else with the one in PGBELL_TOKEN"),
			jsonFlag(),
		}, asGroupsFlags()...),
		Action:        explain,
		ShellComplete: completeTables(attached),
	}
}

// errNotHeard makes explain exit with 1 after all was printed.
var errNotHeard = errors.New("would not hear of it")

func explain(ctx context.Context, c *cli.Command) error {
	if n := c.Args().Len(); n != 2 {
		return usagef("explain takes TABLE and KEY, got %d arguments: see pgbell explain --help", n)
	}
	ask, err := presenceFromFlags(c)
	if err != nil {
		return err
	}
	source, err := asGroupsFromFlags(ctx, c)
	if err != nil {
		return err
	}
	defer source.close()
	conn, err := connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	table, key := c.Args().Get(0), c.Args().Get(1)
	x, err := triggers.Explain(ctx, conn, table, key)
	if errors.Is(err, triggers.ErrNoFeed) {
		return plainf(err, "%s has no feed, so that nobody hears of it: attach it with pgbell attach %[1]s", table)
	} else if err != nil {
		return err
	}
	out, err := newExplanation(x, key)
	if err != nil {
		return err
	}
	ask.all(ctx, &out)
	groups, err := source.ask(ctx)
	if err != nil {
		return err
	}
	if c.IsSet("as") {
		out.User = &source.user
		if source.known {
			out.Groups = append([]string{}, groups...)
		}
	}
	out.judge(source)
	out.findSubscribers()
	if c.Bool("json") {
		err = printJSON(c.Root().Writer, out)
	} else {
		err = printExplanation(c.Root().Writer, out)
	}
	if err == nil && !out.Hears {
		if out.User == nil {
			return plainf(errNotHeard, "nobody would hear of it")
		}
		if out.unsure {
			return plainf(errNotHeard, "%s would hear of it by some group alone, and which ones %[1]s is in is not known", out.who())
		}
		return plainf(errNotHeard, "%s would not hear of it", out.who())
	}
	return err
}

// explanation is what explain --json prints.
type explanation struct {
	Table    string           `json:"table_name"`
	Key      json.RawMessage  `json:"key"`
	Exists   bool             `json:"exists"`
	State    string           `json:"state"`
	Durable  bool             `json:"durable"`
	Scopes   []scopeExplained `json:"scopes"`
	Audience *bus.Audience    `json:"audience"` // null: everyone
	Owners   []ownerExplained `json:"owners,omitempty"`

	User    *string  `json:"user"`
	Groups  []string `json:"groups"`              // that the user is in; null: not known
	By      []string `json:"by_groups,omitempty"` // the user hears by these alone
	Hears   bool     `json:"hears"`               // user, or if that is null anybody
	Reasons []string `json:"reasons"`             // why not
	Notes   []string `json:"notes"`               // what else to know

	// Subscribed says whether user, or if that is null anybody in the audience, listens
	// to one of the scopes on this server. Null: it can't be told.
	Subscribed *bool `json:"subscribed"`

	Server      string `json:"server"`
	ServerError string `json:"server_error,omitempty"`

	Op           string `json:"op,omitempty"`      // of the example
	Changed      string `json:"changed,omitempty"` // the column of the example, if that is an update
	Notification string `json:"notification,omitempty"`
	Frame        string `json:"frame,omitempty"`

	unsure bool // the user would hear by some group, and in which ones the user is isn't known
	row    triggers.Explanation
	events []bus.ChangeEvent
}

type scopeExplained struct {
	Template    string           `json:"template"`
	Scope       string           `json:"scope,omitempty"`
	Why         string           `json:"why,omitempty"` // there is none
	Connections []bus.Connection `json:"connections"`   // null: unknown
	Refused     string           `json:"refused,omitempty"`
	forbidden   bool
}

type ownerExplained struct {
	Column string   `json:"column"`
	Users  []string `json:"users"`
	Groups []string `json:"groups,omitempty"`
	Why    string   `json:"why,omitempty"` // there are none
}

func newExplanation(x triggers.Explanation, key string) (explanation, error) {
	e := explanation{
		Table: x.Table, Exists: x.Exists, State: x.Feed.State, Durable: !x.Feed.Volatile,
		Op: x.Op, Changed: x.Changed, Notification: x.Notification, row: x, Reasons: []string{}, Notes: []string{},
	}
	e.Key, _ = json.Marshal(key) // as it was given; it can't fail
	if x.Feed.Audience != nil {
		e.Audience = new(bus.Audience)
		*e.Audience = bus.Only()
	}
	for _, s := range x.Scopes {
		e.Scopes = append(e.Scopes, scopeExplained{Template: s.Template, Scope: s.Scope, Why: s.Why})
	}
	for _, o := range x.Owners {
		e.Owners = append(e.Owners, ownerExplained(o))
	}
	if x.Facts == nil || x.TooMany { // nothing is told, or a reset
		return e, nil
	}
	op, facts := bus.OpInsert, x.Facts
	if x.Op != "" {
		op, facts = bus.Op(x.Op), x.Recorded
	}
	changes, err := journal.Meaning(x.Definition, op, facts)
	if err != nil || len(changes) == 0 {
		return e, err
	}
	if key := changes[0].Key; key != nil {
		e.Key = key
	}
	if a := changes[0].Audience; !a.Everyone() {
		e.Audience = &a
	}
	if x.Op != "" {
		at := time.Now().UTC().Truncate(time.Microsecond)
		r := journal.Record{Table: x.Table, Op: op, At: at, Changes: changes}
		e.events = r.Events()
	}
	return e, nil
}

// who names the user that the question is about.
func (e *explanation) who() string {
	switch {
	case e.User == nil:
		return "everybody"
	case *e.User == "":
		return "an anonymous connection"
	}
	return *e.User
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/journal/scope"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
	"github.com/pgbell/pgbell/triggers"
)

// slowGroups is how long the function of --groups-sql may take: each new stream waits for
// it, and a stream whose user's groups may have changed.
const slowGroups = 500 * time.Millisecond

// madeUpUser is asked about if no user is named.
const madeUpUser = "pgbell doctor"

// groupsFromFlags checks the flags that say how serve knows groups.
func groupsFromFlags(c *cli.Command) error {
	switch auth := c.String("auth"); {
	case auth != "none" && auth != "header" && auth != "jwt":
		return usagef("--auth is none, header or jwt, not %q", auth)
	case c.IsSet("groups-sql") && c.String("groups-sql") == "":
		return usagef("--groups-sql is empty")
	case c.IsSet("as") && (c.String("as") == "" || !c.IsSet("groups-sql")):
		return usagef("--as names a user, to ask the function of --groups-sql about")
	}
	return nil
}

// checkGroups looks whether anybody can be in the audience of feeds, whether groups that they name
// have members, and at the function of --groups-sql.
func checkGroups(ctx context.Context, c *cli.Command, conn *pgx.Conn) []finding {
	var all []finding
	if c.IsSet("groups-sql") {
		all = append(all, checkGroupsFunction(ctx, c))
	}
	var feeds []triggers.Feed
	err := pinned(ctx, conn, func(tx pgx.Tx) (err error) {
		feeds, err = triggers.List(ctx, tx)
		return err
	})
	if err != nil { // said where the feeds were looked at
		return all
	}
	regroups := false
	var by []string // templates
	for _, f := range feeds {
		regroups = regroups || f.Regroup != ""
		for _, element := range f.Audience {
			if scope.IsGroup(element) && !slices.Contains(by, element) {
				by = append(by, element)
			}
		}
	}
	if tables := guarded(feeds); len(tables) > 0 && c.String("auth") == "none" {
		all = append(all, finding{warning, "audience", strings.Join(tables, ", ") + ": rows have an audience, and with serve --auth none everybody is nobody and hears of none",
			"serve --auth header or --auth jwt; if it has that already, give doctor the same"})
	}
	switch {
	case len(by) == 0:
	case c.IsSet("groups-sql") && !regroups:
		all = append(all, finding{note, "groups", "no feed says when who is in which group changes: streams notice at the next question, up to 25 s later, unless whoever changes it calls pgbell.regroup",
			"attach the table of members with --regroup"})
	case !c.IsSet("groups-sql") && c.String("auth") == "none":
		all = append(all, finding{warning, "groups", "feeds name groups by " + strings.Join(by, ", ") + ", and with serve --auth none nobody is in any",
			"if serve has --auth header or jwt, or --groups-sql, give doctor the same"})
	}
	return all
}

// checkGroupsFunction asks the function about a user.
func checkGroupsFunction(ctx context.Context, c *cli.Command) finding {
	name, user := c.String("groups-sql"), c.String("as")
	bad := func(err error) finding {
		return finding{problem, "groups", "the function of --groups-sql: " + describe(err), "without an answer no stream of a user begins"}
	}
	conf, err := databaseConfig(c)
	if err != nil {
		return bad(err)
	}
	a, err := pgauth.New(unprepared(conf), "", pgauth.Config{MaxConns: 1, Groups: name})
	if err != nil {
		return bad(err)
	}
	defer a.Close()
	if err := a.Check(ctx); err != nil {
		f := bad(err)
		if errors.Is(err, pgauth.ErrFunction) {
			f.Remedy = "create it, (user_id text) returns text[], and grant it to the role of serve; name it with its schema"
		}
		return f
	}
	whom := user
	if whom == "" {
		user, whom = madeUpUser, "a user that there is not"
	}
	began := time.Now()
	groups, err := a.Groups(ctx, sse.Identity{UserID: user})
	took := time.Since(began)
	switch {
	case err != nil && user == madeUpUser:
		f := bad(err)
		f.Level, f.Remedy = warning, "if it has answers for users that there are, name one by --as"
		return f
	case err != nil:
		return bad(err)
	case len(groups) > sse.MaxGroups:
		return finding{problem, "groups", fmt.Sprintf("%s says %s for %s: streams of who is in more than %d are refused", name, plural(uint64(len(groups)), "group", "groups"), whom, sse.MaxGroups),
			"have it name the groups alone by which feeds name theirs"}
	case took > slowGroups:
		return finding{warning, "groups", fmt.Sprintf("%s took %s for %s: each new stream of a user waits for it", name, milliseconds(took), whom), "look for an index that it lacks, by explain analyze of its query"}
	}
	return finding{fine, "groups", fmt.Sprintf("%s says %s for %s, in %s", name, plural(uint64(len(groups)), "group", "groups"), whom, milliseconds(took)), ""}
}

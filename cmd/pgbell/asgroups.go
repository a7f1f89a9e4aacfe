package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
)

// asGroupsFlags say which groups the user of --as is in.
func asGroupsFlags() []cli.Flag {
	return []cli.Flag{
		listFlag("group", "the user of --as is in this `GROUP`, such as team:7 (repeat it)"),
		groupsFlag("ask this SQL `FUNCTION`, as serve --groups-sql does, which groups the user of --as is in"),
	}
}

// asGroups knows which groups the user of --as is in.
type asGroups struct {
	user       string
	named      []string           // by --group
	authorizer *pgauth.Authorizer // of --groups-sql; nil if it isn't given
	known      bool               // else nothing is said of groups
}

// asGroupsFromFlags reads the flags, and looks for the function. The caller must close what
// it returns.
func asGroupsFromFlags(ctx context.Context, c *cli.Command) (*asGroups, error) {
	given := flagsGiven(c, []string{"group", "groups-sql"})
	g := &asGroups{user: c.String("as"), named: c.StringSlice("group"), known: len(given) > 0 || c.IsSet("as") && c.String("as") == ""}
	switch {
	case len(given) == 2:
		return nil, usagef("--group and --groups-sql can't go together: one says which groups a user is in")
	case len(given) == 1 && g.user == "":
		return nil, usagef("%s is about the user of --as: name one", given[0])
	case !c.IsSet("groups-sql"):
		return g, nil
	case c.String("groups-sql") == "":
		return nil, usagef("--groups-sql is empty")
	}
	conf, err := databaseConfig(c)
	if err != nil {
		return nil, err
	}
	if g.authorizer, err = pgauth.New(unprepared(conf), "", pgauth.Config{MaxConns: 1, Groups: c.String("groups-sql")}); err != nil {
		return nil, err
	}
	if err := g.authorizer.Check(ctx); err != nil {
		g.close()
		return nil, fmt.Errorf("--groups-sql: %w", err)
	}
	return g, nil
}

func (g *asGroups) close() {
	if g.authorizer != nil {
		g.authorizer.Close()
	}
}

// ask returns the groups of now, sorted.
func (g *asGroups) ask(ctx context.Context) ([]string, error) {
	groups := slices.Clone(g.named)
	if g.authorizer != nil {
		var err error
		if groups, err = g.authorizer.Groups(ctx, sse.Identity{UserID: g.user}); err != nil {
			return nil, fmt.Errorf("--groups-sql: %w", err)
		}
	}
	if len(groups) > sse.MaxGroups {
		return nil, fmt.Errorf("%s is in %d groups, and a server refuses who is in more than %d", g.user, len(groups), sse.MaxGroups)
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// unknown says how to have groups looked at.
func (g *asGroups) unknown() string {
	return fmt.Sprintf("which groups %s is in is not known: name them by --group, or the function by --groups-sql", g.user)
}

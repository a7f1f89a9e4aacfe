package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
)

func authorizeFlag() cli.Flag {
	return stringFlag("authorize-sql", "", "ask this SQL `FUNCTION` (user_id text, scope text) returning boolean who may subscribe to what, and again while streams live")
}

func groupsFlag(usage string) cli.Flag { return stringFlag("groups-sql", "", usage) }

// askDatabase is --authorize-sql and --groups-sql; nil if neither is given. What is wrong
// with a function is an error now; a database that is away is not.
func askDatabase(ctx context.Context, c *cli.Command, conf *pgx.ConnConfig, log *slog.Logger) (*pgauth.Authorizer, error) {
	given := flagsGiven(c, []string{"authorize-sql", "groups-sql"})
	for _, flag := range given {
		if c.String(flag[2:]) == "" {
			return nil, usagef("%s is empty", flag)
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	a, err := pgauth.New(conf, c.String("authorize-sql"), pgauth.Config{Groups: c.String("groups-sql")})
	if err != nil {
		return nil, err
	}
	err = a.Check(ctx)
	switch {
	case errors.Is(err, pgauth.ErrFunction):
		a.Close()
		return nil, fmt.Errorf("%s: %w", strings.Join(given, ", "), err)
	case err != nil:
		log.Warn("the functions of --authorize-sql and --groups-sql could not be looked for yet", "err", describe(err))
	}
	return a, nil
}

// authorization returns what goes with --auth and --authorize-sql, which a asks if it is
// given; a nil func allows every scope. The log has the reason for a refusal, as the
// client gets the same answer whatever that is.
func authorization(c *cli.Command, a *pgauth.Authorizer, log *slog.Logger) sse.AuthorizeFunc {
	tokens, asks := c.String("auth") == "jwt", c.IsSet("authorize-sql")
	if !asks && !tokens {
		return nil
	}
	return func(ctx context.Context, id sse.Identity, scope string) (bool, error) {
		if id.Scopes != nil || !asks { // a token that names scopes is good for no others
			if ok, err := sse.ByScopes(ctx, id, scope); !ok || err != nil {
				why := "the token's scopes don't allow it"
				if id.Scopes == nil {
					why = "the token has no claim scopes"
				}
				log.Debug("scope refused", "reason", why)
				return false, err
			}
		}
		if !asks {
			return true, nil
		}
		ok, err := a.Authorize(ctx, id, scope)
		if !ok && err == nil {
			log.Debug("scope refused", "reason", "the function of --authorize-sql does not allow it")
		}
		return ok, err
	}
}

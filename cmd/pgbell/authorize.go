package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/urfave/cli/v3"

	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
)

func authorizeFlag() cli.Flag {
	return stringFlag("authorize-sql", "", "ask this SQL `FUNCTION` (user_id text, scope text) returning boolean who may subscribe to what, and again while streams live")
}

// askDatabase is --authorize-sql; nil if it isn't given. What is wrong with the
// function is an error now; a database that is away is not.
func askDatabase(ctx context.Context, c *cli.Command, conf *pgx.ConnConfig, log *slog.Logger) (*pgauth.Authorizer, error) {
	function := c.String("authorize-sql")
	if function == "" {
		if c.IsSet("authorize-sql") {
			return nil, usagef("--authorize-sql is empty")
		}
		return nil, nil
	}
	a, err := pgauth.New(conf, function, pgauth.Config{})
	if err != nil {
		return nil, err
	}
	err = a.Check(ctx)
	switch {
	case errors.Is(err, pgauth.ErrFunction):
		a.Close()
		return nil, fmt.Errorf("--authorize-sql: %w", err)
	case err != nil:
		log.Warn("the authorization function could not be looked for yet", "err", describe(err))
	}
	return a, nil
}

// authorization returns what goes with --auth and --authorize-sql, where a is nil if
// that isn't given; a nil func allows every scope. The log has the reason for a
// refusal, as the client gets the same answer whatever that is.
func authorization(c *cli.Command, a *pgauth.Authorizer, log *slog.Logger) sse.AuthorizeFunc {
	tokens := c.String("auth") == "jwt"
	if a == nil && !tokens {
		return nil
	}
	return func(ctx context.Context, id sse.Identity, scope string) (bool, error) {
		if id.Scopes != nil || a == nil { // a token that names scopes is good for no others
			if ok, err := sse.ByScopes(ctx, id, scope); !ok || err != nil {
				why := "the token's scopes don't allow it"
				if id.Scopes == nil {
					why = "the token has no claim scopes"
				}
				log.Debug("scope refused", "reason", why)
				return false, err
			}
		}
		if a == nil {
			return true, nil
		}
		ok, err := a.Authorize(ctx, id, scope)
		if !ok && err == nil {
			log.Debug("scope refused", "reason", "the function of --authorize-sql does not allow it")
		}
		return ok, err
	}
}

package main

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
)

// checkLives looks at each live query as a server found it.
func checkLives(ctx context.Context, tx pgx.Tx) ([]finding, error) {
	rows, err := tx.Query(ctx, `select name, state, depends is null from pgbell.lives order by name`)
	if err != nil {
		return nil, err
	}
	var all []finding
	for rows.Next() {
		var name, state string
		var unseen bool
		if err := rows.Scan(&name, &state, &unseen); err != nil {
			return nil, err
		}
		f := finding{Level: problem, About: "live query " + name, Words: state}
		switch {
		case state == "ok":
			f.Level = fine
		case unseen && strings.HasPrefix(state, "no server"):
			f.Level, f.Words, f.Remedy = warning, "no server has looked at it yet", "pgbell serve --live-role ROLE"
		case strings.HasPrefix(state, "slow: "):
			f.Level, f.Remedy = warning, "look for an index that it lacks, by explain analyze of its query"
		case strings.Contains(state, " VOLATILE"):
			f.Remedy = "mark the function stable if it only reads, and register it again"
		case state == "the function is gone":
			f.Remedy = "select pgbell.live(...) of what took its place, else delete from pgbell.live_query where name = " + quoteLiteral(name) + ";"
		default:
			if at := strings.Index(state, "select pgbell."); at >= 0 {
				f.Words, f.Remedy = strings.TrimSuffix(strings.TrimSpace(state[:at]), ":"), state[at:]
			}
		}
		all = append(all, f)
	}
	return all, rows.Err()
}

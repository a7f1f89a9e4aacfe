package main

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/sse"
)

// teams are those that there are.
var teams = []string{"crew", "gardeners"}

// groupsIn tells pgbell which groups a user is in: by the names that the template
// team:{team} gives.
func groupsIn(db *pgxpool.Pool) sse.GroupsFunc {
	return func(ctx context.Context, id sse.Identity) ([]string, error) {
		rows, err := db.Query(ctx, `select 'team:' || team from board.members where user_id = $1`, id.UserID)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
}

// team is one, and who is in it.
type team struct {
	Name    string
	Members []string
	Mine    bool
}

type teamsPage struct {
	everyPage
	Teams []team
}

// readTeams fills what is shown of teams.
func (p *teamsPage) readTeams(r *http.Request, db querier) error {
	rows, err := db.Query(r.Context(), `
		select t.name, array(select m.user_id from board.members m where m.team = t.name order by 1),
			exists (select from board.members m where m.team = t.name and m.user_id = $2)
		from unnest($1::text[]) with ordinality t (name, i) order by t.i`, teams, p.User.ID)
	if err != nil {
		return err
	}
	p.Teams, err = pgx.CollectRows(rows, pgx.RowToStructByPos[team])
	return err
}

// teamsPage answers with the page on which one joins a team, or leaves it.
func (b *board) teamsPage(w http.ResponseWriter, r *http.Request) {
	p := teamsPage{everyPage: newPage(r)}
	cursor, err := snapshot(r.Context(), b.db, func(tx pgx.Tx) error { return p.readTeams(r, tx) })
	if err != nil {
		b.fail(w, err)
		return
	}
	p.Stream = stream(cursor, "teams")
	b.render(w, r, http.StatusOK, "teams-page", p)
}

func (b *board) teamsFragment(w http.ResponseWriter, r *http.Request) {
	p := teamsPage{everyPage: newPage(r)}
	if err := p.readTeams(r, b.db); err != nil {
		b.fail(w, err)
		return
	}
	b.render(w, r, http.StatusOK, "teams", p.Teams)
}

// joinOrLeave has who asks join a team, or leave it.
func (b *board) joinOrLeave(w http.ResponseWriter, r *http.Request) {
	sql := `insert into board.members values ($1, $2)`
	if mux.Vars(r)["what"] == "leave" {
		sql = `delete from board.members where user_id = $1 and team = $2`
	}
	b.write(w, r, sql, asking(r).ID, r.FormValue("team"))
}

// Command small is a live page in one file: the tasks of project 7, for who owns them.
package main

import (
	"context"
	"html/template"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/triggers"
)

var page = template.Must(template.New("page").Parse(`<!doctype html>
<title>Tasks</title>
<meta name="htmx-config" content='{"timeout": 10000}'>
<script src="/static/htmx2/htmx.min.js"></script>
<script src="/static/htmx2/sse.min.js"></script>
<script src="/static/live.js"></script>
<main hx-ext="sse" sse-connect="/events?{{.Stream}}" sse-close="close" hx-history="false">
  <ul hx-get="/tasks" hx-trigger="{{range .Scopes}}sse:{{.}}, {{end}}refresh">{{template "tasks" .}}</ul>
</main>
{{define "tasks"}}{{range .Tasks}}<li>{{.}}</li>{{else}}<li>Nothing to do.</li>{{end}}{{end}}`))

func main() {
	web, changes := build(must(pgxpool.New(context.Background(), os.Getenv("DATABASE_URL"))))
	go func() { log.Fatal(changes.Run(context.Background())) }()
	log.Print("http://127.0.0.1:8000/as/alice")
	log.Fatal(http.ListenAndServe("127.0.0.1:8000", web))
}

// build returns what answers requests, and what hears of db's changes once it runs.
func build(db *pgxpool.Pool) (http.Handler, *listener.Listener) {
	b := must(bus.New(bus.Config{}))
	l := must(listener.New(db.Config().ConnConfig, b, listener.Config{Logger: slog.Default()}))
	h := must(sse.NewHandler(b, sse.Config{Authenticate: whoAsks, Replay: l.Replay, Ready: l.Ready}))
	needs := must(triggers.Deps(context.Background(), db, query))
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	mux.Handle("/static/", http.FileServer(http.Dir(".")))
	mux.Handle("/{$}", show(db, needs, "page"))
	mux.Handle("/tasks", show(db, needs, "tasks"))
	mux.HandleFunc("/as/{user}", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.PathValue("user"), Path: "/", HttpOnly: true})
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	return mux, l
}

const query = "select coalesce(title, '') from tasks where project_id = $1 and owner = $2 order by id"

// show answers with the whole page, or with the part of it that is fetched again. Which scopes
// the page listens to follows from the query: whoever changes that need not think of them.
func show(db *pgxpool.Pool, needs triggers.Dependencies, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		user, err := whoAsks(r)
		if err != nil {
			http.Error(w, "open /as/alice first", http.StatusUnauthorized)
			return
		}
		project := 7
		scopes, err := needs.Scopes(project, user.UserID)
		if err != nil {
			log.Print(err) // it says what to attach
			http.Error(w, "this page would go stale", http.StatusInternalServerError)
			return
		}
		cursor, tasks := "", []string{}
		err = pgx.BeginFunc(r.Context(), db, func(tx pgx.Tx) error {
			// First: what is committed after it comes as an event, whether the rows have it or not.
			if err := tx.QueryRow(r.Context(), "select pgbell.cursor()").Scan(&cursor); err != nil {
				return err
			}
			rows, _ := tx.Query(r.Context(), query, project, user.UserID)
			tasks, err = pgx.CollectRows(rows, pgx.RowTo[string]) // or the query's error
			return err
		})
		if err != nil {
			log.Print(err)
			http.Error(w, "that went wrong", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		stream := url.Values{"scope": scopes, "since": {cursor}}.Encode()
		_ = page.ExecuteTemplate(w, part, map[string]any{"Stream": stream, "Scopes": scopes, "Tasks": tasks})
	}
}

// whoAsks stands in for your session: the cookie is believed as it comes.
func whoAsks(r *http.Request) (sse.Identity, error) {
	cookie, err := r.Cookie("user")
	if err != nil {
		return sse.Identity{}, err // answered with 401
	}
	return sse.Identity{UserID: cookie.Value}, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

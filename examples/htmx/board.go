package main

import (
	"bytes"
	"embed"
	"html/template"
	"log"
	"net/http"
	"strconv"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/sse"
)

var (
	//go:embed templates
	templates embed.FS
	//go:embed static
	static embed.FS
)

// board is the web side.
type board struct {
	db    *pgxpool.Pool
	pages map[string]*template.Template // by the version of htmx
}

// routes returns all that there is, pgbell's routes too.
func routes(db *pgxpool.Pool, bell *sse.Handler) http.Handler {
	b := &board{db: db, pages: map[string]*template.Template{}}
	for _, htmx := range []string{"htmx2", "htmx4"} {
		b.pages[htmx] = template.Must(template.New("").Funcs(template.FuncMap{
			"name": name, "htmx": func() string { return htmx }, "teams": func() []string { return teams },
		}).
			ParseFS(templates, "templates/*.html", "templates/"+htmx+"/*.html"))
	}
	r := mux.NewRouter()
	bell.Register(r)
	r.PathPrefix("/static/").Handler(http.FileServerFS(static))
	r.Handle("/", http.RedirectHandler(home(""), http.StatusSeeOther))
	r.HandleFunc("/login", b.login).Methods(http.MethodPost)
	r.HandleFunc("/logout", b.logout).Methods(http.MethodPost)

	own := r.NewRoute().Subrouter()
	own.Use(b.onlyUsers, noStore)
	own.HandleFunc("/{htmx:htmx[24]}/", b.boardPage)
	own.HandleFunc("/{htmx:htmx[24]}/summary", b.summaryFragment)
	own.HandleFunc("/{htmx:htmx[24]}/projects/{project:[0-9]{1,18}}/tasks", b.tasksFragment)
	own.HandleFunc("/{htmx:htmx[24]}/teams", b.teamsPage)
	own.HandleFunc("/{htmx:htmx[24]}/teams/now", b.teamsFragment)
	own.HandleFunc("/{htmx:htmx[24]}/tasks/{task:[0-9]{1,18}}", b.taskPage)
	own.HandleFunc("/{htmx:htmx[24]}/tasks/{task:[0-9]{1,18}}/now", b.taskFragment)
	own.HandleFunc("/teams/{what:join|leave}", b.joinOrLeave).Methods(http.MethodPost)
	own.HandleFunc("/projects/{project:[0-9]{1,18}}/tasks", b.add).Methods(http.MethodPost)
	own.HandleFunc("/tasks/{task:[0-9]{1,18}}/{what:done|title|project|owner|team|members|delete}", b.change).Methods(http.MethodPost)

	// The login is a cookie, which any site's form would send along.
	return http.NewCrossOriginProtection().Handler(r)
}

// noStore keeps what is only true now out of caches.
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// name is how people call a user.
func name(id string) string {
	u, err := known(id)
	if err != nil {
		return id
	}
	return u.Name
}

// number returns the number that a route has in its path.
func number(r *http.Request, name string) int64 {
	n, _ := strconv.ParseInt(mux.Vars(r)[name], 10, 64) // the route matches nothing else
	return n
}

// render answers with a template.
func (b *board) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var html bytes.Buffer
	if err := b.pages[mux.Vars(r)["htmx"]].ExecuteTemplate(&html, name, data); err != nil {
		b.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = html.WriteTo(w) // who asked may be gone
}

func (b *board) fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "that went wrong", http.StatusInternalServerError)
}

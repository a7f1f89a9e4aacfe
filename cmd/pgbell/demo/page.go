package demo

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/cmd/pgbell/webpage"
)

var (
	//go:embed assets
	assets embed.FS

	templates = template.Must(template.New("").Funcs(template.FuncMap{"name": name}).ParseFS(assets, "assets/*.html"))
)

// name is what people call a user.
func name(user string) string { return strings.ToUpper(user[:1]) + user[1:] }

// maxText is how long a title or a note may be, in characters.
const maxText = 120

// Try is what the page proposes to do by hand.
type Try struct {
	Psql       string   // connects to the database, in a shell
	Statements []string // for psql
	Curl       string   // shows alice's stream, in a shell
	Keep       string   // where the database stays; "" if it is removed
}

// Page serves the page at / and what it needs under /demo/. It does not check who
// is asking: a request says which user it is for.
type Page struct {
	db      *pgxpool.Pool
	try     Try
	log     *slog.Logger
	handler http.Handler
}

// NewPage returns the page for the tables of db, which stays the caller's.
func NewPage(db *pgxpool.Pool, try Try, log *slog.Logger) *Page {
	p := &Page{db: db, try: try, log: log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.page)
	mux.HandleFunc("GET /demo/rows", p.rows)
	mux.HandleFunc("POST /demo/change", p.change)
	for _, name := range []string{"style.css", "script.js", "column.js", "icon.svg"} {
		mux.HandleFunc("GET /demo/"+name, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFileFS(w, r, assets, "assets/"+name)
		})
	}
	// Any site can make a visitor's browser send a POST to a loopback address.
	p.handler = webpage.Headers(http.NewCrossOriginProtection().Handler(mux))
	return p
}

// ServeHTTP answers for the page.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// page answers GET /.
func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	data := struct {
		Users []rows
		Many  bool
		Try   Try
		Feeds string
	}{Try: p.try, Feeds: strings.TrimSpace(feedsSQL)}
	for _, user := range []string{"alice", "bob"} {
		rows, err := p.rowsOf(r.Context(), user)
		if err != nil {
			p.unavailable(w, r.Context(), err)
			return
		}
		data.Users, data.Many = append(data.Users, rows), rows.Many
	}
	p.render(w, "page.html", data)
}

// rows answers GET /demo/rows: a user's lists, as HTML.
func (p *Page) rows(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if users[user] == "" {
		http.Error(w, "Say which user: alice or bob.", http.StatusBadRequest)
		return
	}
	rows, err := p.rowsOf(r.Context(), user)
	if err != nil {
		p.unavailable(w, r.Context(), err)
		return
	}
	p.render(w, "rows.html", rows)
}

// change answers POST /demo/change. What comes of it, the page hears from its
// streams.
func (p *Page) change(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	c, problem := readChange(r)
	if problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	n, err := p.apply(r.Context(), c)
	switch {
	case err != nil:
		p.unavailable(w, r.Context(), err)
	case n == 0:
		http.Error(w, nothing(c.action), http.StatusConflict)
	default:
		w.Header().Set("Demo-Rows", strconv.FormatInt(n, 10))
		w.WriteHeader(http.StatusNoContent)
	}
}

// nothing says why an action found no row.
func nothing(action string) string {
	switch action {
	case "add-many":
		return "They are there already."
	case "toggle-many", "delete-many":
		return "There are none: insert them first."
	}
	return "That row is not yours any more."
}

// readChange reads what is asked for, or says what is wrong with it.
func readChange(r *http.Request) (c change, problem string) {
	if err := r.ParseForm(); err != nil {
		return c, "The form can't be read."
	}
	c = change{
		action: r.PostForm.Get("action"),
		user:   r.PostForm.Get("user"),
		text:   strings.TrimSpace(r.PostForm.Get("text")),
		origin: r.PostForm.Get("origin"),
	}
	c.id, _ = strconv.ParseInt(r.PostForm.Get("id"), 10, 64) // 0, which no row has, if there is none
	switch {
	case actions[c.action] == "":
		return c, "There is no such action."
	case users[c.user] == "":
		return c, "Say which user: alice or bob."
	case strings.HasPrefix(c.action, "add-") && c.action != "add-many" && c.text == "":
		return c, "Write something first."
	case utf8.RuneCountInString(c.text) > maxText:
		return c, "That is too long: at most " + strconv.Itoa(maxText) + " characters."
	case !isText(c.text) || !isText(c.origin) || len(c.origin) > 64:
		return c, "That is not a text."
	}
	return c, ""
}

// isText says whether PostgreSQL takes s for one.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func (p *Page) render(w http.ResponseWriter, name string, data any) {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, data); err != nil {
		p.log.Error("page can't be rendered", "template", name, "err", err)
		http.Error(w, "The page can't be rendered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(b.Bytes()) //nolint:errcheck // the client's loss
}

// unavailable answers where the database gave an error. One that comes of the
// client's leaving is nobody's concern.
func (p *Page) unavailable(w http.ResponseWriter, ctx context.Context, err error) {
	if ctx.Err() == nil {
		p.log.Error("the demo's database gave an error", "err", err)
	}
	http.Error(w, "The database does not answer.", http.StatusServiceUnavailable)
}

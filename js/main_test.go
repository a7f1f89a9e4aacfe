package js_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/js"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pglive"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// installed is a database with a table that all may hear of.
var installed = pgtest.Template{Make: func(ctx context.Context, url string) error {
	if err := pgtest.Migrate(ctx, url); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `create table tasks (id bigint generated always as identity primary key, project_id int);
		select pgbell.attach('tasks', array['project:{project_id}']);
		create function of_project(p int) returns table (id bigint) stable
		begin atomic select t.id from tasks t where t.project_id = p order by t.id; end;
		select pgbell.live('of_project', key => array['id'])`)
	return err
}}

// world is a database, a pgbell, and the server of the pages before it.
type world struct {
	*testing.T
	*httptest.Server
	url  string
	page string // what / is
	sql  *pgx.Conn

	mu      sync.Mutex
	handler *sse.Handler // nil: a proxy answers 502
	asked   int          // requests for a stream
	stop    func()       // ends pgbell
}

const html = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import {connect, timing} from '/pgbell.js'
timing.healthy = 0 // after a break the next try is soon
window.heard = []
window.listen = (scope) => bell.on(scope, (e) => heard.push([e.scope, e.op, e.key?.id ?? e.reason].join(' ')))
window.show = (p) => bell.live('of_project', {p}, (rows) => { window.rows = rows.map((row) => row.id).join() })
window.start = (options, times) => { Object.assign(timing, times); window.bell = connect('/events', options) }
</script>`

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, url: installed.Database(t), page: html}
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	w.sql = conn
	pool, err := pgxpool.New(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			rw.Header().Set("Content-Type", "text/html")
			_, _ = rw.Write([]byte(w.page))
		case "/projects/7/tasks":
			var tasks string
			err := pool.QueryRow(r.Context(), "select coalesce(string_agg('<li>' || id, ''), '') from tasks where project_id = 7").Scan(&tasks)
			if err != nil {
				http.Error(rw, err.Error(), http.StatusInternalServerError)
			}
			_, _ = rw.Write([]byte(tasks))
		case "/pgbell.js":
			rw.Header().Set("Content-Type", "text/javascript")
			_, _ = rw.Write(js.Module)
		default:
			w.mu.Lock()
			w.asked++
			h := w.handler
			w.mu.Unlock()
			if h == nil {
				http.Error(rw, "Bad Gateway", http.StatusBadGateway)
				return
			}
			h.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(w.Server.Close)
	w.start()
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.stop()
	})
	return w
}

// start starts a pgbell.
func (w *world) start() {
	w.Helper()
	conf, err := pgx.ParseConfig(w.url)
	if err != nil {
		w.Fatal(err)
	}
	b, err := bus.New(bus.Config{})
	if err != nil {
		w.Fatal(err)
	}
	l, err := listener.New(conf, b, listener.Config{})
	if err != nil {
		w.Fatal(err)
	}
	live, err := pglive.New(conf, b, pglive.Config{Role: conf.User, Timeout: time.Minute})
	if err != nil {
		w.Fatal(err)
	}
	h, err := sse.NewHandler(b, sse.Config{Authenticate: whoAsks, Authorize: mayHear, Replay: l.Replay, Ready: l.Ready, Live: live, Heartbeat: 100 * time.Millisecond})
	if err != nil {
		w.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		running := make(chan error, 1)
		go func() { running <- live.Run(ctx) }()
		err := l.Run(ctx)
		ended <- errors.Join(err, <-running)
	}()
	w.mu.Lock()
	w.handler = h
	w.mu.Unlock()
	w.stop = func() {
		w.mu.Lock()
		w.handler = nil
		w.mu.Unlock()
		h.Drain(0)
		interrupt()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			w.Errorf("the listener ended with %v", err)
		}
		w.stop = func() {}
	}
}

// whoAsks believes a token that says until when it is good, in milliseconds.
func whoAsks(r *http.Request) (sse.Identity, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return sse.Identity{UserID: "alice"}, nil
	}
	ms, err := strconv.ParseInt(token, 10, 64)
	return sse.Identity{UserID: "alice", Expires: time.UnixMilli(ms)}, err
}

func mayHear(_ context.Context, _ sse.Identity, scope string) (bool, error) {
	return scope != "project:13", nil
}

// streams is how many are open.
func (w *world) streams() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handler == nil {
		return 0
	}
	return w.handler.Stats().Streams
}

// requests is how often a stream was asked for.
func (w *world) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked
}

// insert makes a task of a project and returns its id.
func (w *world) insert(project int) (id int) {
	w.Helper()
	if err := w.sql.QueryRow(w.Context(), "insert into tasks (project_id) values ($1) returning id", project).Scan(&id); err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) waitFor(what string, done func() bool) {
	w.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("still waiting for %s", what)
		}
	}
}

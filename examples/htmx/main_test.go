package main

import (
	"bufio"
	"context"
	"flag"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgbell/pgbell/internal/pgtest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "4") // they wait more than they work
	pgtest.Main(m)
}

// installed is a database as the board leaves it at its first start.
var installed = pgtest.Template{Make: func(ctx context.Context, url string) error {
	db, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer db.Close()
	return install(ctx, db)
}}

// world is a database, a board, and what stands before it.
type world struct {
	*testing.T
	htmx  string // which version the pages are made for
	sql   *pgx.Conn
	url   string // of the database
	front *front
	stop  func() // ends the board
}

func newWorld(t *testing.T, htmx string) *world {
	t.Helper()
	w := &world{T: t, htmx: htmx, url: installed.Database(t), front: newFront(t)}
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	w.sql = conn
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// start starts a board, behind the front.
func (w *world) start() {
	w.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, w.url, ln) }()
	w.front.forward(ln.Addr().String())
	w.stop = func() {
		interrupt()
		if err := <-ended; err != context.Canceled {
			w.Errorf("the board ended with %v, want that it was told to", err)
		}
		w.stop = func() {}
	}
}

// exec writes as somebody with psql would.
func (w *world) exec(sql string, args ...any) {
	w.Helper()
	if _, err := w.sql.Exec(w.Context(), sql, args...); err != nil {
		w.Fatalf("%s: %v", sql, err)
	}
}

// execAndHear writes, and returns when the board has told its streams of it.
func (w *world) execAndHear(sql, scope string) {
	w.Helper()
	ctx, leave := context.WithTimeout(w.Context(), 10*time.Minute)
	defer leave()
	w.front.mu.Lock()
	url := "http://" + w.front.target + "/events?scope=" + scope
	w.front.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: cookieName, Value: "ann%40example.com"})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	events := bufio.NewScanner(resp.Body)
	for _, name := range []string{"ready", scope} {
		if name == scope {
			w.exec(sql)
		}
		for events.Text() != "event: "+name {
			if !events.Scan() {
				w.Fatalf("the stream ended before %s: %v", name, events.Err())
			}
		}
	}
}

package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/migrations"
	"github.com/pgbell/pgbell/triggers"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// prepare does by hand what `pgbell migrate` and `pgbell attach` do.
func prepare(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	db := stdlib.OpenDB(*conn.Config())
	defer db.Close()
	if _, err := migrations.Up(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	write(t, conn, "create table tasks (id int primary key, owner text)")
	if err := triggers.Attach(t.Context(), conn, triggers.Feed{
		Table: "tasks", Scopes: []string{"tasks"}, Audience: []string{"owner"},
	}); err != nil {
		t.Fatal(err)
	}
	return conn
}

func write(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// get asks as alice.
func get(t *testing.T, url string) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-User", "alice")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close(); http.DefaultClient.CloseIdleConnections() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, resp.Status)
	}
	return resp.Body
}

// next returns the data of the next event.
func next(t *testing.T, events *bufio.Scanner) string {
	t.Helper()
	for events.Scan() {
		if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
			return data
		}
	}
	t.Fatalf("the stream ended: %v", events.Err())
	return ""
}

func TestEmbeddedServerDeliversChanges(t *testing.T) {
	url := pgtest.Database(t)
	conn := prepare(t, url)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- run(ctx, url, ln) }()

	server := "http://" + ln.Addr().String()
	if hello, err := io.ReadAll(get(t, server)); err != nil || string(hello) != "Hello\n" {
		t.Errorf("the server's own page: got %q, %v", hello, err)
	}
	events := bufio.NewScanner(get(t, server+"/events?scope=tasks"))
	if ready := next(t, events); !strings.Contains(ready, `"scopes":["tasks"]`) {
		t.Errorf("the first event is %s, want ready", ready)
	}
	write(t, conn, "insert into tasks values (1, 'bob'), (2, 'alice')")
	if change := next(t, events); !strings.Contains(change, `"key":{"id":2}`) {
		t.Errorf("alice got %s, want her own row", change)
	}

	interrupt()
	for events.Scan() { // the stream is cut: its client is to come back
	}
	if err := events.Err(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream ended with %v, want it cut", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want that it was told to", err)
	}
}

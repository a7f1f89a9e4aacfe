package repo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

// block is a fenced block of a document.
type block struct {
	lang, text string
	line       int
}

// notRun is what stands above a block that the tests leave alone.
const notRun = "<!-- not run -->"

// callFails is the lang of a row of a table: a call, the error that it gives, and the hint.
const callFails = "a call that fails"

// blocks returns the fenced blocks of a document, but for those not to be run, and the rows of its
// tables that show calls.
func blocks(t *testing.T, name string) []block {
	t.Helper()
	var (
		all  []block
		open bool
		skip bool
		line int
	)
	for text := range strings.Lines(readFile(t, name)) {
		line++
		switch trimmed := strings.TrimSpace(text); {
		case strings.HasPrefix(text, "```") && !open:
			open = true
			all = append(all, block{lang: strings.TrimPrefix(trimmed, "```"), line: line})
		case strings.HasPrefix(text, "```"):
			if open = false; skip {
				all = all[:len(all)-1]
			}
			skip = false
		case open:
			all[len(all)-1].text += text
		case strings.HasPrefix(text, "| `select "):
			all = append(all, block{lang: callFails, text: trimmed, line: line})
		case trimmed != "":
			skip = trimmed == notRun
		}
	}
	return all
}

// TestManualsSQLRuns runs the SQL of the manual, page by page, in order, and compares what the
// users named in a block of events get with what it says they do.
func TestManualsSQLRuns(t *testing.T) {
	for _, name := range []string{"docs/attach.md", "docs/sql.md", "docs/troubleshooting.md", "docs/postgrest.md"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			since, ran, heard := "", 0, 0
			for _, b := range blocks(t, name) {
				switch b.lang {
				case callFails:
					w.fails(t, b)
				case "sql":
					ran++
					since = w.cursor(t)
					if err := w.run(b.text); err != nil {
						t.Fatalf("%s:%d: %v", name, b.line, err)
					}
				case "events":
					heard++
					w.compare(t, since, fmt.Sprintf("%s:%d", name, b.line), b.text)
				case "plpgsql":
					w.shows(t, fmt.Sprintf("%s:%d", name, b.line), b.text)
				}
			}
			if ran == 0 || heard == 0 && name != "docs/troubleshooting.md" {
				t.Errorf("%d blocks of SQL, %d of events: this test checks nothing", ran, heard)
			}
		})
	}
}

// world is a migrated database, and a server for it.
type world struct {
	conn *pgx.Conn
	bus  *bus.Bus
	url  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	conf, err := pgx.ParseConfig(pgtest.Migrated.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := listener.New(conf, b, listener.Config{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := sse.NewHandler(b, sse.Config{
		Authenticate: sse.HeaderAuth("X-User", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}),
		Replay:       l.Replay, Ready: l.Ready,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	conn, err := pgx.ConnectConfig(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Drain(0)
		server.CloseClientConnections()
		server.Close()
		stop()
		<-ended
		conn.Close(context.Background())
	})
	return &world{conn, b, server.URL}
}

func (w *world) run(sql string) error {
	_, err := w.conn.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// fails checks a row that shows a call and its error.
func (w *world) fails(t *testing.T, row block) {
	t.Helper()
	cells := strings.Split(strings.Trim(row.text, "|"), " | ")
	for i, cell := range cells {
		cells[i] = strings.Trim(strings.TrimSpace(cell), "`|")
	}
	if len(cells) < 2 {
		t.Fatalf("line %d: not a call and its error: %s", row.line, row.text)
	}
	hint := ""
	if len(cells) > 2 {
		hint = strings.TrimSpace(strings.Trim(cells[2], "` "))
	}
	err := w.run(cells[0])
	if pgErr := (*pgconn.PgError)(nil); !errors.As(err, &pgErr) {
		t.Errorf("line %d: %s: got %v, want %s", row.line, cells[0], err, cells[1])
	} else if pgErr.Message != cells[1] || pgErr.Hint != hint {
		t.Errorf("line %d: %s: got %q, %q; want %q, %q", row.line, cells[0], pgErr.Message, pgErr.Hint, cells[1], hint)
	}
}

// shows checks a block with a function as \sf shows it. Which OIDs tables have is up to the server.
func (w *world) shows(t *testing.T, where, text string) {
	t.Helper()
	name := regexp.MustCompile(`^CREATE OR REPLACE FUNCTION ([^(]+)`).FindStringSubmatch(text)
	if name == nil {
		t.Fatalf("%s: not a function as \\sf shows it", where)
	}
	var got string
	if err := w.conn.QueryRow(t.Context(), "select pg_get_functiondef($1::text::regproc)", name[1]).Scan(&got); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	oids := regexp.MustCompile(`\b[0-9]{5,}\b`)
	if got, want := oids.ReplaceAllString(got, "oid"), oids.ReplaceAllString(text, "oid"); got != want {
		t.Errorf("%s: %s is\n%s", where, name[1], got)
	}
}

func (w *world) cursor(t *testing.T) string {
	t.Helper()
	var cursor string
	if err := w.conn.QueryRow(t.Context(), "select pgbell.cursor()").Scan(&cursor); err != nil {
		t.Fatal(err)
	}
	return cursor
}

var timeOfEvent = regexp.MustCompile(`,"at":"[^"]*"`)

// compare checks a block of events: lines of a user, a colon, and the data of an event or nothing. Each
// user is thought to listen to all scopes of the block.
func (w *world) compare(t *testing.T, since, where, text string) {
	t.Helper()
	want, scopes := map[string][]string{}, map[string]bool{}
	for line := range strings.Lines(text) {
		user, data, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if data == "nothing" {
			want[user] = nil
			continue
		}
		var e struct{ Scope string }
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.Scope == "" {
			t.Fatalf("%s: %q is not the data of an event: %v", where, data, err)
		}
		want[user], scopes[e.Scope] = append(want[user], data), true
	}
	const end = "the+end"
	emitted := make(chan struct{})
	stop := w.bus.Observe([]string{end}, sync.OnceFunc(func() { close(emitted) }))
	defer stop()
	if err := w.run("select pgbell.publish('" + end + "')"); err != nil {
		t.Fatal(err)
	}
	select { // else a stream may begin before a reset of earlier, which it gets then
	case <-emitted:
	case <-time.After(10 * time.Minute):
		t.Fatalf("%s: what was written is not emitted", where)
	}
	query := url.Values{"since": {since}, "scope": append(slices.Sorted(maps.Keys(scopes)), end)}
	for user, want := range want {
		if got := w.hear(t, user, query, end); !slices.Equal(got, want) {
			t.Errorf("%s: %s gets\n%s\nwant\n%s", where, user, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// hear returns the data of the events that user gets before the one in the scope end.
func (w *world) hear(t *testing.T, user string, query url.Values, end string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/events?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-User", user)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got []string
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok || strings.HasPrefix(data, `{"cursor":`):
		case strings.HasPrefix(data, `{"scope":"`+end+`"`):
			return got
		default:
			data = timeOfEvent.ReplaceAllString(data, "")
			// The server reminds of a table that isn't what it was; the clock says when.
			if !strings.HasSuffix(data, `"reason":"definition changed"}`) || !slices.Contains(got, data) {
				got = append(got, data)
			}
		}
	}
	t.Fatalf("%s: the stream ended after %q", user, got)
	return nil
}

package pglive

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/internal/pgtest"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is longer than anything takes on a busy machine.
const patience = 5 * time.Minute

// board is a schema with a query of joined rows that have owners.
const board = `
create table users (id text primary key, name text);
create table tasks (id int primary key, project_id int, owner text, title text);
insert into users values ('ann', 'Ann'), ('bob', 'Bob');
select pgbell.attach('tasks', '{"project:{project_id}","tasks"}', audience => '{owner}');
select pgbell.attach('users', '{users}');
create function board(p int, user_id text) returns table (id int, title text, "by" text) stable
begin atomic
	select t.id, t.title, u.name from tasks t left join users u on u.id = t.owner where t.project_id = p and t.owner = user_id order by t.id;
end;
select pgbell.live('board');`

type world struct {
	t    *testing.T
	url  string
	conn *pgx.Conn
	role string

	syncs int
}

func newWorld(t *testing.T, schema string) *world {
	t.Helper()
	w := &world{t: t, url: pgtest.Migrated.Database(t)}
	conn, err := pgx.Connect(t.Context(), w.url)
	w.must(err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	w.conn = conn
	w.role = "live_" + conn.Config().Database
	w.exec(`create role ` + w.role)
	t.Cleanup(func() { w.cleanUp(`drop owned by ` + w.role + `; drop role ` + w.role) })
	w.exec(schema)
	w.exec(`grant select on all tables in schema public to ` + w.role)
	return w
}

func (w *world) cleanUp(sql string) {
	if _, err := w.conn.PgConn().Exec(context.Background(), sql).ReadAll(); err != nil {
		w.t.Error(err)
	}
}

// groups says who is in which group.
func (w *world) groups() *groups { return &groups{all: map[string][]string{}} }

type groups struct {
	mu  sync.Mutex
	all map[string][]string
}

func (g *groups) set(user string, names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all[user] = names
}

func (g *groups) of(_ context.Context, id sse.Identity) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.all[id.UserID], nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if len(args) == 0 { // may be several statements
		_, err := w.conn.PgConn().Exec(w.t.Context(), sql).ReadAll()
		w.must(err)
		return
	}
	_, err := w.conn.Exec(w.t.Context(), sql, args...)
	w.must(err)
}

func (w *world) ask(sql string, args ...any) (text string) {
	w.t.Helper()
	w.must(w.conn.QueryRow(w.t.Context(), "select coalesce(("+sql+")::text, '')", args...).Scan(&text))
	return text
}

// until waits for what happens elsewhere.
func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %v", what, patience)
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal(what)
		case <-time.After(time.Millisecond):
		}
	}
}

// server is one pgbell of the world's database.
type server struct {
	w      *world
	bus    *bus.Bus
	engine *Engine
	http   *httptest.Server
	log    *lockedBuffer
	stop   func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve starts one. Who asks is in the header User, with groups in Groups.
func (w *world) serve(cfg Config, web sse.Config) *server {
	w.t.Helper()
	return w.serveAs(w.conn.Config(), cfg, web)
}

func (w *world) serveAs(conf *pgx.ConnConfig, cfg Config, web sse.Config) *server {
	w.t.Helper()
	s := &server{w: w, log: new(lockedBuffer)}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	b, err := bus.New(bus.Config{})
	w.must(err)
	l, err := listener.New(conf, b, listener.Config{Logger: log})
	w.must(err)
	if cfg.Role == "" {
		cfg.Role = w.role
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute // a busy machine
	}
	cfg.Logger = log
	e, err := New(conf, b, cfg)
	w.must(err)
	web.Authenticate = sse.HeaderGroups("User", "Groups", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	web.Replay, web.Ready, web.Live, web.Logger = l.Replay, l.Ready, e, log
	h, err := sse.NewHandler(b, web)
	w.must(err)
	s.bus, s.engine, s.http = b, e, httptest.NewServer(h)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	})
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	s.stop = sync.OnceFunc(func() {
		s.http.CloseClientConnections()
		h.Drain(0)
		s.http.Close()
		cancel()
		running.Wait()
	})
	w.t.Cleanup(s.stop)
	w.until("the catalog was looked at", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.mark != "" && l.Ready() == nil
	})
	return s
}

// request asks for a path as a user.
func (s *server) request(ctx context.Context, user, path string, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http.URL+path, nil)
	s.w.must(err)
	name, groups, _ := strings.Cut(user, "/")
	if name != "" {
		r.Header.Set("User", name)
	}
	if groups != "" {
		r.Header.Set("Groups", groups)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return http.DefaultClient.Do(r)
}

// result is an answer to GET /live.
type answer struct {
	status            int
	Live, Cursor      string
	Rows              json.RawMessage
	Title, Detail     string
	etag, cursor, all string
}

func (s *server) get(user, query string, header ...string) answer {
	s.w.t.Helper()
	a, err := s.tryGet(s.w.t.Context(), user, query, header...)
	s.w.must(err)
	return a
}

func (s *server) tryGet(ctx context.Context, user, query string, header ...string) (a answer, err error) {
	resp, err := s.request(ctx, user, "/live/"+query, header...)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	a.status, a.etag, a.cursor, a.all = resp.StatusCode, resp.Header.Get("ETag"), resp.Header.Get("Pgbell-Cursor"), string(body)
	if len(body) > 0 {
		err = json.Unmarshal(body, &a)
	}
	return a, err
}

// stream is a client's connection to /events.
type stream struct {
	s      *server
	resp   *http.Response
	in     *bufio.Reader
	frames chan frame // closed with the stream
	close  func()

	mu sync.Mutex
	id string // the newest that came
}

type frame struct {
	name, id, data string
	Op, Reason     string
	Data           json.RawMessage

	Key                    []string
	Rows, Set, Gone, Order []json.RawMessage
}

// open opens a stream of live queries and of the scope sync.
func (s *server) open(user string, query url.Values, header ...string) *stream {
	s.w.t.Helper()
	st, err := s.tryOpen(user, query, header...)
	s.w.must(err)
	s.w.t.Cleanup(st.close)
	return st
}

func (s *server) tryOpen(user string, query url.Values, header ...string) (*stream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	resp, err := s.request(ctx, user, "/events?"+query.Encode(), header...)
	if err != nil {
		cancel()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("%s: %s", resp.Status, body)
	}
	st := &stream{s: s, resp: resp, in: bufio.NewReader(resp.Body), frames: make(chan frame, 10_000)}
	done := make(chan struct{})
	st.close = sync.OnceFunc(func() {
		cancel()
		resp.Body.Close()
		<-done
	})
	go func() {
		defer close(done)
		defer close(st.frames)
		st.read()
	}()
	return st, nil
}

func (st *stream) read() {
	var f frame
	for {
		line, err := st.in.ReadString('\n')
		if err != nil {
			return
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "event":
			f.name = value
		case "id":
			f.id = value
		case "data":
			f.data = value
		case "":
			if f.id != "" {
				st.mu.Lock()
				st.id = f.id
				st.mu.Unlock()
			}
			if f.name != "" {
				if err := json.Unmarshal([]byte(f.data), &f); err != nil {
					f.Reason = err.Error()
				}
				st.frames <- f
			}
			f = frame{}
		}
	}
}

// last returns the client's last id.
func (st *stream) last() string {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.id
}

// next returns the next frame, and whether there is one.
func (st *stream) next() (frame, bool) {
	st.s.w.t.Helper()
	select {
	case f, ok := <-st.frames:
		return f, ok
	case <-time.After(patience):
		st.s.w.t.Fatal("no frame came")
	}
	panic("unreachable")
}

func (st *stream) expect(name, op string) frame {
	st.s.w.t.Helper()
	f, ok := st.next()
	if !ok || f.name != name || f.Op != op {
		st.s.w.t.Fatalf("got %+v (%v), want %s %s\n%s", f, ok, name, op, st.s.log)
	}
	return f
}

// expectAny returns the next frame, of one of these names.
func (st *stream) expectAny(names ...string) frame {
	st.s.w.t.Helper()
	f, ok := st.next()
	if !ok || !slices.Contains(names, f.name) {
		st.s.w.t.Fatalf("got %+v (%v), want one of %q\n%s", f, ok, names, st.s.log)
	}
	return f
}

// live returns the values of a query string that ask for live queries and for the scope sync.
func live(queries ...string) url.Values {
	return url.Values{"live": queries, "scope": {"sync"}}
}

func with(v url.Values, name, value string) url.Values {
	v.Set(name, value)
	return v
}

// framesOf returns what st gets of all that was committed before.
func (s *server) framesOf(st *stream) (got []frame) {
	s.w.t.Helper()
	got = s.emitted(st)
	s.w.until("nothing is pending", func() bool { return s.engine.Stats().Pending == 0 })
	for range 2 { // the stream was woken, but may write what woke it after the first event
		got = append(got, s.emitted(st)...)
	}
	return got
}

// emitted returns what st gets until all that was committed before is emitted, and so known to
// be pending.
func (s *server) emitted(st *stream) (got []frame) {
	s.w.t.Helper()
	s.w.syncs++
	s.w.exec(`select pgbell.publish('sync', $1)`, s.w.syncs)
	for {
		f, ok := st.next()
		if !ok {
			s.w.t.Fatalf("the stream ended after %v", got)
		}
		if f.name != "sync" {
			got = append(got, f)
		} else if string(f.Data) == fmt.Sprint(s.w.syncs) { // others are replayed
			return got
		}
	}
}

func ops(frames []frame) string {
	var all []string
	for _, f := range frames {
		all = append(all, f.name+" "+f.Op)
	}
	return strings.Join(all, ", ")
}

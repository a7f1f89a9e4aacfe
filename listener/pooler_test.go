package listener

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pgbell/pgbell/internal/pgtest"
)

// proxy passes what clients and a server say to each other, except for the
// notifications that it withholds.
type proxy struct {
	listener net.Listener
	server   string
	deaf     func(idle bool) bool // whether to withhold one; idle: no statement is being answered
	made     uint32               // added to the process id that the server gives, as poolers make one up
	all      sync.WaitGroup
}

// startProxy makes conf go through a proxy.
func startProxy(t *testing.T, conf *pgx.ConnConfig, deaf func(idle bool) bool) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := net.JoinHostPort(conf.Host, fmt.Sprint(conf.Port))
	p := &proxy{listener: listener, server: server, deaf: deaf}
	p.all.Go(p.accept)
	t.Cleanup(func() {
		listener.Close()
		p.all.Wait()
	})
	addr := listener.Addr().(*net.TCPAddr)
	conf.Host, conf.Port, conf.TLSConfig, conf.Fallbacks = "127.0.0.1", uint16(addr.Port), nil, nil
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	var (
		mu   sync.Mutex
		busy bool
	)
	setBusy := func(b bool) { mu.Lock(); busy = b; mu.Unlock() }
	var both errgroup.Group
	both.Go(func() error {
		defer server.Close()
		buf := make([]byte, 8192)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return err
			}
			setBusy(true)
			if _, err := server.Write(buf[:n]); err != nil {
				return err
			}
		}
	})
	both.Go(func() error {
		defer client.Close()
		for { // messages: a type, then four bytes of length that count themselves
			head := make([]byte, 5)
			if _, err := io.ReadFull(server, head); err != nil {
				return err
			}
			body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
			if _, err := io.ReadFull(server, body); err != nil {
				return err
			}
			mu.Lock()
			idle := !busy
			mu.Unlock()
			switch head[0] {
			case 'K': // BackendKeyData
				binary.BigEndian.PutUint32(body, binary.BigEndian.Uint32(body)+p.made)
			case 'A': // NotificationResponse
				if p.deaf(idle) {
					continue
				}
			case 'Z': // ReadyForQuery
				setBusy(false)
			}
			if _, err := client.Write(append(head, body...)); err != nil {
				return err
			}
		}
	})
	_ = both.Wait() // an error is how a connection ends
}

// Behind a pooler in transaction mode LISTEN succeeds and nothing comes. One that
// passes on what arrives within a statement would fool a proof by the connection
// itself.
func TestDeafConnectionIsFoundOut(t *testing.T) {
	for name, deaf := range map[string]func(idle bool) bool{
		"nothing comes":            func(bool) bool { return true },
		"nothing comes in between": func(idle bool) bool { return idle },
	} {
		t.Run(name, func(t *testing.T) {
			w := start(t, example.Database(t), options{
				Config: Config{Tick: 50 * time.Millisecond, Timeout: 500 * time.Millisecond}, apart: true,
				conf: func(conf *pgx.ConnConfig) { startProxy(t, conf, deaf) },
			})
			w.notReady("notifications do not arrive", "PgBouncer", "connect to Postgres directly", "session mode")
			w.stop()
			if s := w.l.Stats(); s.Connections > 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

func TestProxyThatPassesEverythingIsFine(t *testing.T) {
	w := start(t, example.Database(t), options{conf: func(conf *pgx.ConnConfig) {
		startProxy(t, conf, func(bool) bool { return false })
	}})
	w.goesOn(w.subscribe("tasks"))
	w.stop()
}

// bell makes a role that has all that a listener needs, and no more.
func bell(t *testing.T, url, more string) func(*pgx.ConnConfig) {
	t.Helper()
	conn := connect(t, url)
	role := "bell_" + ask[string](t, conn, "select replace(current_database(), 'pgbell_test_', '')")
	execOn(t, conn, "create role "+role+" login password 'secret' "+more+`;
		grant select on all tables in schema pgbell to `+role+`;
		grant select on all sequences in schema pgbell to `+role+`;
		grant insert on pgbell.incarnation to `+role+`;
		grant execute on all functions in schema pgbell to `+role)
	t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		for _, sql := range []string{"drop owned by " + role, "drop role " + role} {
			if _, err := conn.Exec(context.Background(), sql); err != nil {
				t.Errorf("%s: %v", sql, err)
			}
		}
	})
	return func(conf *pgx.ConnConfig) { conf.User, conf.Password = role, "secret" }
}

// Where the proof can't be had, the listener says so and works.
func TestListenerStartsWithoutTheProof(t *testing.T) {
	t.Run("no second connection", func(t *testing.T) {
		url := example.Database(t)
		w := start(t, url, options{Config: Config{Tick: time.Hour}, conf: bell(t, url, "connection limit 1")})
		w.goesOn(w.subscribe("tasks"))
		if got := w.log.with("WARN"); len(got) != 1 || !strings.Contains(got[0], "can't find out whether notifications arrive") || strings.Contains(got[0], "secret") {
			t.Errorf("got %q", got)
		}
		w.stop()
	})
	// As when the notification queue is full: sending fails.
	t.Run("sending fails", func(t *testing.T) {
		url := example.Database(t)
		use := bell(t, url, "")
		execOn(t, connect(t, url), "revoke execute on function pg_notify from public")
		w := start(t, url, options{Config: Config{Tick: 20 * time.Millisecond}, conf: use})
		if got := w.log.with("WARN"); len(got) != 1 || !strings.Contains(got[0], "can't find out whether notifications arrive") {
			t.Errorf("got %q", got)
		}
		w.goesOn(w.subscribe("tasks"))
		w.stop()
	})
}

// A pooler that refuses the second connection has proved nothing.
func TestPoolerThatRefusesTheProofIsNotBelieved(t *testing.T) {
	url := example.Database(t)
	use := bell(t, url, "connection limit 1")
	w := start(t, url, options{Config: Config{Tick: 50 * time.Millisecond, Timeout: 5 * time.Second}, apart: true, conf: func(conf *pgx.ConnConfig) {
		use(conf)
		startProxy(t, conf, func(bool) bool { return true }).made = 1
	}})
	w.notReady("can't find out whether notifications arrive", "pooler", "connect to Postgres directly", "too many connections")
	w.stop()
	if s := w.l.Stats(); s.Connections > 0 {
		t.Errorf("stats: %+v", s)
	}
}

func TestRoleWithoutRightsIsTold(t *testing.T) {
	url := pgtest.Database(t)
	if err := setUp(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	use := bell(t, url, "")
	conn := connect(t, url)
	role := "bell_" + ask[string](t, conn, "select replace(current_database(), 'pgbell_test_', '')")
	execOn(t, conn, "revoke select on pgbell.journal from "+role)
	w := start(t, url, options{Config: quick, apart: true, conf: use})
	w.notReady("read the journal", "permission denied for table journal")
	execOn(t, conn, "grant select on pgbell.journal to "+role)
	w.ready()
	w.stop()
}

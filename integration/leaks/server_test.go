package leaks

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"

	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"

	"github.com/pgbell/pgbell/bus"
	"github.com/pgbell/pgbell/journal"
	"github.com/pgbell/pgbell/listener"
	"github.com/pgbell/pgbell/sse"
	"github.com/pgbell/pgbell/sse/pgauth"
)

// anyone is who is trusted to say who asks.
var anyone = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// server is one pgbell of the database.
type server struct {
	*httptest.Server
	stop func()
}

// start wires the parts as cmd/pgbell does.
func (w *world) start() *server {
	b, err := bus.New(bus.Config{QueueSize: w.queue})
	w.must(err)
	conf, err := pgx.ParseConfig(w.db.url)
	w.must(err)
	cfg := listener.Config{}
	if w.seams.record != nil {
		cfg.OnRecord = func(r journal.Record) { w.seams.record(b, r) }
	}
	l, err := listener.New(conf, b, cfg)
	w.must(err)
	var replay sse.ReplayFunc = l.Replay
	if w.seams.replay != nil {
		replay = w.seams.replay(replay)
	}
	authenticate := sse.HeaderAuth("X-Forwarded-User", anyone)
	if w.seams.authenticate != nil {
		authenticate = w.seams.authenticate(authenticate)
	}
	authorize := w.seams.authorize
	if authorize == nil {
		authorize = func(_ context.Context, id sse.Identity, scope string) (bool, error) {
			return mayAsk(id.UserID, scope), nil
		}
	}
	asked, err := pgauth.New(conf, "", pgauth.Config{Groups: "public.teams_of", MaxConns: 2})
	w.must(err)
	var groups sse.GroupsFunc = asked.Groups
	if w.seams.groups != nil {
		groups = w.seams.groups(groups)
	}
	h, err := sse.NewHandler(b, sse.Config{Authenticate: authenticate, Authorize: authorize, Groups: groups, Replay: replay, Ready: l.Ready})
	w.must(err)
	router := mux.NewRouter()
	h.Register(router)
	var handler http.Handler = router
	if w.seams.handler != nil {
		handler = w.seams.handler(handler)
	}
	sv := &server{Server: httptest.NewUnstartedServer(handler)}
	sv.Listener = smallBuffers{sv.Listener}
	sv.Start()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	sv.stop = func() {
		sv.Close()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			w.fault("the listener ended: %v", err)
		}
		asked.Close()
	}
	return sv
}

// slowly is the transport of clients that take little at a time.
func slowly() *http.Transport {
	return &http.Transport{
		DialContext: (&net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			return errors.Join(c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
			}), err)
		}}).DialContext,
	}
}

// smallBuffers gives each connection a small buffer, so that a client who does not
// read is soon noticed.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return conn, err
}
